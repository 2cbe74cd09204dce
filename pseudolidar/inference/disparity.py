"""The job that makes the disparity maps of a data set."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from typing_extensions import override

from pseudolidar.files import Record, files_digest
from pseudolidar.inference.workers import FrameJob
from pseudolidar.kitti import ObjectDataset
from pseudolidar.stereo import DisparityModel, StereoPair, StereoPairs, predict_disparities


@dataclass(frozen=True)
class DisparityJob(FrameJob[None]):
    """`output`/NAME.npy for every pair, and variance/NAME.npy from an ensemble; see `predict_disparities`.

    Attributes:
        model: makes the disparity model, in the process that computes.
        settings: all that determines the maps of a pair: the weights' digest or the method's name, and how it computes.
    """

    outputs = ("variance/{}.npy", "{}.npy")

    model: Callable[[], DisparityModel]
    data: ObjectDataset | StereoPairs
    output: Path
    description: str
    settings: Mapping[str, Any]

    @override
    def names(self) -> Sequence[str]:
        return self.data.frame_ids if isinstance(self.data, ObjectDataset) else self.data.names

    @override
    def made_of(self) -> Record:
        return Record("disparity maps", self.settings, {})

    @override
    def digest(self, name: str) -> str:
        if isinstance(self.data, ObjectDataset):
            frame = self.data.frame(name)
            return files_digest([frame.path("image_2"), frame.path("image_3")])
        return files_digest(self.data.files(self._places[name]))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.names())}

    @override
    def is_finished(self, name: str) -> bool:
        return (self.output / f"{name}.npy").is_file()

    @override
    @contextmanager
    def open(self) -> Iterator[Callable[[Sequence[str]], None]]:
        model = self.model()
        data = self.data

        def work(names: Sequence[str]) -> None:
            if isinstance(data, ObjectDataset):
                some: ObjectDataset | StereoPairs = data.only(names)
            else:
                some = _SomePairs(data, names, [self._places[name] for name in names])
            predict_disparities(model, some, self.output, self.description)

        yield work


@dataclass(frozen=True)
class _SomePairs:
    pairs: StereoPairs
    names: Sequence[str]
    places: Sequence[int]

    def read(self, index: int) -> StereoPair:
        return self.pairs.read(self.places[index])

    def files(self, index: int) -> Sequence[Path]:
        return self.pairs.files(self.places[index])
