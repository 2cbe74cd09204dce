"""The job that finds the 2D boxes of a data set's images."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from pseudolidar.detectors.boxes2d import detect_boxes2d
from pseudolidar.files import Record, files_digest
from pseudolidar.inference.workers import FrameJob
from pseudolidar.kitti import ObjectDataset
from pseudolidar.weights import weights_digest


@dataclass(frozen=True)
class Boxes2dJob(FrameJob[None]):
    """A KITTI result file without 3D boxes, `output`/ID.txt, for every frame; see `detect_boxes2d`."""

    description = "2D boxes"

    model: str | Path
    dataset: ObjectDataset
    output: Path
    min_score: float
    device: str = "cpu"

    @override
    def names(self) -> Sequence[str]:
        return self.dataset.frame_ids

    @override
    def made_of(self) -> Record:
        settings = {"min_score": self.min_score, "device": self.device.partition(":")[0]}
        return Record("2D boxes", settings, {"model": weights_digest(self.model, "a 2D detector's checkpoint")})

    @override
    def digest(self, name: str) -> str:
        return files_digest([self.dataset.frame(name).path("image_2")])

    @override
    @contextmanager
    def open(self) -> Iterator[Callable[[Sequence[str]], None]]:
        # The detector is loaded with each chunk, in a fraction of the chunk's time.
        yield lambda names: detect_boxes2d(
            self.model, self.dataset.only(names), self.output, self.min_score, self.device
        )
