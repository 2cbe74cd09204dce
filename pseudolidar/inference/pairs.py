"""The job that finds objects straight from stereo pairs, and draws them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from typing_extensions import override

from pseudolidar.files import ProcessPool, Record, files_digest
from pseudolidar.inference.workers import FrameJob
from pseudolidar.kitti import Frame
from pseudolidar.pipeline import Drawing, GivenBoxes, Models, Summary, detect_frames, outputs_of


@dataclass(frozen=True)
class PairsToObjectsJob(FrameJob[Summary]):
    """`output`/results/ID.txt and `output`/pictures/ID.png for every frame; see `pipeline.detect_frames`.

    `models` loads the models in the process that computes; `record` is made by `pipeline.detection_record`.
    """

    description = "detection"

    models: Callable[[], Models]
    record: Record
    frames: Sequence[Frame]
    output: Path
    drawing: Drawing | None
    boxes: GivenBoxes | None = None
    max_height: float | None = 1.0

    @property
    @override
    def outputs(self) -> tuple[str, ...]:  # type: ignore[override]
        return outputs_of(self.drawing)

    @override
    def names(self) -> Sequence[str]:
        return [frame.frame_id for frame in self.frames]

    @override
    def made_of(self) -> Record:
        return self.record

    @override
    def digest(self, name: str) -> str:
        frame = self._by_name[name]
        # A label is drawn.
        kinds = ("image_2", "image_3", *(() if self.drawing is None else ("label_2",)))
        files = [frame.path(kind) for kind in kinds]
        own = None if self.boxes is None else self.boxes.file_of(name)
        return files_digest([*files, *frame.calibration_files, *([] if own is None else [own])])

    @cached_property
    def _by_name(self) -> dict[str, Frame]:
        return {frame.frame_id: frame for frame in self.frames}

    @override
    @contextmanager
    def open(self) -> Iterator[Callable[[Sequence[str]], Summary]]:
        models = self.models()
        # As many as there are threads for this process; each draws with one.
        with ProcessPool(torch.get_num_threads(), lambda painter: {"OMP_NUM_THREADS": "1"}) as painters:

            def work(names: Sequence[str]) -> Summary:
                frames = [self._by_name[name] for name in names]
                return detect_frames(models, frames, self.output, self.drawing, self.boxes, self.max_height, painters)

            yield work
