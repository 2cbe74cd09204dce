"""The job that finds objects in clouds."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from typing_extensions import override

from pseudolidar.detectors import DetectionTally, Detector, detect, load_detector
from pseudolidar.detectors.boxes2d import Boxes2d, ScoreKind, boxes_of_frames, ground_truth_boxes, read_boxes
from pseudolidar.files import Record, file_digest, files_digest
from pseudolidar.inference.workers import FrameJob
from pseudolidar.kitti import ObjectDataset
from pseudolidar.weights import weights_digest


@dataclass(frozen=True)
class ObjectsJob(FrameJob[DetectionTally]):
    """A KITTI result file, `output`/ID.txt, for every frame from its cloud, `clouds`/ID.bin; see `detectors.detect`.

    Attributes:
        boxes: for detectors that start from 2D boxes, a file or folder that `read_boxes` reads; None: the labels'.
        boxes_scores: kind of the scores in `boxes`.
    """

    description = "detection"

    model: str | Path
    dataset: ObjectDataset
    clouds: Path
    output: Path
    boxes: str | Path | None = None
    device: str = "cpu"
    boxes_scores: ScoreKind = "probability"

    @override
    def names(self) -> Sequence[str]:
        return self.dataset.frame_ids

    @override
    def made_of(self) -> Record:
        settings = {"device": self.device.partition(":")[0]}
        inputs = {"model": weights_digest(self.model, "a detector's checkpoint")}
        if self._detector.starts_from_boxes2d and self.boxes is not None:
            settings["boxes_scores"] = self.boxes_scores
            if not Path(self.boxes).is_dir():
                inputs["boxes"] = file_digest(self.boxes, "2D detections")
        return Record("detections", settings, inputs)

    @override
    def digest(self, name: str) -> str:
        frame = self.dataset.frame(name)
        files = [self.clouds / f"{name}.bin", frame.path("calib"), frame.path("image_2")]
        if self._detector.starts_from_boxes2d and self.boxes is None:
            files.append(frame.path("label_2"))
        elif self._detector.starts_from_boxes2d and self.boxes is not None and Path(self.boxes).is_dir():
            files.append(Path(self.boxes) / f"{name}.txt")
        return files_digest(files)

    @cached_property
    def _detector(self) -> Detector:
        return load_detector(self.model, self.device)

    def __getstate__(self) -> dict[str, Any]:
        # Another process loads the detector itself, on its own GPU.
        return {name: value for name, value in vars(self).items() if name != "_detector"}

    @override
    @contextmanager
    def open(self) -> Iterator[Callable[[Sequence[str]], DetectionTally]]:
        detector = self._detector
        boxes: dict[str, Boxes2d] | None = None
        if detector.starts_from_boxes2d and self.boxes is None:
            boxes = ground_truth_boxes(self.dataset, detector.class_names)
        elif detector.starts_from_boxes2d and self.boxes is not None:
            boxes = boxes_of_frames(read_boxes(self.boxes, self.dataset.frame_ids, self.boxes_scores), self.dataset)
        yield lambda names: detect(detector, self.dataset.only(names), self.clouds, self.output, boxes)
