"""Training of a 2D detector on a split's 2D labels, from random or pretrained weights."""

import copy
import logging
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from pseudolidar.detectors.boxes2d.detector2d import Detector2d
from pseudolidar.detectors.boxes2d.interface import Network
from pseudolidar.detectors.boxes2d.networks import FasterRCNN, LightFCOS, detector_network
from pseudolidar.detectors.boxes2d.training_data import Boxes2dBatch, Boxes2dBatches, Detector2dTraining
from pseudolidar.detectors.validation import ValidationFrames
from pseudolidar.files import FormatError, combined_digest
from pseudolidar.kitti import ObjectDataset
from pseudolidar.training import (
    TrainingRun,
    TrainingTask,
    adam,
    arithmetic_of,
    fit,
    is_finished,
    load_plain,
    one_cycle,
    recorded_settings,
    require_checkpoint_path,
    shard_weight,
    training_record,
)
from pseudolidar.weights import weights_digest

logger = logging.getLogger(__name__)

DOWNLOAD = "download"
"""Asks for torchvision's weights: ImageNet's ResNet-18, or Faster R-CNN trained on COCO."""

_PUBLISHED = {
    "fcos_resnet18": ResNet18_Weights.IMAGENET1K_V1,
    "faster_rcnn_resnet50": FasterRCNN_ResNet50_FPN_Weights.COCO_V1,
}
# torchvision's files are older than the layer of normalisation that its pyramid and proposal head can have today.
_OLD_NAMES = (
    (re.compile(r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$"), r"\1.0.\2"),
    (re.compile(r"^(rpn\.head\.conv)\.(weight|bias)$"), r"\1.0.0.\2"),
)


def train_detector2d(
    settings: Detector2dTraining, dataset: ObjectDataset, run: TrainingRun, validation_data: ObjectDataset | None = None
) -> None:
    """Train a 2D detector and write its checkpoint; resumable, see `training.fit`.

    DontCare regions, Van for cars and Person_sitting for pedestrians are neither right nor wrong in the loss. Labels
    are clipped to the image; those outside of it are skipped and counted in the log. `validation_data` is of the run's
    validation, see `ValidationFrames`.

    Raises:
        FormatError, InputError: as in `detectors.train_detector`; an unknown network, or a class to validate that KITTI
            does not score.
        DivergenceError: the loss is not finite; names the frames.
    """
    require_checkpoint_path(run.checkpoint)
    validation = None
    if validation_data is not None:
        validation = ValidationFrames(validation_data, dataset, settings.classes)
    inputs = {"data": combined_digest(dataset.digests(("image_2", "label_2")))}
    weights = settings.weights
    if weights is not None and weights != DOWNLOAD:
        weights = weights_digest(weights, "weights to start from")
    if run.early_stopping and validation is not None:
        inputs |= validation.digests()
    record = training_record("a 2D detector", settings, inputs, weights=weights, seed=run.seed, **run.early_stopping)
    if is_finished(run.checkpoint, record, run.overwrite):
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        model = detector_network(settings.network, len(settings.classes), settings.frozen_batch_norm)
    if settings.weights is not None:
        load_pretrained(model, settings.network, settings.weights)
    model.to(memory_format=torch.channels_last)

    def test_losses(model: LightFCOS | FasterRCNN) -> dict[str, float]:
        assert validation is not None
        arithmetic = arithmetic_of(settings.precision, settings.device)
        detector = Detector2d(copy.deepcopy(model), settings.classes, settings.image_height, arithmetic)
        return validation.losses_2d(detector.boxes)

    task = TrainingTask(
        model=model,
        batches=Boxes2dBatches(settings, dataset, run.seed),
        compute_loss=batch_loss,
        steps=settings.steps,
        optimizer=adam(model.parameters(), settings.learning_rate, settings.device, settings.weight_decay),
        learning_rate_at=one_cycle(settings.learning_rate, settings.steps),
        record=record,
        description=f"2D detector ({', '.join(settings.classes)})",
        arguments={"detector2d": recorded_settings(settings)},
        max_gradient_norm=settings.max_gradient_norm,
        test_losses=None if validation is None else test_losses,
    )
    fit(task, settings, run)


def batch_loss(model: LightFCOS | FasterRCNN, batch: Boxes2dBatch) -> dict[str, Tensor]:
    """The network's losses on a batch, or this process's parts of them: see `training.TrainingTask`.

    torchvision divides them by the objects in the batch; with several processes, by those in the process's own part.
    """
    losses: dict[str, Tensor] = model(list(batch.images), batch.targets(model.first_label))
    images = torch.tensor(len(batch.images), device=batch.images.device)
    part = shard_weight(images)
    return {name: loss * part for name, loss in losses.items()}


def load_pretrained(model: nn.Module, network: Network, weights: str) -> None:
    """Fill a network with the weights that fit it by name and shape; the log says what was left out.

    `weights` is `download` or a file of tensors by name (also under `state_dict` or `model`): of a detector of the same
    kind, whose class heads are left out if it has other classes, or of a plain ResNet for the body.

    Raises:
        FormatError: no such file, no weights in it, or none that fit.
    """
    state: object
    if weights == DOWNLOAD:
        path = Path(_PUBLISHED[network].url.rsplit("/", 1)[1])
        state = _PUBLISHED[network].get_state_dict(check_hash=True)
    else:
        path = Path(weights)
        state = load_plain(path, "weights: tensors by name (.pth)")
        for key in ("state_dict", "model"):
            state = state.get(key, state) if isinstance(state, Mapping) else state
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise FormatError(path, "file", type(state).__name__, "tensors by name")
    own = model.state_dict()
    fitting, left_out = {}, []
    for name, value in state.items():
        own_name = _name_in(own, str(name))
        if own_name is not None and own[own_name].shape == value.shape:
            fitting[own_name] = value
        else:
            left_out.append(str(name).removeprefix("module."))
    unfilled = [key for key in own if key not in fitting]
    if not any(value.dim() > 1 for value in fitting.values()):
        expected = f"tensors of {network} or of its ResNet"
        raise FormatError(path, "tensors", f"{len(left_out)} of which none fits", expected)
    model.load_state_dict(fitting, strict=False)
    logger.info("%s: %d tensors taken; left out: %s; random: %s",
                path.name, len(fitting), _summary(left_out), _summary(unfilled))  # fmt: skip


def _name_in(own: Mapping[str, Tensor], name: str) -> str | None:
    """The network's name for a tensor of a file; None if it has no such tensor."""
    name = name.removeprefix("module.")
    for pattern, replacement in _OLD_NAMES:
        name = pattern.sub(replacement, name)
    return next((key for key in (name, f"backbone.body.{name}") if key in own), None)


def _summary(names: list[str]) -> str:
    """Tensors counted by the part of the network that they belong to."""
    # Counts of batches are no weights.
    weights = [name for name in names if not name.endswith("num_batches_tracked")]
    parts = Counter(".".join(name.split(".")[:-1][:2]) for name in weights)
    return ", ".join(f"{part} ({count})" for part, count in parts.items()) or "nothing"
