"""Training batches for stereo matching: crops of a data set's pairs, with their disparity."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudolidar.files import FormatError
from pseudolidar.stereo.augmentation import Crops
from pseudolidar.stereo.pairs import StereoPairs
from pseudolidar.training import WHOLE_BATCH, Batch, BatchShard

# Statistics of ImageNet, RGB in 0..1, by which PSMNet's input is normalised.
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
# Kept disparities are whole numbers of 1/256 px, as in KITTI's PNGs.
_DISPARITY_SCALE = 256


@dataclass(frozen=True)
class StereoBatch(Batch):
    """Crops of B rectified pairs.

    Attributes:
        left, right: (B, 3, H, W) float32, normalised.
        target: (B, H, W) float32 disparity of the left image, px; 0 where unknown.
        camera_constant: (B,) float32, focal length x baseline, px m; NaN where unknown.
    """

    left: Tensor
    right: Tensor
    target: Tensor
    camera_constant: Tensor


class _StoredPair(NamedTuple):
    """A pair, small enough to keep: 8-bit images, 16-bit disparity (256 x), boxes of the objects."""

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

    Every pair is seen once before any is seen again. Pairs stay in memory, up to `cache_gib` GiB; beyond it the oldest
    are read again. Targets are kept to 1/256 px; those beyond `max_depth_m` count as unknown. With it, or if `metric`,
    every pair must know its camera constant.

    Raises:
        FormatError: when a batch is made: a pair can't be read, is smaller than the crop, or lacks a camera constant.
    """

    def __init__(
        self,
        pairs: StereoPairs,
        batch_size: int,
        crops: Crops,
        seed: int,
        max_depth_m: float | None = None,
        metric: bool = False,
        cache_gib: float = 4.0,
    ) -> None:
        self._pairs = pairs
        self._batch_size = batch_size
        self._crops = crops
        self._seed = seed
        self._max_depth_m = max_depth_m
        self._metric = metric or max_depth_m is not None
        self._cache: OrderedDict[int, _StoredPair] = OrderedDict()
        self._cache_bytes = 0
        self._max_cache_bytes = int(cache_gib * 2**30)
        self._lock = threading.Lock()

    def __call__(self, step: int, shard: BatchShard = WHOLE_BATCH) -> StereoBatch:
        """The batch of a step, or a shard of it: every crop has random numbers of its own."""
        places = shard.of(self._batch_size)
        indices = [self._index_at(step * self._batch_size + place) for place in places]
        lefts, rights, targets, constants = [], [], [], []
        for place, index in zip(places, indices, strict=True):
            random = np.random.default_rng([self._seed, step, 0, place])
            stored = self._stored(index)
            rows, columns = self._crops.place(stored.disparity.shape, stored.boxes, random)
            left, right = self._crops.recoloured(stored.left[rows, columns], stored.right[rows, columns], random)
            lefts.append(_standardised(left))
            rights.append(_standardised(right))
            target = stored.disparity[rows, columns].astype(np.float32) / _DISPARITY_SCALE
            if self._max_depth_m is not None:
                target[target < stored.camera_constant / self._max_depth_m] = 0
            targets.append(target)
            constants.append(stored.camera_constant)
        return StereoBatch(
            tuple(self._pairs.names[index] for index in indices),
            torch.from_numpy(np.stack(lefts)),
            torch.from_numpy(np.stack(rights)),
            torch.from_numpy(np.stack(targets)),
            torch.tensor(constants, dtype=torch.float32),
        )

    def _index_at(self, count: int) -> int:
        epoch, place = divmod(count, len(self._pairs.names))
        # The third number keeps the order of an epoch apart from the random choices of a step.
        order = np.random.default_rng([self._seed, epoch, 1]).permutation(len(self._pairs.names))
        return int(order[place])

    def _stored(self, index: int) -> _StoredPair:
        with self._lock:
            if index in self._cache:
                self._cache.move_to_end(index)
                return self._cache[index]
        pair = self._pairs.read(index)
        height, width = pair.disparity.shape
        if height < self._crops.height or width < self._crops.width:
            expected = f"at least the crop's {self._crops.height} x {self._crops.width} px"
            raise FormatError(pair.source, "image size", f"{height} x {width} px", expected)
        if self._metric and pair.camera_constant_px_m is None:
            expected = "focal length and baseline, which the depth loss and max_depth_m need"
            raise FormatError(pair.source, "calibration", "none", expected)
        scaled = np.rint(pair.disparity * np.float32(_DISPARITY_SCALE))
        # Disparities of 256 px and more, which synthetic data has, count as unknown.
        disparity = np.where(scaled < 2**16, scaled, 0).astype(np.uint16)
        constant = np.nan if pair.camera_constant_px_m is None else pair.camera_constant_px_m
        stored = _StoredPair(pair.left, pair.right, disparity, pair.boxes, constant)
        with self._lock:
            self._cache[index] = stored
            self._cache_bytes += stored.size_bytes
            while self._cache_bytes > self._max_cache_bytes and len(self._cache) > 1:
                self._cache_bytes -= self._cache.popitem(last=False)[1].size_bytes
        return stored


def normalised(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """An image (H, W, 3), RGB in 0..255, as the network takes it: (3, H, W) float32.

    ValueError if it is not 8-bit RGB: floats in 0..1 and in 0..255 would both pass, and one of them be wrong.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image: found {image.dtype} {image.shape}, expected uint8 (H, W, 3) RGB")
    return _standardised(image.astype(np.float32))


def _standardised(image: NDArray[np.float32]) -> NDArray[np.float32]:
    scaled = (image / 255 - _MEAN) / _DEVIATION
    return np.ascontiguousarray(scaled.transpose(2, 0, 1), np.float32)
