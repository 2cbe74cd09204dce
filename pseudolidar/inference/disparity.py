"""Disparity maps of a data set as a job for one or several processes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pseudolidar.files import require_output_folder
from pseudolidar.kitti import ObjectDataset
from pseudolidar.stereo import DisparityModel, StereoPair, StereoPairs, predict_disparities


@dataclass(frozen=True)
class DisparityJob:
    """`output`/NAME.npy of every pair; see `predict_disparities`.

    Attributes:
        model: makes the disparity model, in the process that computes.
        data: in KITTI's object layout, or pairs of another data set.
        output: made if missing.
        description: on the progress bar.
    """

    model: Callable[[], DisparityModel]
    data: ObjectDataset | StereoPairs
    output: Path
    description: str

    def __post_init__(self) -> None:
        require_output_folder(self.output, "disparity maps")

    @property
    def names(self) -> Sequence[str]:
        """The names of the pairs."""
        return self.data.frame_ids if isinstance(self.data, ObjectDataset) else self.data.names

    def is_finished(self, name: str) -> bool:
        """Whether the pair's map is there."""
        return (self.output / f"{name}.npy").is_file()

    def open(self) -> Callable[[Sequence[str]], None]:
        """Make the model."""
        model = self.model()

        data = self.data
        place = {name: index for index, name in enumerate(self.names)}

        def work(names: Sequence[str]) -> None:
            if isinstance(data, ObjectDataset):
                some: ObjectDataset | StereoPairs = data.only(names)
            else:
                some = _SomePairs(data, names, [place[name] for name in names])
            predict_disparities(model, some, self.output, self.description)

        return work


@dataclass(frozen=True)
class _SomePairs:
    """Some pairs of a data set, with their places in it."""

    pairs: StereoPairs
    names: Sequence[str]
    places: Sequence[int]

    def read(self, index: int) -> StereoPair:
        return self.pairs.read(self.places[index])

    def files(self, index: int) -> Sequence[Path]:
        return self.pairs.files(self.places[index])
