"""Objects from clouds as a job for one or several processes."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pseudolidar.detectors import (
    Boxes2d,
    Detector,
    boxes_of_frames,
    detect,
    ground_truth_boxes,
    load_detector,
    read_detections_file,
    read_result_boxes,
)
from pseudolidar.kitti import Calibration, ObjectDataset, Objects

logger = logging.getLogger(__name__)


@dataclass
class Tally:
    """What detection came to.

    Attributes:
        class_names: that the detector finds.
        frames: detected in now.
        found: objects.
        skipped: by reason.
    """

    class_names: tuple[str, ...]
    frames: int = 0
    found: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class ObjectsJob:
    """A KITTI result file, `output`/ID.txt, of every frame from its cloud; see `detectors.detect`.

    Attributes:
        model: a detector's checkpoint.
        dataset: frames with calibration.
        clouds: folder of ID.bin.
        output: made if missing.
        boxes: 2D boxes for detectors that start from them: a file in the published format, or a folder of KITTI
            results; None: the labels'.
        device: `cpu` or `cuda`.
    """

    model: str
    dataset: ObjectDataset
    clouds: Path
    output: Path
    boxes: str | None = None
    device: str = "cpu"

    @property
    def description(self) -> str:
        """For the progress bar."""
        return "detection"

    @property
    def names(self) -> Sequence[str]:
        """The dataset's frames."""
        return self.dataset.frame_ids

    def is_finished(self, name: str) -> bool:
        """Whether the frame's result file is there."""
        return (self.output / f"{name}.txt").is_file()

    def open(self) -> Callable[[Sequence[str]], Tally]:
        """Load the detector, read the 2D boxes."""
        detector = load_detector(self.model, self.device)
        boxes = self._boxes(detector.class_names) if detector.starts_from_boxes2d else None

        def work(names: Sequence[str]) -> Tally:
            counting = _CountingDetector(detector, Tally(detector.class_names))
            detect(counting, self.dataset.only(names), self.clouds, self.output, boxes)
            return counting.tally

        return work

    def _boxes(self, class_names: Sequence[str]) -> dict[str, Boxes2d]:
        if self.boxes is None:
            return ground_truth_boxes(self.dataset, class_names)
        from_files: Mapping[str, Boxes2d]
        if Path(self.boxes).is_dir():
            from_files = read_result_boxes(self.boxes, self.dataset.frame_ids)
        else:
            from_files = read_detections_file(self.boxes)
        return boxes_of_frames(from_files, self.dataset)


def log_tallies(tallies: Sequence[Tally]) -> None:
    """Say what several workers found and skipped, as one says it for itself."""
    skipped = sum((tally.skipped for tally in tallies), Counter[str]())
    reasons = "".join(f"; skipped {count}: {reason}" for reason, count in sorted(skipped.items()))
    found, frames = sum(tally.found for tally in tallies), sum(tally.frames for tally in tallies)
    for names in {", ".join(tally.class_names) for tally in tallies}:
        logger.info("%s: %d objects in %d frames%s", names, found, frames, reasons)


@dataclass(frozen=True)
class _CountingDetector:
    """A detector that keeps a tally."""

    detector: Detector
    tally: Tally

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.detector.class_names

    @property
    def starts_from_boxes2d(self) -> bool:
        return self.detector.starts_from_boxes2d

    @property
    def wants_sparse_cloud(self) -> bool:
        return self.detector.wants_sparse_cloud

    def objects(
        self,
        points_velo: NDArray[np.float32],
        calibration: Calibration,
        image_size: tuple[int, int],
        boxes: Boxes2d,
        seed: int,
    ) -> tuple[Objects, Counter[str]]:
        objects, skipped = self.detector.objects(points_velo, calibration, image_size, boxes, seed)
        self.tally.frames += 1
        self.tally.found += len(objects)
        self.tally.skipped += skipped
        return objects, skipped
