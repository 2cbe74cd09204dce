"""Objects from clouds as a job for one or several processes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pseudolidar.detectors import Boxes2d, DetectionTally, boxes_of_frames, detect, ground_truth_boxes, load_detector
from pseudolidar.detectors.boxes2d import ScoreKind, read_boxes
from pseudolidar.files import Record, file_digest, files_digest
from pseudolidar.kitti import ObjectDataset


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
        boxes_scores: what the scores of 2D boxes from files are.
    """

    outputs = ("{}.txt",)

    model: str | Path
    dataset: ObjectDataset
    clouds: Path
    output: Path
    boxes: str | Path | None = None
    device: str = "cpu"
    boxes_scores: ScoreKind = "probability"

    @property
    def description(self) -> str:
        """The title of the progress bar."""
        return "detection"

    @property
    def names(self) -> Sequence[str]:
        """Ids of the data set's frames, in its order."""
        return self.dataset.frame_ids

    @property
    def record(self) -> Record:
        """How objects are found: digests of the detector and, if it uses one file of 2D boxes, of that file."""
        settings = {"device": self.device.partition(":")[0]}
        inputs = {"model": file_digest(self.model, "a detector's checkpoint")}
        if self._starts_from_boxes2d and self.boxes is not None:
            settings["boxes_scores"] = self.boxes_scores
            if not Path(self.boxes).is_dir():
                inputs["boxes"] = file_digest(self.boxes, "2D detections")
        return Record("detections", settings, inputs)

    def digest(self, name: str) -> str:
        """Digest of the frame's cloud, calibration and image, and of its own 2D boxes if the detector uses them."""
        frame = self.dataset.frame(name)
        files = [self.clouds / f"{name}.bin", frame.path("calib"), frame.path("image_2")]
        if self._starts_from_boxes2d and self.boxes is None:
            files.append(frame.path("label_2"))
        elif self._starts_from_boxes2d and self.boxes is not None and Path(self.boxes).is_dir():
            files.append(Path(self.boxes) / f"{name}.txt")
        return files_digest(files)

    @cached_property
    def _starts_from_boxes2d(self) -> bool:
        return load_detector(self.model).starts_from_boxes2d

    def is_finished(self, name: str) -> bool:
        """Whether the frame's result file is there."""
        return (self.output / f"{name}.txt").is_file()

    def open(self) -> Callable[[Sequence[str]], DetectionTally]:
        """Load the detector, read the 2D boxes."""
        detector = load_detector(self.model, self.device)
        boxes = self._boxes(detector.class_names) if detector.starts_from_boxes2d else None

        def work(names: Sequence[str]) -> DetectionTally:
            return detect(detector, self.dataset.only(names), self.clouds, self.output, boxes)

        return work

    def _boxes(self, class_names: Sequence[str]) -> dict[str, Boxes2d]:
        if self.boxes is None:
            return ground_truth_boxes(self.dataset, class_names)
        return boxes_of_frames(read_boxes(self.boxes, self.dataset.frame_ids, self.boxes_scores), self.dataset)
