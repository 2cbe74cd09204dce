"""v and w in the case study: the detectors, and the 2D detector that frusta start from."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pseudolidar.case_study.disparity import MODEL_FILE, training_resources
from pseudolidar.case_study.scores import PrecisionChoice, precision_loss, write_scores
from pseudolidar.detectors import (
    Boxes2d,
    detect,
    ground_truth_boxes,
    load_detector,
    log_tallies,
    read_detections_file,
    read_result_boxes,
    train_detector,
)
from pseudolidar.detectors.boxes2d import Detector2dTraining, boxes_of_frames, train_detector2d
from pseudolidar.detectors.frustum_pointnet import FrustumTraining
from pseudolidar.detectors.pointrcnn import PointRCNNTraining
from pseudolidar.files import file_digest
from pseudolidar.inference import run_job
from pseudolidar.inference.boxes2d import Boxes2dJob
from pseudolidar.kitti import ObjectDataset
from pseudolidar.systems import Inputs, ItemLosses, Resources, Step
from pseudolidar.training import recorded_settings

BOXES2D = "boxes2d"
"""The vertex of the 2D detector."""

# 2D boxes of a detector with lower scores start no frustum: nearly all of them are of nothing.
_MIN_BOX_SCORE = 0.4

# Raised when the same settings give another detector.
_POINTRCNN_VERSION, _FRUSTUM_VERSION, _DETECTOR2D_VERSION = 2, 4, 2


@dataclass(frozen=True)
class Detector2d:
    """2D boxes of the validation split, by a detector trained on the training split, once for all seeds.

    Attributes:
        training: settings of the training.
        seed: of the training.
    """

    training: Detector2dTraining
    seed: int

    @property
    def steps(self) -> tuple[Step, ...]:
        """One, whatever the study's seed: the boxes are the same for all that is compared."""
        return ("predict",)

    def settings(self, step: Step) -> Mapping[str, Any]:
        """Settings and seed of the training, and the lowest score of boxes that are kept."""
        return {**recorded_settings(self.training), "seed": self.seed, "min_score": _MIN_BOX_SCORE}

    def version(self, step: Step) -> int:
        """Version of the 2D detector's training and detection."""
        return _DETECTOR2D_VERSION

    def resources(self, step: Step) -> Resources:
        """One processor thread, and a GPU if the training is to use one."""
        return training_resources(self.training.device, None)

    def run(self, step: Step, inputs: Inputs, folder: Path) -> None:
        """Train, then write the 2D boxes of the validation split; a killed run is resumed."""
        model = folder / MODEL_FILE
        train_detector2d(self.training, ObjectDataset(inputs.data, "train"), model, self.seed, overwrite=True)
        run_job(Boxes2dJob(model, ObjectDataset(inputs.data, "val"), folder, _MIN_BOX_SCORE), overwrite=True)


@dataclass(frozen=True)
class TrainedDetector:
    """A PointRCNN or Frustum PointNet of one class, on the clouds of one parent.

    Attributes:
        training: settings of the training.
        class_name: KITTI's.
        cloud: the parent.
        near_m: m, up to which pedestrians are scored.
        loss: which average precision is the test loss.
        max_depth_m: objects and points beyond are left out in training (near-only); None: none.
        data_share: of the training frames: the same for all seeds and for every cloud, and smaller shares are parts of
            larger ones.
        boxes_file: where 2D boxes come from in testing; None: from the parent `BOXES2D` if there is one, else the
            labels.
    """

    training: FrustumTraining | PointRCNNTraining
    class_name: str
    cloud: str
    near_m: float
    loss: PrecisionChoice
    max_depth_m: float | None = None
    data_share: float = 1.0
    boxes_file: str | Path | None = None

    @property
    def kind(self) -> Literal["P-RCNN", "F-PTNET"]:
        """Name of the network in the tables of "Fixes That Fail"."""
        return "P-RCNN" if isinstance(self.training, PointRCNNTraining) else "F-PTNET"

    @property
    def steps(self) -> tuple[Step, ...]:
        """Training, prediction and test: all the steps that there are."""
        return ("train", "predict", "test")

    def settings(self, step: Step) -> Mapping[str, Any]:
        """Training: settings, class and data. Prediction: digest of the file of 2D boxes, if any. Test: `near_m`."""
        if step == "train":
            chosen = {"class": self.class_name, "max_depth_m": self.max_depth_m, "data_share": self.data_share}
            return {**recorded_settings(self.training), **chosen}
        if step == "test":
            return {"near_m": self.near_m}
        return {} if self.boxes_file is None else {"boxes": file_digest(self.boxes_file)}

    def version(self, step: Step) -> int:
        """Version of a step's code; each kind of detector has its own for the training."""
        if step != "train":
            return 1
        return _POINTRCNN_VERSION if self.kind == "P-RCNN" else _FRUSTUM_VERSION

    def resources(self, step: Step) -> Resources:
        """The threads and GPU that the training asks for; one thread for the other steps."""
        if step != "train":
            return Resources()
        return training_resources(self.training.device, self.training.threads)

    def run(self, step: Step, inputs: Inputs, folder: Path) -> None:
        """Train, detect on the validation split, or score; resumable."""
        if step == "train":
            frames = _share(ObjectDataset(inputs.data, "train"), self.data_share)
            clouds, names = inputs.parents[self.cloud], [self.class_name]
            train_detector(
                self.training, frames, clouds, names, folder / MODEL_FILE, inputs.seed, self.max_depth_m, overwrite=True
            )
        elif step == "predict":
            assert inputs.model is not None
            detector = load_detector(inputs.model / MODEL_FILE)
            frames = ObjectDataset(inputs.data, "val")
            boxes = self._boxes2d(frames, inputs) if detector.starts_from_boxes2d else None
            log_tallies([detect(detector, frames, inputs.parents[self.cloud], folder, boxes)])
        else:
            write_scores(inputs, folder, self.class_name, self.near_m)

    def test_loss(self, inputs: Inputs) -> ItemLosses:
        """100 - AP40, moderate, over the validation frames."""
        return precision_loss(inputs, self.class_name, self.near_m, self.loss)

    def _boxes2d(self, frames: ObjectDataset, inputs: Inputs) -> Mapping[str, Boxes2d]:
        if self.boxes_file is not None:
            return boxes_of_frames(read_detections_file(self.boxes_file), frames)
        if BOXES2D in inputs.parents:
            return read_result_boxes(inputs.parents[BOXES2D], frames.frame_ids)
        return ground_truth_boxes(frames, [self.class_name])


def widened(training: FrustumTraining | PointRCNNTraining, factor: float) -> FrustumTraining | PointRCNNTraining:
    """The same training of a network with `factor` times the channels, in whole fours."""
    if factor == 1.0:
        return training
    if isinstance(training, FrustumTraining):
        return dataclasses.replace(training, width=training.width * factor)

    def scaled(channels: Any) -> Any:
        if isinstance(channels, int):
            return max(4, 4 * round(channels * factor / 4))
        return tuple(scaled(part) for part in channels)

    backbone, rcnn = training.backbone, training.rcnn
    return dataclasses.replace(
        training,
        backbone=dataclasses.replace(
            backbone,
            channels=scaled(backbone.channels),
            propagation=scaled(backbone.propagation),
            head=scaled(backbone.head),
        ),
        rcnn=dataclasses.replace(rcnn, up=scaled(rcnn.up), channels=scaled(rcnn.channels), head=scaled(rcnn.head)),
    )


def _share(frames: ObjectDataset, share: float) -> ObjectDataset:
    """A share of a data set's frames, chosen once and for all; larger shares hold smaller ones."""
    if share == 1.0:
        return frames
    order = np.random.default_rng(0).permutation(len(frames))
    chosen = sorted(order[: max(1, round(share * len(frames)))])
    return frames.only([frames.frame_ids[index] for index in chosen])
