"""Training of PointRCNN for one class: the RPN, then the RCNN head with the RPN fixed; or both at once."""

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from pseudolidar.detectors.congruence import Congruence
from pseudolidar.detectors.detector import InitialWeights, cloud_folders, clouds_digests
from pseudolidar.detectors.pointnet2 import fold_batch_norm
from pseudolidar.detectors.pointrcnn.augmentation import SceneAugmentation
from pseudolidar.detectors.pointrcnn.inference import PointRCNNDetector
from pseudolidar.detectors.pointrcnn.losses import rcnn_loss, rpn_loss
from pseudolidar.detectors.pointrcnn.model import MEAN_SIZES_M, PointRCNN
from pseudolidar.detectors.pointrcnn.rcnn import RCNNShape
from pseudolidar.detectors.pointrcnn.rpn import BackboneShape, ProposalSettings, RPNOutput
from pseudolidar.detectors.pointrcnn.scenes import SceneBatch, SceneBatches, SceneSource
from pseudolidar.detectors.pointrcnn.targets import RoISampling, label_points
from pseudolidar.detectors.validation import ValidationFrames
from pseudolidar.files import InputError, combined_digest, is_first_process
from pseudolidar.kitti import ObjectDataset
from pseudolidar.training import (
    TrainingRun,
    TrainingSettings,
    TrainingTask,
    adam,
    fit,
    is_finished,
    one_cycle,
    recorded_settings,
    require_checkpoint_path,
    training_record,
)
from pseudolidar.weights import weights_digest

_MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class PointRCNNTraining(TrainingSettings):
    """Settings of the training of a PointRCNN.

    Attributes:
        rpn_steps, rpn_batch_size: of the RPN's phase; not used with `joint`.
        rcnn_steps, rcnn_batch_size: of the RCNN head's phase with the RPN fixed; with `joint`, of both together.
        learning_rate: peak of the one-cycle schedule (Adam with decoupled weight decay).
        points: of a scene.
        mean_size: of the class: `published` (KITTI's), or `training_set` (the mean of the objects trained on).
        training_proposals, proposals: how RoIs are proposed in training and in detection.
        score_threshold, nms_threshold: detections of lower confidence go, and so does the less confident of two of a
            larger rotated BEV IoU.
    """

    rpn_steps: int
    rcnn_steps: int
    joint: bool
    rpn_batch_size: int
    rcnn_batch_size: int
    learning_rate: float
    weight_decay: float
    points: int
    mean_size: Literal["published", "training_set"]
    backbone: BackboneShape
    rcnn: RCNNShape
    training_proposals: ProposalSettings
    proposals: ProposalSettings
    sampling: RoISampling
    augmentation: SceneAugmentation
    score_threshold: float
    nms_threshold: float


def train_pointrcnn(
    settings: PointRCNNTraining,
    dataset: ObjectDataset,
    clouds: str | Path | Sequence[str | Path],
    class_name: str,
    run: TrainingRun,
    max_depth: float | None = None,
    validation_data: ObjectDataset | None = None,
    init: str | Path | None = None,
    congruence: Congruence | None = None,
) -> None:
    """Train a PointRCNN for one class; arguments and errors are those of `detectors.train_detector`.

    The finished RPN is kept beside the checkpoint (`rpn_path`) until the RCNN head is finished too.
    """
    require_checkpoint_path(run.checkpoint)
    if class_name not in MEAN_SIZES_M:
        raise InputError(f"class_name: found {class_name!r}, expected one of {', '.join(MEAN_SIZES_M)}")
    folders = cloud_folders(clouds)
    validation = None
    if validation_data is not None:
        validation = ValidationFrames(validation_data, dataset, [class_name], folders[0], max_depth)
    inputs = {"data": combined_digest(dataset.digests(("calib", "image_2", "label_2")))}
    inputs |= clouds_digests(folders, dataset.frame_ids)
    if init is not None:
        inputs["init"] = weights_digest(init)
    held = {}
    if congruence is not None:
        InitialWeights.from_file(congruence.old, "PointRCNN", [class_name])
        inputs["old"] = weights_digest(congruence.old)
        held["congruence"] = congruence.weight
    if run.early_stopping and validation is not None:
        inputs |= validation.digests()
    record = training_record(
        "a PointRCNN",
        settings,
        inputs,
        class_name=class_name,
        max_depth=max_depth,
        seed=run.seed,
        **run.early_stopping,
        **held,
    )
    if is_finished(run.checkpoint, record, run.overwrite):
        return
    source = SceneSource(dataset, folders, class_name, settings.points, settings.augmentation, max_depth, run.seed)
    network: dict[str, Any] = {
        "mean_size_m": list(MEAN_SIZES_M[class_name]) if settings.mean_size == "published" else source.mean_size_m(),
        "backbone": dataclasses.asdict(settings.backbone),
        "rcnn": dataclasses.asdict(settings.rcnn),
        "proposals": dataclasses.asdict(settings.proposals),
    }
    initial = None if init is None else InitialWeights.from_file(init, "PointRCNN", [class_name])
    if initial is not None:
        network["mean_size_m"] = initial.mean_sizes
    arguments: dict[str, Any] = {
        "detector": "pointrcnn",
        "class_name": class_name,
        "max_depth": max_depth,
        "network": network,
        "settings": recorded_settings(settings),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        model = PointRCNN.from_arguments(network)
    if initial is not None:
        initial.fill(model)
    old = None if congruence is None else PointRCNNDetector.from_checkpoint(congruence.old).model.rpn

    def point_loss(model: PointRCNN, batch: SceneBatch, rpn: RPNOutput) -> dict[str, Tensor]:
        terms = rpn_loss(model, batch, rpn)
        if old is None or congruence is None:
            return terms
        with torch.no_grad():
            old_logits = old.to(batch.points.device)(batch.points).rpn_cls[..., 0]
        is_object = label_points(batch.points, batch.boxes).foreground == 1
        return terms | congruence.term(rpn.rpn_cls[..., 0], old_logits, is_object)

    if not settings.joint:
        rpn_task = TrainingTask(
            model=model,
            batches=SceneBatches(source, settings.rpn_batch_size, phase=1),
            compute_loss=lambda model, batch: point_loss(model, batch, model.rpn(batch.points)),
            steps=settings.rpn_steps,
            optimizer=_optimizer(model.rpn, settings),
            learning_rate_at=one_cycle(settings.learning_rate, settings.rpn_steps),
            record=dataclasses.replace(record, what=f"{record.what}'s RPN"),
            description=f"PointRCNN ({class_name}), RPN",
            arguments={**arguments, "phase": "RPN"},
            max_gradient_norm=_MAX_GRADIENT_NORM,
        )
        fit(rpn_task, settings, dataclasses.replace(run, checkpoint=rpn_path(run.checkpoint), validation=None))
        # The next phase would count the last step's gradients of a stage that it does not train in their norm.
        model.zero_grad(set_to_none=True)

    def compute_loss(model: PointRCNN, batch: SceneBatch) -> dict[str, Tensor]:
        if not settings.joint:
            # The RPN is fixed: its running statistics too.
            model.rpn.eval()
        with torch.set_grad_enabled(settings.joint):
            rpn = model.rpn(batch.points)
        of_points = point_loss(model, batch, rpn) if settings.joint else {}
        return of_points | rcnn_loss(model, batch, rpn, settings.training_proposals, settings.sampling)

    def test_losses(model: PointRCNN) -> dict[str, float]:
        assert validation is not None
        network = copy.deepcopy(model)
        fold_batch_norm(network)
        rules = (settings.points, settings.score_threshold, settings.nms_threshold)
        return validation.losses_3d(PointRCNNDetector(network, (class_name,), *rules, max_depth))

    task = TrainingTask(
        model=model,
        batches=SceneBatches(source, settings.rcnn_batch_size, phase=2),
        compute_loss=compute_loss,
        steps=settings.rcnn_steps,
        optimizer=_optimizer(model if settings.joint else model.rcnn_net, settings),
        learning_rate_at=one_cycle(settings.learning_rate, settings.rcnn_steps),
        record=record,
        description=f"PointRCNN ({class_name}), {'RPN and RCNN head' if settings.joint else 'RCNN head'}",
        arguments=arguments,
        max_gradient_norm=_MAX_GRADIENT_NORM,
        test_losses=None if validation is None else test_losses,
    )
    fit(task, settings, run)
    if is_first_process():
        rpn_path(run.checkpoint).unlink(missing_ok=True)


def rpn_path(checkpoint: Path) -> Path:
    """The file beside `checkpoint` that keeps the finished RPN until the RCNN head is finished."""
    return checkpoint.with_name(f"{checkpoint.name}.rpn{checkpoint.suffix}")


def _optimizer(part: torch.nn.Module, settings: PointRCNNTraining) -> torch.optim.Optimizer:
    return adam(part.parameters(), settings.learning_rate, settings.device, settings.weight_decay)
