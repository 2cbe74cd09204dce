"""Training of a 2D detector on the 2D labels of a split."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pseudolidar.detectors.boxes2d.networks import FasterRCNN, LightFCOS, Network, detector_network
from pseudolidar.detectors.boxes2d.training_data import Boxes2dBatch, Boxes2dBatches, Crops2d
from pseudolidar.detectors.boxes2d.weights import DOWNLOAD, load_pretrained
from pseudolidar.files import InputError, combined_digest, file_digest
from pseudolidar.kitti import ObjectDataset
from pseudolidar.training import (
    TrainingSettings,
    fit,
    is_finished,
    one_cycle,
    recorded_settings,
    require_checkpoint_path,
    shard_weight,
    training_record,
)


@dataclass(frozen=True)
class Detector2dTraining(TrainingSettings):
    """How a 2D detector is trained.

    Attributes:
        network: `fcos_resnet18` (for processors and small images) or `faster_rcnn_resnet50` (for GPUs).
        steps: optimizer steps.
        image_height: rows that images are resized to, aspect ratio kept, in training and detection.
        crop: height and width of the training crops, px of the resized images.
        classes: to be found.
        weights: to start from: a file of weights on disk, `download` for torchvision's own, None for random ones; see
            `load_pretrained`.
        frozen_batch_norm: see `detector_network`; for pretrained weights alone.
        batch_size: crops a step.
        learning_rate: peak of the one-cycle schedule (AdamW).
        weight_decay: of AdamW.
        max_gradient_norm: gradients of a larger norm are scaled down to it.
        scale, flip, colour, min_box_height_px: of the crops, see `Crops2d`.
    """

    network: Network
    steps: int
    image_height: int
    crop: tuple[int, int]
    classes: tuple[str, ...]
    weights: str | None
    frozen_batch_norm: bool
    batch_size: int
    learning_rate: float
    weight_decay: float
    max_gradient_norm: float
    scale: float
    flip: bool
    colour: float
    min_box_height_px: float

    def __post_init__(self) -> None:
        if self.frozen_batch_norm and self.weights is None:
            raise InputError(
                "frozen_batch_norm: found true without weights, expected weights whose statistics it keeps"
            )
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise InputError(f"classes: found {list(self.classes)}, expected at least one, none of them twice")


def train_detector2d(
    settings: Detector2dTraining,
    dataset: ObjectDataset,
    checkpoint: Path,
    seed: int,
    device: str | None = None,
    overwrite: bool = False,
) -> None:
    """Train a 2D detector and write its checkpoint; resumable, see `training.fit`.

    DontCare regions, Van for cars and Person_sitting for pedestrians are neither right nor wrong in the loss. Labels
    are clipped to the image; those outside of it are skipped and counted in the log.

    Args:
        settings: of the training.
        dataset: the labelled training split.
        checkpoint: the file to write; `Detector2d.from_checkpoint` reads it.
        seed: of initial weights, order and augmentation.
        device: where to train; None: as the settings say.
        overwrite: a checkpoint of another record is replaced.

    Raises:
        FormatError: a missing or broken file, or no object of the classes to train on; a checkpoint or running state
            that was made otherwise, unless `overwrite`.
        InputError: an unknown network or device.
        DivergenceError: the loss is not finite; names the frames.
    """
    require_checkpoint_path(checkpoint)
    inputs = {"data": combined_digest(dataset.digests(("image_2", "label_2")))}
    weights = settings.weights
    if weights is not None and weights != DOWNLOAD:
        weights = file_digest(weights, "weights to start from")
    record = training_record("a 2D detector", settings, inputs, device, weights=weights, seed=seed)
    if is_finished(checkpoint, record, overwrite):
        return
    crops = Crops2d(
        settings.image_height,
        (settings.crop[0], settings.crop[1]),
        settings.scale,
        settings.flip,
        settings.colour,
        settings.min_box_height_px,
    )
    batches = Boxes2dBatches(dataset, settings.classes, settings.batch_size, crops, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = detector_network(settings.network, len(settings.classes), settings.frozen_batch_norm)
    if settings.weights is not None:
        load_pretrained(model, settings.network, settings.weights)
    model.to(memory_format=torch.channels_last)
    fit(
        model,
        batches,
        batch_loss,
        settings.steps,
        torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay),
        one_cycle(settings.learning_rate, settings.steps),
        checkpoint,
        record,
        f"2D detector ({', '.join(settings.classes)})",
        **settings.of_loop(device),
        arguments={"detector2d": recorded_settings(settings)},
        overwrite=overwrite,
        max_gradient_norm=settings.max_gradient_norm,
        seed=seed,
    )


def batch_loss(model: LightFCOS | FasterRCNN, batch: Boxes2dBatch) -> Tensor:
    """The sum of the network's losses on a batch, a scalar, or this process's term of it: see `training.fit`.

    torchvision divides them by the objects in the batch, of several processes by those in its own part of it.
    """
    losses: dict[str, Tensor] = model(list(batch.images), batch.targets(model.first_label))
    images = torch.tensor(len(batch.images), device=batch.images.device)
    return torch.stack(list(losses.values())).sum() * shard_weight(images)
