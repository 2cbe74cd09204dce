"""Training batches for stereo matching: crops of a data set's pairs, with their disparity."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudolidar.kitti import FormatError, Frame, ObjectDataset
from pseudolidar.stereo.targets import lidar_disparity

# Statistics of ImageNet, RGB in 0..1, by which PSMNet's input is normalised.
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
_OBJECT_CLASSES = ("Car", "Pedestrian")


@dataclass(frozen=True)
class StereoBatch:
    """Crops of B rectified pairs.

    Attributes:
        frame_ids: the frames.
        left, right: (B, 3, H, W) float32, normalised.
        target: (B, H, W) float32 disparity of the left image, px; 0 where unknown.
        camera_constant: (B,) float32, focal length x baseline, px m.
    """

    frame_ids: tuple[str, ...]
    left: Tensor
    right: Tensor
    target: Tensor
    camera_constant: Tensor


@dataclass(frozen=True)
class Crops:
    """How training crops are cut and coloured.

    Attributes:
        height, width: of a crop, px.
        object_probability: share of the crops that are centred near an object, a car or a pedestrian.
        jitter: strength of the photometric changes: brightness and contrast vary by up to this share in both images
            alike, and by a quarter of it between them; 0 for none.
    """

    height: int
    width: int
    object_probability: float = 0.7
    jitter: float = 0.2


@dataclass(frozen=True, eq=False)
class _StoredFrame:
    """What a crop is cut from, small enough to keep: 8-bit images, 16-bit disparity (256 x), boxes of the objects."""

    left: NDArray[np.uint8]
    right: NDArray[np.uint8]
    disparity: NDArray[np.uint16]
    boxes: NDArray[np.float64]
    camera_constant: float

    @property
    def size_bytes(self) -> int:
        return self.left.nbytes + self.right.nbytes + self.disparity.nbytes


class StereoBatches:
    """The batch of every step of a training run; called with a step, it depends on `seed` and the step alone.

    Every frame is seen once before any is seen again. Frames are kept in memory as they are first used, up to
    `cache_gib`; beyond it the oldest are read again.

    Args:
        dataset: with right images, and exact disparity or LiDAR.
        batch_size: pairs in a batch.
        crops: size and look of the crops.
        seed: of every random choice.
        max_depth_m: targets farther away count as unknown; None keeps all.
        cache_gib: memory for frames, GiB.
    """

    def __init__(
        self,
        dataset: ObjectDataset,
        batch_size: int,
        crops: Crops,
        seed: int,
        max_depth_m: float | None = None,
        cache_gib: float = 4.0,
    ) -> None:
        if not len(dataset):
            raise FormatError(dataset.root, f"split {dataset.split}", "no frames", "frames to train on")
        self._dataset = dataset
        self._batch_size = batch_size
        self._crops = crops
        self._seed = seed
        self._max_depth_m = np.inf if max_depth_m is None else max_depth_m
        self._cache: OrderedDict[str, _StoredFrame] = OrderedDict()
        self._cache_bytes = 0
        self._max_cache_bytes = int(cache_gib * 2**30)
        self._lock = threading.Lock()

    def __call__(self, step: int) -> StereoBatch:
        """The batch of a step."""
        frames = [self._frame_at(step * self._batch_size + index) for index in range(self._batch_size)]
        random = np.random.default_rng([self._seed, step])
        lefts, rights, targets, constants = [], [], [], []
        for frame in frames:
            stored = self._stored(frame)
            rows, columns = self._place_crop(stored, random)
            left, right = _jitter(stored.left[rows, columns], stored.right[rows, columns], self._crops.jitter, random)
            lefts.append(left)
            rights.append(right)
            target = stored.disparity[rows, columns].astype(np.float32) / 256
            target[target < stored.camera_constant / self._max_depth_m] = 0
            targets.append(target)
            constants.append(stored.camera_constant)
        return StereoBatch(
            tuple(frame.frame_id for frame in frames),
            torch.from_numpy(np.stack(lefts)),
            torch.from_numpy(np.stack(rights)),
            torch.from_numpy(np.stack(targets)),
            torch.tensor(constants, dtype=torch.float32),
        )

    def _frame_at(self, index: int) -> Frame:
        epoch, place = divmod(index, len(self._dataset))
        # The second seed keeps the order of an epoch apart from the random choices of a step.
        order = np.random.default_rng([self._seed, epoch, 1]).permutation(len(self._dataset))
        return self._dataset[int(order[place])]

    def _stored(self, frame: Frame) -> _StoredFrame:
        with self._lock:
            if frame.frame_id in self._cache:
                self._cache.move_to_end(frame.frame_id)
                return self._cache[frame.frame_id]
        stored = _read(frame)
        height, width = stored.disparity.shape
        if height < self._crops.height or width < self._crops.width:
            expected = f"at least the crop's {self._crops.height} x {self._crops.width} px"
            raise FormatError(frame.path("image_2"), "image size", f"{height} x {width} px", expected)
        with self._lock:
            self._cache[frame.frame_id] = stored
            self._cache_bytes += stored.size_bytes
            while self._cache_bytes > self._max_cache_bytes and len(self._cache) > 1:
                self._cache_bytes -= self._cache.popitem(last=False)[1].size_bytes
        return stored

    def _place_crop(self, stored: _StoredFrame, random: np.random.Generator) -> tuple[slice, slice]:
        height, width = stored.disparity.shape
        crop = np.array([self._crops.height, self._crops.width])
        room = np.array([height, width]) - crop
        place = random.random(2)
        if len(stored.boxes) and random.random() < self._crops.object_probability:
            x1, y1, x2, y2 = stored.boxes[random.integers(len(stored.boxes))]
            centre = np.array([y1 + y2, x1 + x2]) / 2
            # The object's centre falls in the middle half of the crop.
            first = np.clip(np.rint(centre - crop * (0.25 + 0.5 * place)), 0, room).astype(int)
        else:
            first = np.floor(place * (room + 1)).astype(int)
        return slice(first[0], first[0] + crop[0]), slice(first[1], first[1] + crop[1])


def normalised(image: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
    """An image (H, W, 3), RGB in 0..255, as the network takes it: (3, H, W) float32."""
    scaled = (image.astype(np.float32) / 255 - _MEAN) / _DEVIATION
    return np.ascontiguousarray(scaled.transpose(2, 0, 1), np.float32)


def target_disparity(frame: Frame) -> NDArray[np.float32]:
    """The frame's exact disparity where it has one, otherwise the LiDAR's in the left image; (H, W) px, 0 unknown."""
    if frame.has_exact_disparity():
        return frame.disparity()
    height, width = frame.left_image().shape[:2]
    return lidar_disparity(frame.velodyne(), frame.calibration, (height, width))


def _read(frame: Frame) -> _StoredFrame:
    left, right = frame.stereo_pair()
    disparity = target_disparity(frame)
    if disparity.shape != left.shape[:2]:
        expected = f"{left.shape[1]} x {left.shape[0]} px, the size of the left image"
        raise FormatError(frame.path("disparity"), "size", f"{disparity.shape[1]} x {disparity.shape[0]} px", expected)
    boxes = np.zeros((0, 4))
    if frame.path("label_2").is_file():
        objects = frame.objects()
        boxes = objects.box2d[np.isin(objects.class_name, _OBJECT_CLASSES)]
    rounded = np.rint(disparity * 256).clip(0, 65535).astype(np.uint16)
    return _StoredFrame(left, right, rounded, boxes, frame.calibration.camera_constant_px_m)


def _jitter(
    left: NDArray[np.uint8], right: NDArray[np.uint8], strength: float, random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both images normalised, with brightness and contrast changed in both alike and a little between them."""
    shared = random.uniform(-strength, strength, 2)
    images = []
    for image in (left, right):
        brightness, contrast = shared + random.uniform(-strength, strength, 2) / 4
        values = image.astype(np.float32)
        mean = values.mean()
        images.append(normalised((values - mean) * np.float32(1 + contrast) + mean * np.float32(1 + brightness)))
    return images[0], images[1]
