"""v and w in the case study: detectors as vertices, our own or other people's, and the 2D detector of frusta."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from pseudolidar.case_study.disparity import DISPARITY, MODEL_FILE, training_resources, truth_of
from pseudolidar.case_study.scores import ScoredDetector
from pseudolidar.detectors import Congruence, detect, load_detector, log_tallies, train_detector
from pseudolidar.detectors.boxes2d import (
    Boxes2d,
    Detector2dTraining,
    boxes_of_frames,
    ground_truth_boxes,
    read_detections_file,
    read_result_boxes,
)
from pseudolidar.detectors.frustum_pointnet import FrustumTraining
from pseudolidar.detectors.pointrcnn import PointRCNNTraining
from pseudolidar.files import FormatError, InputError, file_digest
from pseudolidar.inference import run_job
from pseudolidar.kitti import ObjectDataset, read_objects
from pseudolidar.systems import Inputs, Model, Resources, Step
from pseudolidar.systems.external import COMMAND_VERSION, Command
from pseudolidar.training import TrainingRun, recorded_settings
from pseudolidar.weights import weights_digest

BOXES2D = "boxes2d"
"""The vertex of the 2D detector."""

# The vertex behind {clouds}.
_CLOUD = "cloud"

# 2D boxes of a detector with lower scores start no frustum: nearly all of them are of nothing.
_MIN_BOX_SCORE = 0.4

_POINTRCNN_VERSION, _FRUSTUM_VERSION = 2, 4


@dataclass(frozen=True)
class Detector2d(Model):
    """2D boxes of the validation split, by a detector trained on the training split, once for all seeds."""

    training: Detector2dTraining
    seed: int
    versions: ClassVar[Mapping[Step, int]] = {"predict": 2}

    @override
    def settings(self, step: Step) -> Mapping[str, Any]:
        return {**recorded_settings(self.training), "seed": self.seed, "min_score": _MIN_BOX_SCORE}

    @override
    def resources(self, step: Step) -> Resources:
        return training_resources(self.training.device, None)

    def run_predict(self, inputs: Inputs, folder: Path) -> None:
        """Train, then write the 2D boxes of the validation split; a killed run is resumed."""
        # Here, since they come with torchvision, slow to import, and most studies do without.
        from pseudolidar.detectors.boxes2d import train_detector2d
        from pseudolidar.inference.boxes2d import Boxes2dJob

        model = folder / MODEL_FILE
        train_detector2d(
            self.training, ObjectDataset(inputs.data, "train"), TrainingRun(model, self.seed, overwrite=True)
        )
        run_job(Boxes2dJob(model, ObjectDataset(inputs.data, "val"), folder, _MIN_BOX_SCORE), overwrite=True)


@dataclass(frozen=True, kw_only=True)
class TrainedDetector(ScoredDetector):
    """A PointRCNN or Frustum PointNet of one class, on the clouds of the parent `cloud`.

    Attributes:
        more_clouds: other parents, whose clouds it is trained on as well.
        older, congruence: a parent, the detector that training holds it to, and with which weight (`Congruence`).
        max_depth_m: objects and points beyond are left out in training (near-only); None: none.
        data_fraction: of the training frames, the same for all seeds and clouds; larger ones hold smaller ones.
        initial: weights that training starts from; None: random ones.
        boxes_file: of 2D boxes in testing; None: from the parent `BOXES2D` if there is one, else the labels.
    """

    training: FrustumTraining | PointRCNNTraining
    cloud: str
    more_clouds: tuple[str, ...] = ()
    older: str | None = None
    congruence: float = 0.0
    max_depth_m: float | None = None
    data_fraction: float = 1.0
    initial: str | Path | None = None
    boxes_file: str | Path | None = None
    versions: ClassVar[Mapping[Step, int]] = {"train": _FRUSTUM_VERSION, "predict": 1, "test": 1}

    @override
    def version(self, step: Step) -> int:
        if step == "train" and isinstance(self.training, PointRCNNTraining):
            return _POINTRCNN_VERSION
        return self.versions[step]

    @override
    def settings(self, step: Step) -> Mapping[str, Any]:
        if step == "train":
            chosen = {"class": self.class_name, "max_depth_m": self.max_depth_m, "data_fraction": self.data_fraction}
            initial = {} if self.initial is None else {"initial": weights_digest(self.initial)}
            held = {} if self.older is None else {"congruence": self.congruence}
            return {**recorded_settings(self.training), **chosen, **initial, **held}
        if step == "test":
            return {"near_m": self.near_m}
        return {} if self.boxes_file is None else {"boxes": file_digest(self.boxes_file)}

    @override
    def resources(self, step: Step) -> Resources:
        if step != "train":
            return Resources()
        return training_resources(self.training.device, self.training.threads)

    def run_train(self, inputs: Inputs, folder: Path) -> None:
        """Train on the fraction of the training split; a killed run is resumed."""
        frames = _fraction(ObjectDataset(inputs.data, "train"), self.data_fraction)
        run = TrainingRun(folder / MODEL_FILE, inputs.seed, overwrite=True)
        clouds, names = [inputs.parents[name] for name in (self.cloud, *self.more_clouds)], [self.class_name]
        held = None if self.older is None else Congruence(inputs.parents[self.older] / MODEL_FILE, self.congruence)
        train_detector(self.training, frames, clouds, names, run, self.max_depth_m, init=self.initial, congruence=held)

    def run_predict(self, inputs: Inputs, folder: Path) -> None:
        """Detect on the validation split."""
        assert inputs.model is not None
        detector = load_detector(inputs.model / MODEL_FILE)
        frames = ObjectDataset(inputs.data, "val")
        boxes = self._boxes2d(frames, inputs) if detector.starts_from_boxes2d else None
        log_tallies([detect(detector, frames, inputs.parents[self.cloud], folder, boxes)])

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

    def wider(network: Any, *names: str) -> Any:
        return dataclasses.replace(network, **{name: scaled(getattr(network, name)) for name in names})

    backbone = wider(training.backbone, "channels", "propagation", "head")
    return dataclasses.replace(training, backbone=backbone, rcnn=wider(training.rcnn, "up", "channels", "head"))


def _fraction(frames: ObjectDataset, fraction: float) -> ObjectDataset:
    """A fraction of a data set's frames, chosen once and for all; larger fractions hold smaller ones."""
    if fraction == 1.0:
        return frames
    order = np.random.default_rng(0).permutation(len(frames))
    chosen = sorted(order[: max(1, round(fraction * len(frames)))])
    return frames.only([frames.frame_ids[index] for index in chosen])


@dataclass(frozen=True)
class CommandDetector(ScoredDetector, Command):
    """A detector in whatever framework: commands that read KITTI folders and write KITTI result files.

    The templates may hold {data} (KITTI's object layout), {train_split} and {val_split} (files of frame ids), {clouds}
    (ID.bin, velodyne frame) or {disparity} (ID.npy, ID.png or ID.pfm), {class_name} and {output}; `train` also {seed},
    `predict` also {model}, the folder that `train` filled. `train` writes whatever it likes into {output}; `predict`
    writes {output}/ID.txt with scores for every frame of the validation split, empty where it found nothing.

    Raises:
        InputError: a template with an unknown placeholder, without {output}, {model} or what the detector looks at.
    """

    versions: ClassVar[Mapping[Step, int]] = {"train": COMMAND_VERSION, "predict": COMMAND_VERSION, "test": 1}

    def __post_init__(self) -> None:
        names = self.require_templates(("clouds", "disparity", "class_name"))
        if not names & {"clouds", "disparity"}:
            raise InputError(f"predict: found neither {{clouds}} nor {{disparity}} in {self.predict!r}, expected one")

    @property
    def parents(self) -> tuple[str, ...]:
        """The vertices that the templates ask for."""
        text = f"{self.train or ''} {self.predict}"
        asked = {"{clouds}": _CLOUD, "{disparity}": DISPARITY}
        return tuple(vertex for placeholder, vertex in asked.items() if placeholder in text)

    @override
    def settings(self, step: Step) -> Mapping[str, Any]:
        return {
            **super().settings(step),
            "class": self.class_name,
            **({"near_m": self.near_m} if step == "test" else {}),
        }

    @override
    def placeholders(self, inputs: Inputs) -> Mapping[str, str | Path]:
        values: dict[str, str | Path] = {"class_name": self.class_name}
        if _CLOUD in inputs.parents:
            values["clouds"] = inputs.parents[_CLOUD].resolve()
        if DISPARITY in inputs.parents:
            values["disparity"] = _disparity_folder(inputs.parents[DISPARITY], inputs.data)
        return values

    def run_predict(self, inputs: Inputs, folder: Path) -> None:
        """Call the command and take over its results; FormatError for a frame without one, or with a broken one."""
        output = self.call(self.predict, inputs, folder)
        results = [output / f"{frame_id}.txt" for frame_id in ObjectDataset(inputs.data, "val").frame_ids]
        missing = [path for path in results if not path.is_file()]
        if missing:
            found = f"nothing there ({len(missing)} of {len(results)} frames have no result file)"
            raise FormatError(missing[0], "file", found, "a result file for each frame, empty where nothing was found")
        for path in results:
            read_objects(path, scored=True)
        for path in results:
            path.replace(folder / path.name)


def _disparity_folder(predictions: Path, data: Path) -> Path:
    """The folder of a parent's disparity maps; the oracle's are the data set's own."""
    truth = truth_of(predictions)
    if truth == "velodyne":
        found = "the oracle, which is LiDAR here"
        raise FormatError(predictions, "folder", found, "disparity maps for {disparity}; a template with {clouds} fits")
    return (predictions if truth is None else data / "training" / "disparity").resolve()
