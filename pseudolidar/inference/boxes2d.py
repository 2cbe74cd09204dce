"""2D boxes of a data set's images as a job for one or several processes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pseudolidar.detectors.boxes2d import detect_boxes2d
from pseudolidar.files import Record, file_digest, files_digest
from pseudolidar.kitti import ObjectDataset


@dataclass(frozen=True)
class Boxes2dJob:
    """A KITTI result file without 3D boxes, `output`/ID.txt, of every frame; see `detect_boxes2d`.

    Attributes:
        model: a 2D detector's checkpoint.
        dataset: frames with left images.
        output: made if missing.
        min_score: boxes of lower scores are left out.
        device: `cpu` or `cuda`.
    """

    outputs = ("{}.txt",)

    model: str | Path
    dataset: ObjectDataset
    output: Path
    min_score: float
    device: str = "cpu"

    @property
    def description(self) -> str:
        """The title of the progress bar."""
        return "2D boxes"

    @property
    def names(self) -> Sequence[str]:
        """Ids of the data set's frames, in its order."""
        return self.dataset.frame_ids

    @property
    def record(self) -> Record:
        """How boxes are made: the detector's digest, the lowest score that is kept, the device."""
        settings = {"min_score": self.min_score, "device": self.device.partition(":")[0]}
        return Record("2D boxes", settings, {"model": file_digest(self.model, "a 2D detector's checkpoint")})

    def digest(self, name: str) -> str:
        """Digest of the frame's left image."""
        return files_digest([self.dataset.frame(name).path("image_2")])

    def is_finished(self, name: str) -> bool:
        """Whether the frame's result file is there."""
        return (self.output / f"{name}.txt").is_file()

    def open(self) -> Callable[[Sequence[str]], None]:
        """Nothing: the detector is loaded with each chunk, in a fraction of the chunk's time."""

        def work(names: Sequence[str]) -> None:
            detect_boxes2d(self.model, self.dataset.only(names), self.output, self.min_score, self.device)

        return work
