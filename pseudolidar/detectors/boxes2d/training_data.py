"""Training batches for 2D detectors: crops of a split's left images, with boxes to find and to ignore."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudolidar.detectors.boxes2d.boxes import clipped_to_image
from pseudolidar.detectors.boxes2d.interface import IMAGE_MEAN, Network, Target
from pseudolidar.detectors.detector import epoch_order
from pseudolidar.files import FormatError, InputError
from pseudolidar.kitti import ObjectDataset
from pseudolidar.training import WHOLE_BATCH, Batch, BatchShard, TrainingSettings

logger = logging.getLogger(__name__)

NEIGHBOURS = {"Van": "Car", "Person_sitting": "Pedestrian"}
"""Labels that are neither right nor wrong for the class they resemble (KITTI's protocol); DontCare is so for all."""

# Fraction of the crops that are centred near an object; the others lie anywhere.
_OBJECT_PROBABILITY = 0.7
# An object of which less lies in the crop is ignored rather than found.
_MIN_VISIBLE_FRACTION = 0.4
# Weights of red, green and blue in the grey of a colour (ITU-R BT.601).
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Boxes2dBatch(Batch):
    """Crops of B images with M boxes, to be found or ignored.

    Attributes:
        images: float32 (B, 3, H, W), RGB in 0..1.
        boxes: float32 (M, 4), left, top, right, bottom, px of the crop.
        classes, image_of_box: int64 (M,), index into the settings' classes (-1 for ignored boxes), and into the images.
        ignored_classes: bool (M, C), the classes for which a box is ignored where it is not to be found.
    """

    images: Tensor
    boxes: Tensor
    classes: Tensor
    ignored_classes: Tensor
    image_of_box: Tensor

    def targets(self, first_label: int) -> list[Target]:
        """The targets of every image as the networks take them; labels count from `first_label`."""
        targets = []
        for image in range(len(self.images)):
            found = (self.image_of_box == image) & (self.classes >= 0)
            ignored = (self.image_of_box == image) & (self.classes < 0)
            targets.append(
                {
                    "boxes": self.boxes[found],
                    "labels": self.classes[found] + first_label,
                    "ignored_boxes": self.boxes[ignored],
                    "ignored_classes": self.ignored_classes[ignored],
                }
            )
        return targets


@dataclass(frozen=True)
class Detector2dTraining(TrainingSettings):
    """Settings of the training of a 2D detector.

    Attributes:
        network: `fcos_resnet18` (for CPUs and small images) or `faster_rcnn_resnet50` (for GPUs).
        image_height: rows that images are resized to, aspect ratio kept, in training and detection.
        crop: height and width of the training crops, px of the resized images; smaller images are filled up with grey.
        weights: to start from: a file, `download` for torchvision's, None for random ones; see `load_pretrained`.
        frozen_batch_norm: see `detector_network`; only with pretrained weights.
        batch_size, learning_rate: crops per step, and peak of the one-cycle schedule (AdamW).
        scale, flip, colour: random changes: of the size by up to the factor 1 + scale, mirrored half of the time, of
            brightness, contrast and saturation by up to this fraction.
        min_box_height_px: lower objects in the crop are ignored.
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


@dataclass(frozen=True, eq=False)
class _Labels:
    """The boxes of one frame (px of the image) as in `Boxes2dBatch`."""

    boxes: NDArray[np.float64]
    class_index: NDArray[np.int64]
    ignored_classes: NDArray[np.bool_]


class Boxes2dBatches:
    """The batch of every step of a training run, which depends on `seed` and the step alone.

    Every frame is seen once before any is seen again. Frames without any object are background, and so are objects of
    classes not in the settings, except `NEIGHBOURS` and DontCare.
    """

    def __init__(self, settings: Detector2dTraining, dataset: ObjectDataset, seed: int) -> None:
        self._settings = settings
        self._dataset = dataset
        self._seed = seed
        self._labels = _read_labels(dataset, settings.classes)

    def __call__(self, step: int, shard: BatchShard = WHOLE_BATCH) -> Boxes2dBatch:
        """The batch of a step, or a shard of it: every crop has its own random numbers."""
        indices, crops = [], []
        for place in shard.of(self._settings.batch_size):
            epoch, turn = divmod(step * self._settings.batch_size + place, len(self._dataset))
            # The last number keeps the order of an epoch apart from the random choices of a step.
            indices.append(int(epoch_order(len(self._dataset), self._seed, epoch, 1)[turn]))
            crops.append(self._crop(indices[-1], np.random.default_rng([self._seed, step, 0, place])))
        labels = [labels for _, labels in crops]
        return Boxes2dBatch(
            tuple(self._dataset.frame_ids[index] for index in indices),
            torch.from_numpy(np.stack([image for image, _ in crops])).permute(0, 3, 1, 2).contiguous(),
            torch.from_numpy(np.concatenate([each.boxes for each in labels])).float(),
            torch.from_numpy(np.concatenate([each.class_index for each in labels])),
            torch.from_numpy(np.concatenate([each.ignored_classes for each in labels])),
            torch.from_numpy(np.repeat(np.arange(len(labels)), [len(each.boxes) for each in labels])),
        )

    def _crop(self, index: int, random: np.random.Generator) -> tuple[NDArray[np.float32], _Labels]:
        image, labels = self._dataset[index].left_image(), self._labels[index]
        crops = self._settings
        reach = np.log1p(crops.scale)
        height = max(1, round(crops.image_height * np.exp(random.uniform(-reach, reach))))
        factor = height / image.shape[0]
        image = resized(image, height)
        boxes = (labels.boxes + 0.5) * factor - 0.5
        if crops.flip and random.random() < 0.5:
            image = image[:, ::-1]
            # The sides change places, and their columns are counted from the other end.
            boxes = boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + np.array([1, 0, 1, 0]) * (image.shape[1] - 1)
        found = labels.class_index >= 0
        top, left = _place(image.shape[:2], crops.crop, boxes[found], labels.class_index[found], random)
        part = _recoloured(image[top : top + crops.crop[0], left : left + crops.crop[1]], crops.colour, random)
        # Grey of the mean colour, which the normalised image has as zero.
        filled = np.empty((*crops.crop, 3), np.float32)
        filled[:] = IMAGE_MEAN
        filled[: part.shape[0], : part.shape[1]] = part
        return filled, _labels_in_crop(labels, boxes - [left, top, left, top], part.shape[:2], crops.min_box_height_px)


def resized(image: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    """An image (H, W, 3) with `height` rows, aspect kept; x moves to (x + 1/2) height / H - 1/2, and so does y."""
    if image.shape[0] == height:
        return image
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    how = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)


def _read_labels(dataset: ObjectDataset, classes: Sequence[str]) -> list[_Labels]:
    labels, clipped, skipped = [], 0, 0
    for frame in dataset:
        objects = frame.objects()
        boxes, inside, changed = clipped_to_image(objects.box2d, frame.image_size())
        clipped += changed
        skipped += int((~inside).sum())
        names = objects.class_name[inside]
        class_index = np.array([classes.index(name) if name in classes else -1 for name in names], np.int64)
        # Those to be found are ignored for their own class where too little of them is in a crop.
        ignored = np.array(
            [[name == "DontCare" or NEIGHBOURS.get(str(name), name) == each for each in classes] for name in names],
            bool,
        ).reshape(len(names), len(classes))
        kept = (class_index >= 0) | ignored.any(axis=1)
        labels.append(_Labels(boxes[inside][kept], class_index[kept], ignored[kept]))
    found = sum(int((each.class_index >= 0).sum()) for each in labels)
    if not found:
        place = f"{', '.join(classes)} objects in {len(dataset)} frames"
        raise FormatError(dataset.root, place, "none to train on", "at least one with a 2D box in the image")
    logger.info("2D boxes to train on: %d in %d frames; clipped to the image: %d; skipped, outside of it: %d",
                found, len(dataset), clipped, skipped)  # fmt: skip
    return labels


def _place(
    image: tuple[int, ...],
    crop: tuple[int, int],
    boxes: NDArray[np.float64],
    classes: NDArray[np.int64],
    random: np.random.Generator,
) -> tuple[int, int]:
    """Top and left of a crop, mostly near an object; its class is drawn evenly, so that rare ones are seen often."""
    room = np.maximum(np.array(image) - crop, 0)
    place = random.random(2)
    if len(boxes) and random.random() < _OBJECT_PROBABILITY:
        one = random.choice(np.flatnonzero(classes == random.choice(np.unique(classes))))
        centre = np.array([boxes[one, 1] + boxes[one, 3], boxes[one, 0] + boxes[one, 2]]) / 2
        # The object's centre falls in the middle half of the crop.
        first = np.clip(np.rint(centre - np.array(crop) * (0.25 + 0.5 * place)), 0, room)
    else:
        first = np.floor(place * (room + 1))
    return int(first[0]), int(first[1])


def _labels_in_crop(
    labels: _Labels, boxes: NDArray[np.float64], size: tuple[int, ...], min_height_px: float
) -> _Labels:
    clipped, inside, _ = clipped_to_image(boxes, (size[0], size[1]))
    area = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1e-9)
    visible = (clipped[:, 2:] - clipped[:, :2]).prod(axis=1) / area
    too_little = (visible < _MIN_VISIBLE_FRACTION) | (clipped[:, 3] - clipped[:, 1] < min_height_px)
    class_index = np.where(too_little, -1, labels.class_index)
    return _Labels(clipped[inside], class_index[inside], labels.ignored_classes[inside])


def _recoloured(image: NDArray[np.uint8], strength: float, random: np.random.Generator) -> NDArray[np.float32]:
    """The image as float32 in 0..1 with random brightness, contrast and saturation."""
    brightness, contrast, saturation = (1 + random.uniform(-strength, strength, 3)).astype(np.float32)
    values = image.astype(np.float32) / np.float32(255)
    mean = values.mean()
    values = (values - mean) * contrast + mean * brightness
    grey = (values @ _LUMA)[..., None]
    return np.asarray((grey + (values - grey) * saturation).clip(0, 1), np.float32)
