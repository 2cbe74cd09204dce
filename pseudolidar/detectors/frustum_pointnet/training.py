"""Training of a Frustum PointNet, for one class or several, on the clouds of one disparity model."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pseudolidar.detectors.congruence import Congruence
from pseudolidar.detectors.detector import InitialWeights, cloud_folders, clouds_digests
from pseudolidar.detectors.frustum_pointnet.box_coder import MEAN_SIZES_M, ONE_HOT_CLASSES, SIZE_CLUSTERS
from pseudolidar.detectors.frustum_pointnet.inference import FrustumDetector
from pseudolidar.detectors.frustum_pointnet.losses import WEIGHTS, loss_terms
from pseudolidar.detectors.frustum_pointnet.model import NETWORK_SETTINGS, FrustumOutput, FrustumPointNet
from pseudolidar.detectors.frustum_pointnet.samples import (
    FrustumBatch,
    FrustumBatches,
    FrustumSample,
    FrustumTraining,
    collect_samples,
)
from pseudolidar.detectors.validation import ValidationFrames
from pseudolidar.files import FormatError, InputError, combined_digest
from pseudolidar.kitti import ObjectDataset
from pseudolidar.training import (
    TrainingRun,
    TrainingTask,
    adam,
    fit,
    is_finished,
    one_cycle,
    recorded_settings,
    require_checkpoint_path,
    shard_weight,
    training_record,
)
from pseudolidar.weights import weights_digest


def train_frustum_pointnet(
    settings: FrustumTraining,
    dataset: ObjectDataset,
    clouds: str | Path | Sequence[str | Path],
    class_names: Sequence[str],
    run: TrainingRun,
    max_depth: float | None = None,
    validation_data: ObjectDataset | None = None,
    init: str | Path | None = None,
    congruence: Congruence | None = None,
) -> None:
    """Train a Frustum PointNet on frusta in memory; arguments and errors are those of `detectors.train_detector`."""
    require_checkpoint_path(run.checkpoint)
    if not class_names or len({*class_names}) < len(class_names) or not {*class_names} <= {*ONE_HOT_CLASSES}:
        found = ", ".join(class_names) or "none"
        raise InputError(f"class_names: found {found}, expected one or several of {', '.join(ONE_HOT_CLASSES)}")
    folders = cloud_folders(clouds)
    validation = None
    if validation_data is not None:
        validation = ValidationFrames(validation_data, dataset, class_names, folders[0], max_depth)
    inputs = {"data": combined_digest(dataset.digests(("calib", "label_2")))}
    inputs |= clouds_digests(folders, dataset.frame_ids)
    if init is not None:
        inputs["init"] = weights_digest(init)
    held = {}
    if congruence is not None:
        InitialWeights.from_file(congruence.old, "Frustum PointNet", class_names)
        inputs["old"] = weights_digest(congruence.old)
        held["congruence"] = congruence.weight
    if run.early_stopping and validation is not None:
        inputs |= validation.digests()
    record = training_record(
        "a Frustum PointNet",
        settings,
        inputs,
        class_names=list(class_names),
        max_depth=max_depth,
        seed=run.seed,
        **run.early_stopping,
        **held,
    )
    if is_finished(run.checkpoint, record, run.overwrite):
        return
    names = ", ".join(class_names)
    samples = collect_samples(settings, dataset, folders, class_names, max_depth, run.seed)
    for name in class_names:
        if not any(sample.class_name == name for sample in samples):
            place = f"{name} objects in {len(dataset)} frames"
            rules = ("min_box_height_px", "min_points", "max_occlusion", "max_truncation")
            limits = ", ".join(f"{rule}={getattr(settings, rule)}" for rule in rules)
            expected = f"at least one within {limits}, max_depth={max_depth}"
            raise FormatError(dataset.root, place, "none to train on", expected)
    network: dict[str, Any] = {
        "mean_sizes_m": size_clusters(samples if settings.mean_size == "training_set" else []),
        **{name: getattr(settings, name) for name in NETWORK_SETTINGS},
    }
    initial = None if init is None else InitialWeights.from_file(init, "Frustum PointNet", class_names)
    if initial is not None:
        network["mean_sizes_m"] = initial.mean_sizes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        model = FrustumPointNet(**network)
    if initial is not None:
        initial.fill(model)

    old = None if congruence is None else FrustumDetector.from_checkpoint(Path(congruence.old)).model

    def losses(model: FrustumPointNet, batch: FrustumBatch) -> dict[str, Tensor]:
        if old is None or congruence is None:
            return batch_loss(model, batch)
        output = model(batch.points, batch.one_hot, batch.keys)
        with torch.no_grad():
            old_output = old.to(batch.points.device)(batch.points, batch.one_hot, batch.keys)
        logits, old_logits = (each.mask_logits[..., 1] - each.mask_logits[..., 0] for each in (output, old_output))
        return _weighted_terms(model, batch, output) | congruence.term(logits, old_logits, batch.inside)

    def test_losses(model: FrustumPointNet) -> dict[str, float]:
        assert validation is not None
        rules = (settings.points, settings.min_box_height_px, settings.min_points, settings.add_box_score)
        return validation.losses_3d(FrustumDetector(copy.deepcopy(model), tuple(class_names), max_depth, *rules))

    task = TrainingTask(
        model=model,
        batches=FrustumBatches(samples, settings, run.seed),
        compute_loss=losses,
        steps=settings.steps,
        optimizer=adam(model.parameters(), settings.learning_rate, settings.device),
        learning_rate_at=one_cycle(settings.learning_rate, settings.steps),
        record=record,
        description=f"frustum network ({names})",
        arguments={
            "class_names": list(class_names),
            "max_depth": max_depth,
            "network": network,
            "settings": recorded_settings(settings),
        },
        test_losses=None if validation is None else test_losses,
    )
    fit(task, settings, run)


def batch_loss(model: FrustumPointNet, batch: FrustumBatch) -> dict[str, Tensor]:
    """The weighted terms of the loss of a batch, or this process's parts of them: see `training.TrainingTask`."""
    return _weighted_terms(model, batch, model(batch.points, batch.one_hot, batch.keys))


def _weighted_terms(model: FrustumPointNet, batch: FrustumBatch, output: FrustumOutput) -> dict[str, Tensor]:
    frusta = torch.tensor(len(batch.points), device=batch.points.device)
    part = shard_weight(frusta)
    return {name: WEIGHTS[name] * term * part for name, term in loss_terms(output, batch, model.mean_sizes_m).items()}


def size_clusters(samples: Sequence[FrustumSample]) -> list[list[float]]:
    """Mean sizes l w h m of the 8 clusters: of these samples for their classes, the published ones for the others."""
    sizes = {name: list(size) for name, size in MEAN_SIZES_M.items()}
    for name in {sample.class_name for sample in samples}:
        own = [sample.box3d[3:6] for sample in samples if sample.class_name == name]
        height, width, length = np.mean(own, axis=0).tolist()
        sizes[name] = [length, width, height]
    return [sizes[name] for name in SIZE_CLUSTERS]
