"""Training of PointRCNN for one class: the first stage, then the second with the first fixed; or both at once."""

import dataclasses
import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from pseudolidar.cloud import clouds_digest
from pseudolidar.detectors.pointrcnn.augmentation import SceneAugmentation
from pseudolidar.detectors.pointrcnn.first_stage import BackboneShape, FirstStage
from pseudolidar.detectors.pointrcnn.losses import box_loss, confidence_loss, segmentation_loss
from pseudolidar.detectors.pointrcnn.model import MEAN_SIZES_M, PointRCNN
from pseudolidar.detectors.pointrcnn.proposals import ProposalSettings, propose
from pseudolidar.detectors.pointrcnn.scenes import SceneBatch, SceneSource
from pseudolidar.detectors.pointrcnn.second_stage import RegionShape
from pseudolidar.detectors.pointrcnn.targets import RegionSampling, augment_regions, label_points, sample_regions
from pseudolidar.files import InputError, combined_digest
from pseudolidar.kitti import ObjectDataset
from pseudolidar.training import (
    Precision,
    fit,
    is_finished,
    is_first_process,
    one_cycle,
    recorded_settings,
    require_checkpoint_path,
    share_of_mean,
    training_record,
)

_MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class PointRCNNTraining:
    """How a PointRCNN is trained; the defaults are the published ones, but for steps and the rates between steps.

    Attributes:
        rpn_steps: of the first stage; with `joint` none.
        rcnn_steps: of the second stage, the first being fixed; with `joint` of both together.
        joint: one phase for both stages.
        rpn_batch_size: scenes a step of the first stage.
        rcnn_batch_size: scenes a step of the second stage, or of both.
        learning_rate: peak of the one-cycle schedule (Adam with decoupled weight decay).
        weight_decay: of that optimizer.
        points: of a scene.
        mean_size: of the class: `published` (KITTI's), or `training_set` (the mean of the objects trained on).
        backbone: shape of the first stage.
        region: shape of the second stage.
        training_proposals: how regions are proposed in training.
        proposals: how they are in detection.
        sampling: which of them are trained on.
        augmentation: of scenes.
        score_threshold: detections with a lower confidence are left out.
        overlap: rotated BEV IoU above which the less confident detection goes.
        precision: of the arithmetic.
        checkpoint_every: steps.
        device: `cpu` or `cuda`.
        threads: processor threads; None: as many as PyTorch takes.
        accumulate: parts of a batch that go through the network one after the other, for less memory: `training.fit`.
        synchronised_batch_norm: several processes take the statistics of batch normalisation together.
    """

    rpn_steps: int
    rcnn_steps: int
    joint: bool = False
    rpn_batch_size: int = 16
    rcnn_batch_size: int = 4
    learning_rate: float = 0.002
    weight_decay: float = 0.001
    points: int = 16384
    mean_size: Literal["published", "training_set"] = "published"
    backbone: BackboneShape = field(default_factory=BackboneShape)
    region: RegionShape = field(default_factory=RegionShape)
    training_proposals: ProposalSettings = field(default_factory=lambda: ProposalSettings(kept=512, overlap=0.85))
    proposals: ProposalSettings = field(default_factory=ProposalSettings)
    sampling: RegionSampling = field(default_factory=RegionSampling)
    augmentation: SceneAugmentation = field(default_factory=SceneAugmentation)
    score_threshold: float = 0.3
    overlap: float = 0.1
    precision: Precision = "float32"
    checkpoint_every: int = 100
    device: str = "cpu"
    threads: int | None = None
    accumulate: int = 1
    synchronised_batch_norm: bool = True


def train_pointrcnn(
    settings: PointRCNNTraining,
    dataset: ObjectDataset,
    clouds_dir: str | Path,
    class_name: str,
    checkpoint: Path,
    seed: int,
    max_depth: float | None = None,
    device: str | None = None,
    overwrite: bool = False,
) -> None:
    """Train a detector for one class and write its checkpoint; resumable, see `training.fit`.

    The finished first stage lies beside it (`first_stage_path`) until the second is finished too.

    Args:
        settings: of the training.
        dataset: the labelled training split.
        clouds_dir: ID.bin of every frame, velodyne frame.
        class_name: Car, Pedestrian or Cyclist.
        checkpoint: the file to write.
        seed: of initial weights, order, augmentation, sampling and dropout.
        max_depth: m; objects and points beyond are left out (near-only).
        device: where to train; None: as the settings say.
        overwrite: a checkpoint of another record is replaced.

    Raises:
        FormatError: a missing or broken file, or no object of the class to train on; a checkpoint or running state
            that was made otherwise, unless `overwrite`.
        InputError: a class without a mean size.
    """
    require_checkpoint_path(checkpoint)
    if class_name not in MEAN_SIZES_M:
        raise InputError(f"class_name: found {class_name!r}, expected one of {', '.join(MEAN_SIZES_M)}")
    inputs = {
        "data": combined_digest(dataset.digests(("calib", "image_2", "label_2"))),
        "clouds": clouds_digest(clouds_dir, dataset.frame_ids),
    }
    record = training_record(
        "a PointRCNN", settings, inputs, device, class_name=class_name, max_depth=max_depth, seed=seed
    )
    if is_finished(checkpoint, record, overwrite):
        return
    source = SceneSource(dataset, clouds_dir, class_name, settings.points, settings.augmentation, max_depth, seed)
    network: dict[str, Any] = {
        "mean_size_m": list(MEAN_SIZES_M[class_name]) if settings.mean_size == "published" else source.mean_size_m(),
        "backbone": dataclasses.asdict(settings.backbone),
        "region": dataclasses.asdict(settings.region),
        "proposals": dataclasses.asdict(settings.proposals),
    }
    arguments: dict[str, Any] = {
        "detector": "pointrcnn",
        "class_name": class_name,
        "max_depth": max_depth,
        "network": network,
        "settings": recorded_settings(settings),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = PointRCNN.from_arguments(network)
    common: dict[str, Any] = {
        "precision": settings.precision,
        "checkpoint_every": settings.checkpoint_every,
        "device": settings.device if device is None else device,
        "max_gradient_norm": _MAX_GRADIENT_NORM,
        "seed": seed,
        "overwrite": overwrite,
        "threads": settings.threads,
        "accumulate": settings.accumulate,
        "synchronise": settings.synchronised_batch_norm,
    }
    first_stage = first_stage_path(checkpoint)
    if not settings.joint:
        fit(
            model,
            functools.partial(source.batch_at, batch_size=settings.rpn_batch_size, phase=1),
            first_stage_loss,
            settings.rpn_steps,
            _optimizer(model.rpn, settings),
            one_cycle(settings.learning_rate, settings.rpn_steps),
            first_stage,
            dataclasses.replace(record, what=f"{record.what}, first stage"),
            f"PointRCNN ({class_name}), first stage",
            arguments={**arguments, "phase": "first stage"},
            **common,
        )
        # The next phase would count the last step's gradients of a stage that it does not train in their norm.
        model.zero_grad(set_to_none=True)

    def loss(model: PointRCNN, batch: SceneBatch) -> Tensor:
        if settings.joint:
            first = model.rpn(batch.points)
            return _loss_of_points(model, batch, first) + second_stage_loss(model, batch, first, settings)
        # Fixed: its running statistics too.
        model.rpn.eval()
        with torch.no_grad():
            first = model.rpn(batch.points)
        return second_stage_loss(model, batch, first, settings)

    fit(
        model,
        functools.partial(source.batch_at, batch_size=settings.rcnn_batch_size, phase=2),
        loss,
        settings.rcnn_steps,
        _optimizer(model if settings.joint else model.rcnn_net, settings),
        one_cycle(settings.learning_rate, settings.rcnn_steps),
        checkpoint,
        record,
        f"PointRCNN ({class_name}), {'both stages' if settings.joint else 'second stage'}",
        arguments=arguments,
        **common,
    )
    if is_first_process():
        first_stage.unlink(missing_ok=True)


def first_stage_path(checkpoint: Path) -> Path:
    """Where the finished first stage of a checkpoint waits for the second: beside it, under its whole name."""
    return checkpoint.with_name(f"{checkpoint.name}.first-stage{checkpoint.suffix}")


def first_stage_loss(model: PointRCNN, batch: SceneBatch) -> Tensor:
    """Segmentation and box regression of the points, a scalar, or this process's share: see `training.fit`."""
    return _loss_of_points(model, batch, model.rpn(batch.points))


def _loss_of_points(model: PointRCNN, batch: SceneBatch, first: FirstStage) -> Tensor:
    labels = label_points(batch.points, batch.boxes)
    is_foreground = labels.foreground == 1
    points, boxes = batch.points[is_foreground], labels.box
    # The first stage codes the middle of the box.
    centre = torch.stack([boxes[:, 0], boxes[:, 1] - boxes[:, 3] / 2, boxes[:, 2]], dim=1)
    targets = model.rpn_coding.encode(centre - points, boxes[:, 3:6], boxes[:, 6], model.mean_size_m)
    loss = segmentation_loss(first.rpn_cls[..., 0], labels.foreground) + box_loss(
        model.rpn_coding, first.rpn_reg[is_foreground], targets
    )
    return loss * share_of_mean(is_foreground.sum())


def second_stage_loss(model: PointRCNN, batch: SceneBatch, first: FirstStage, settings: PointRCNNTraining) -> Tensor:
    """Confidence and refinement of sampled regions, a scalar, or this process's share: see `training.fit`."""
    generators = [torch.Generator().manual_seed(seed) for seed in batch.seed]
    with torch.no_grad():
        boxes = model.boxes_of_points(batch.points, first)
        proposals = propose(boxes, first.rpn_cls[..., 0], settings.training_proposals)
        # Scene by scene, each with its own random numbers: they are the same in whichever part of a step it is.
        labels = [
            sample_regions(proposals[scene][None], batch.boxes[scene][None], settings.sampling, generator)
            for scene, generator in enumerate(generators)
        ]
    regions = torch.cat([each.regions for each in labels])
    own, features, has_points = model.rcnn_net.pooled(batch.points, first, regions)
    augmented = [augment_regions(*scene) for scene in zip(own, labels, generators, strict=True)]
    own = torch.cat([scene for scene, _ in augmented])
    offsets, sizes, headings = (torch.cat(column) for column in zip(*(truth for _, truth in augmented), strict=True))
    rcnn_cls, rcnn_reg = model.rcnn_net.judge(own, features.flatten(0, 1))
    # Regions without a point teach nothing.
    refined = (torch.cat([each.refined for each in labels]) & has_points).flatten()
    confidence = torch.where(has_points, torch.cat([each.confidence for each in labels]), -1.0).flatten()
    targets = model.rcnn_coding.encode(offsets[refined], sizes[refined], headings[refined], model.mean_size_m)
    judgement = confidence_loss(rcnn_cls[:, 0], confidence) * share_of_mean((confidence >= 0).sum())
    return judgement + box_loss(model.rcnn_coding, rcnn_reg[refined], targets) * share_of_mean(refined.sum())


def _optimizer(part: torch.nn.Module, settings: PointRCNNTraining) -> torch.optim.Optimizer:
    return torch.optim.AdamW(part.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
