"""The job that finds objects straight from stereo pairs, and draws them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from typing_extensions import override

from pseudolidar.files import Record, files_digest
from pseudolidar.inference.workers import FrameJob
from pseudolidar.kitti import Frame
from pseudolidar.pipeline import OUTPUTS, Drawing, GivenBoxes, Models, Summary, detect_frames


@dataclass(frozen=True)
class PairsToObjectsJob(FrameJob[Summary]):
    """`output`/results/ID.txt and `output`/pictures/ID.png for every frame; see `pipeline.detect_frames`.

    `models` loads the models in the process that computes; `record` is made by `pipeline.detection_record`.
    """

    description = "detection"
    outputs = OUTPUTS

    models: Callable[[], Models]
    record: Record
    frames: Sequence[Frame]
    output: Path
    drawing: Drawing
    boxes: GivenBoxes | None = None
    max_height: float | None = 1.0

    @override
    def names(self) -> Sequence[str]:
        return [frame.frame_id for frame in self.frames]

    @override
    def made_of(self) -> Record:
        return self.record

    @override
    def digest(self, name: str) -> str:
        # The label too: it is drawn.
        frame = self._by_name[name]
        files = [frame.path(kind) for kind in ("image_2", "image_3", "label_2")]
        own = None if self.boxes is None else self.boxes.file_of(name)
        return files_digest([*files, *frame.calibration_files, *([] if own is None else [own])])

    @cached_property
    def _by_name(self) -> dict[str, Frame]:
        return {frame.frame_id: frame for frame in self.frames}

    @override
    def open(self) -> Callable[[Sequence[str]], Summary]:
        models = self.models()

        def work(names: Sequence[str]) -> Summary:
            frames = [self._by_name[name] for name in names]
            return detect_frames(models, frames, self.output, self.drawing, self.boxes, self.max_height)

        return work
