"""Objects straight from stereo pairs, with pictures, as a job for one or several processes."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pseudolidar.cloud import CloudTally
from pseudolidar.files import Record, files_digest
from pseudolidar.kitti import Frame
from pseudolidar.pipeline import Drawing, GivenBoxes, Models, Summary, detect_frames


@dataclass(frozen=True)
class PairsToObjectsJob:
    """`output`/results/ID.txt and `output`/pictures/ID.png of every frame; see `pipeline.detect_frames`.

    Attributes:
        models: loads the system's models, in the process that computes.
        record: of them and of the settings, see `pipeline.detection_record`.
        frames: with pairs and calibrations.
        output: made if missing.
        drawing: what the pictures show.
        boxes: 2D boxes instead of those that the models' 2D detector finds.
        max_height: m, winsorization of the clouds.
    """

    outputs = ("results/{}.txt", "pictures/{}.png")

    models: Callable[[], Models]
    record: Record
    frames: Sequence[Frame]
    output: Path
    drawing: Drawing
    boxes: GivenBoxes | None = None
    max_height: float | None = 1.0

    @property
    def description(self) -> str:
        """The title of the progress bar."""
        return "detection"

    @property
    def names(self) -> Sequence[str]:
        """Ids of `frames`, in their order."""
        return [frame.frame_id for frame in self.frames]

    def digest(self, name: str) -> str:
        """Digest of the frame's pair, calibration and label (it is drawn), and of its own 2D boxes."""
        frame = self._by_name[name]
        files = [frame.path(kind) for kind in ("image_2", "image_3", "label_2")]
        files += frame.calibration_files
        own = None if self.boxes is None else self.boxes.file_of(name)
        return files_digest(files if own is None else [*files, own])

    @cached_property
    def _by_name(self) -> dict[str, Frame]:
        return {frame.frame_id: frame for frame in self.frames}

    def is_finished(self, name: str) -> bool:
        """Whether the frame's result and picture are there."""
        results, pictures = self.output / "results", self.output / "pictures"
        return (results / f"{name}.txt").is_file() and (pictures / f"{name}.png").is_file()

    def open(self) -> Callable[[Sequence[str]], Summary]:
        """Load the models; the function returned writes results and pictures of the frames it is given."""
        models = self.models()

        def work(names: Sequence[str]) -> Summary:
            frames = [self._by_name[name] for name in names]
            return detect_frames(models, frames, self.output, self.drawing, self.boxes, self.max_height)

        return work


def merged(summaries: Sequence[Summary], frames: int) -> Summary:
    """The summary of all chunks of a run.

    Args:
        summaries: one per chunk; with several workers, frames that were finished before are in none of them.
        frames: of the run, finished ones too.
    """
    now = sum(summary.frames for summary in summaries)
    found = sum((summary.found for summary in summaries), Counter[str]())
    skipped = sum((summary.skipped for summary in summaries), Counter[str]())
    clouds = sum((summary.clouds for summary in summaries), CloudTally())
    return Summary(now, frames - now, found, skipped, clouds)
