"""Disparity maps of a data set as a job for one or several processes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pseudolidar.files import Record, files_digest
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
        settings: all that determines the maps of a pair: the weights' digest, or which method, and how it computes.
    """

    outputs = ("variance/{}.npy", "{}.npy")

    model: Callable[[], DisparityModel]
    data: ObjectDataset | StereoPairs
    output: Path
    description: str
    settings: Mapping[str, Any]

    @property
    def names(self) -> Sequence[str]:
        """Names of the pairs, in the data set's order."""
        return self.data.frame_ids if isinstance(self.data, ObjectDataset) else self.data.names

    @property
    def record(self) -> Record:
        """How maps are made: `settings`, which identify the model."""
        return Record("disparity maps", self.settings, {})

    def digest(self, name: str) -> str:
        """Digest of the pair's two images, and of its other files where `data` is `StereoPairs`."""
        if isinstance(self.data, ObjectDataset):
            frame = self.data.frame(name)
            return files_digest([frame.path("image_2"), frame.path("image_3")])
        return files_digest(self.data.files(self._places[name]))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.names)}

    def is_finished(self, name: str) -> bool:
        """Whether the pair's map is there."""
        return (self.output / f"{name}.npy").is_file()

    def open(self) -> Callable[[Sequence[str]], None]:
        """Make the model; the function returned writes the maps of the pairs it is given."""
        model = self.model()

        data = self.data

        def work(names: Sequence[str]) -> None:
            if isinstance(data, ObjectDataset):
                some: ObjectDataset | StereoPairs = data.only(names)
            else:
                some = _SomePairs(data, names, [self._places[name] for name in names])
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
