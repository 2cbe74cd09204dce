"""Training of a Frustum PointNet, for one class or several, on the clouds of one disparity model."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from pseudolidar.cloud import clouds_digest
from pseudolidar.detectors.frustum_pointnet.coding import MEAN_SIZES_M, ONE_HOT_CLASSES, SIZE_CLUSTERS
from pseudolidar.detectors.frustum_pointnet.layers import PooledLayer
from pseudolidar.detectors.frustum_pointnet.losses import frustum_loss
from pseudolidar.detectors.frustum_pointnet.model import FrustumPointNet, Version
from pseudolidar.detectors.frustum_pointnet.samples import (
    Augmentation,
    BatchSource,
    FrustumBatch,
    FrustumSample,
    Selection,
    collect_samples,
)
from pseudolidar.files import FormatError, InputError, combined_digest
from pseudolidar.kitti import ObjectDataset
from pseudolidar.training import (
    Precision,
    fit,
    is_finished,
    one_cycle,
    process_count,
    recorded_settings,
    require_checkpoint_path,
    shard_weight,
    training_record,
)


@dataclass(frozen=True)
class FrustumTraining:
    """How a Frustum PointNet is trained.

    Attributes:
        steps: optimizer steps.
        version: of Frustum PointNet: 1 on plain PointNets, 2 on PointNet++.
        batch_size: frusta a step.
        learning_rate: peak of the one-cycle schedule (Adam).
        width: multiplies the network's channels; 1 is the published network.
        density: multiplies v2's numbers of centres and of neighbours; 1 is the published network.
        points: points a frustum.
        object_points: points of the object after segmentation.
        dropout: in the segmentation network.
        centre_depth: see `FrustumPointNet`.
        mean_size: of the classes: `published` (KITTI's), or `training_set` (the means of the objects trained on,
            for data whose cars or people are of other sizes).
        jitter: of the 2D boxes, share of their width and height.
        flip: mirror every second sample.
        depth_shift: standard deviation, share of the distance.
        min_box_height_px: lower 2D boxes are left out, in training and detection.
        min_points: frusta with fewer points are left out, in training and detection.
        add_box_score: in detection add the logarithm of a 2D box's own score to the object's, which keeps boxes that
            the 2D detector doubts from ranking high; the published score leaves it out.
        max_occlusion: of the objects trained on.
        max_truncation: of the objects trained on.
        precision: of the arithmetic.
        checkpoint_every: steps.
        device: `cpu` or `cuda`.
        threads: processor threads; None: as many as PyTorch takes.
        accumulate: parts of a batch that go through the network one after the other, for less memory: `training.fit`.
        synchronised_batch_norm: several processes take the statistics of batch normalisation together.
    """

    steps: int
    version: Version
    batch_size: int
    learning_rate: float
    width: float
    density: float
    points: int
    object_points: int
    dropout: float
    centre_depth: bool
    mean_size: Literal["published", "training_set"]
    jitter: float
    flip: bool
    depth_shift: float
    min_box_height_px: float
    min_points: int
    add_box_score: bool
    max_occlusion: int
    max_truncation: float
    precision: Precision
    checkpoint_every: int
    device: str
    threads: int | None
    accumulate: int
    synchronised_batch_norm: bool


def train_frustum_pointnet(
    settings: FrustumTraining,
    dataset: ObjectDataset,
    clouds_dir: str | Path,
    class_names: Sequence[str],
    checkpoint: Path,
    seed: int,
    max_depth: float | None = None,
    device: str | None = None,
    overwrite: bool = False,
) -> None:
    """Train a detector and write its checkpoint; resumable, see `training.fit`.

    The frusta are extracted once and kept in memory, some 20 bytes per point: see `FrustumSample`.

    Args:
        settings: of the training.
        dataset: the labelled training split.
        clouds_dir: ID.bin of every frame, velodyne frame.
        class_names: of Car, Pedestrian and Cyclist, one or several; the network is told each frustum's class.
        checkpoint: the file to write; `detect` reads it.
        seed: of initial weights, order, augmentation, sampling and dropout.
        max_depth: m; objects and points beyond are left out (near-only).
        device: where to train; None: as the settings say.
        overwrite: a checkpoint of another record is replaced.

    Raises:
        FormatError: a missing or broken file, or no object of one of the classes to train on; a checkpoint or running
            state that was made otherwise, unless `overwrite`.
        InputError: no class, one twice, or one that the one-hot vector doesn't know.
    """
    require_checkpoint_path(checkpoint)
    if not class_names or len({*class_names}) < len(class_names) or not {*class_names} <= {*ONE_HOT_CLASSES}:
        found = ", ".join(class_names) or "none"
        raise InputError(f"class_names: found {found}, expected one or several of {', '.join(ONE_HOT_CLASSES)}")
    inputs = {
        "data": combined_digest(dataset.digests(("calib", "label_2"))),
        "clouds": clouds_digest(clouds_dir, dataset.frame_ids),
    }
    record = training_record(
        "a Frustum PointNet", settings, inputs, device, class_names=list(class_names), max_depth=max_depth, seed=seed
    )
    if is_finished(checkpoint, record, overwrite):
        return
    names = ", ".join(class_names)
    selection = Selection(
        settings.min_box_height_px, settings.min_points, settings.max_occlusion, settings.max_truncation, max_depth
    )
    stored_points = 4 * settings.points
    samples = collect_samples(dataset, clouds_dir, class_names, selection, settings.jitter, stored_points, seed)
    for name in class_names:
        if not any(sample.class_name == name for sample in samples):
            place = f"{name} objects in {len(dataset)} frames"
            raise FormatError(dataset.root, place, "none to train on", f"at least one that passes {selection}")
    network: dict[str, Any] = {
        "version": settings.version,
        "mean_sizes_m": size_clusters(samples if settings.mean_size == "training_set" else []),
        "width": settings.width,
        "density": settings.density,
        "object_points": settings.object_points,
        "dropout": settings.dropout,
        "centre_depth": settings.centre_depth,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = FrustumPointNet(**network)
    if settings.synchronised_batch_norm and process_count() > 1:
        for layer in model.modules():
            if isinstance(layer, PooledLayer):
                layer.forward = functools.partial(_pooled_step_by_step, layer)  # type: ignore[method-assign]
    source = BatchSource(
        samples,
        settings.batch_size,
        settings.points,
        Augmentation(settings.jitter, settings.flip, settings.depth_shift),
        settings.min_points,
        seed,
    )
    fit(
        model,
        source.batch_at,
        batch_loss,
        settings.steps,
        torch.optim.Adam(model.parameters(), lr=settings.learning_rate),
        one_cycle(settings.learning_rate, settings.steps),
        checkpoint,
        record,
        f"frustum network ({names})",
        precision=settings.precision,
        checkpoint_every=settings.checkpoint_every,
        device=settings.device if device is None else device,
        arguments={
            "class_names": list(class_names),
            "max_depth": max_depth,
            "network": network,
            "settings": recorded_settings(settings),
        },
        overwrite=overwrite,
        seed=seed,
        threads=settings.threads,
        accumulate=settings.accumulate,
        synchronise=settings.synchronised_batch_norm,
    )


def batch_loss(model: FrustumPointNet, batch: FrustumBatch) -> Tensor:
    """The loss of a batch, a scalar, or this process's term of it: see `training.fit`."""
    output = model(batch.points, batch.one_hot, batch.keys)
    frusta = torch.tensor(len(batch.points), device=batch.points.device)
    return frustum_loss(output, batch.targets, model.mean_sizes_m) * shard_weight(frusta)


def _pooled_step_by_step(layer: PooledLayer, rows: Tensor, batch: int) -> Tensor:
    """What a `PooledLayer` computes, by way of its norm as a module: its own statistics are of this process alone."""
    with torch.autocast(rows.device.type, enabled=False):
        activations = torch.relu(layer.norm(layer.linear(rows.float())))
    return activations.view(batch, -1, activations.shape[1]).max(dim=1).values


def size_clusters(samples: Sequence[FrustumSample]) -> list[list[float]]:
    """Mean sizes l w h m of the 8 clusters: of these samples for their classes, the published ones for the others."""
    sizes = {name: list(size) for name, size in MEAN_SIZES_M.items()}
    for name in {sample.class_name for sample in samples}:
        own = [sample.box3d[3:6] for sample in samples if sample.class_name == name]
        height, width, length = np.mean(own, axis=0).tolist()
        sizes[name] = [length, width, height]
    return [sizes[name] for name in SIZE_CLUSTERS]
