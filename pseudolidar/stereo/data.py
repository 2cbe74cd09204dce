"""Training batches for stereo matching: crops of a data set's pairs, with their disparity."""

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudolidar.files import FormatError, InputError
from pseudolidar.stereo.augmentation import Crops, Looks, add_noise, blur_image, erase_patch, recoloured
from pseudolidar.stereo.pairs import StereoPair, StereoPairs
from pseudolidar.training import WHOLE_BATCH, Batch, BatchShard

# Statistics of ImageNet, RGB in 0..1, by which PSMNet's input is normalised.
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
# Targets are whole numbers of 1/256 px, as in KITTI's PNGs, and below 2^16 of them.
_DISPARITY_SCALE = 256


@dataclass(frozen=True)
class StereoBatch(Batch):
    """Crops of B rectified pairs, small on their way to the network's device: `images` gives what the network takes.

    Attributes:
        left, right: uint8 (B, H, W, 3) RGB.
        tone, tint, patches, blurs, noises: their looks, float32 (B, 2, 3), (B, 2, 2) and B of each, see `Looks`.
        target: (B, H, W) float32 disparity of the left image, px; 0 where unknown.
        camera_constant: (B,) float32, focal length x baseline, px m, of the crop as it is scaled; NaN where unknown.
    """

    left: Tensor
    right: Tensor
    tone: Tensor
    tint: Tensor | None
    patches: tuple[tuple[int, int, int, int] | None, ...]
    blurs: tuple[tuple[int, float] | None, ...]
    noises: tuple[tuple[int, float, float] | None, ...]
    target: Tensor
    camera_constant: Tensor

    def images(self) -> tuple[Tensor, Tensor]:
        """Left and right images with their looks, normalised: float32 (B, 3, H, W), computed anew on their device."""
        sides = []
        for side, pixels in enumerate((self.left, self.right)):
            tint = None if self.tint is None else self.tint[:, side]
            sides.append(recoloured(pixels.permute(0, 3, 1, 2).contiguous(), self.tone[:, side], tint))
        for *pair, patch, blur, noise in zip(*sides, self.patches, self.blurs, self.noises, strict=True):
            if blur is not None:
                blur_image(pair[blur[0]], blur[1])
            if noise is not None:
                add_noise(pair, noise)
            if patch is not None:
                erase_patch(pair[1], patch)
        # Divided by a tensor: by a number, a GPU would multiply with its reciprocal and round otherwise.
        largest, mean, deviation = _statistics(self.left.device)
        left, right = (image.div_(largest).sub_(mean).div_(deviation) for image in sides)
        return left, right


@functools.cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The largest value of a pixel, mean and deviation (3, 1, 1); a copy for each batch would wait for a GPU's work."""
    mean, deviation = (torch.from_numpy(value)[:, None, None].to(device) for value in (_MEAN, _DEVIATION))
    return torch.tensor(255.0, device=device), mean, deviation


class StereoBatches:
    """The batch of every step of a training run; called with a step, it depends on `seed` and the step alone.

    Every pair is seen once before any is seen again, and read anew. Targets are rounded to 1/256 px; those of 256 px
    and more, which synthetic data has, and those beyond `max_depth_m` count as unknown. With it, or if `metric`, every
    pair must know its camera constant.

    Raises:
        InputError: there are no pairs.
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
    ) -> None:
        if not len(pairs.names):
            raise InputError(f"pairs: found none in {type(pairs).__name__}, expected at least one")
        self._pairs = pairs
        self._batch_size = batch_size
        self._crops = crops
        self._seed = seed
        self._max_depth_m = max_depth_m
        self._metric = metric or max_depth_m is not None

    def __call__(self, step: int, shard: BatchShard = WHOLE_BATCH) -> StereoBatch:
        """The batch of a step, or a shard of it: every crop has random numbers of its own."""
        places = shard.of(self._batch_size)
        indices = [self._index_at(step * self._batch_size + place) for place in places]
        size = len(places), self._crops.height, self._crops.width
        left, right = np.empty((2, *size, 3), np.uint8)
        target = np.empty(size, np.float32)
        looks: list[Looks] = []
        constants = []
        for row, (place, index) in enumerate(zip(places, indices, strict=True)):
            random = np.random.default_rng([self._seed, step, 0, place])
            pair = self._read(index)
            crop = self._crops.place(pair.disparity.shape, pair.boxes, random)
            left[row], right[row] = self._crops.image_of(pair.left[crop]), self._crops.image_of(pair.right[crop])
            constant = np.nan if pair.camera_constant_px_m is None else pair.camera_constant_px_m
            constants.append(constant * self._crops.scale_of(crop[1]))
            target[row] = self._target(self._crops.disparity_of(pair.disparity[crop]), constants[-1])
            looks.append(self._crops.looks(left[row], right[row], random))
        tint = [look.tint for look in looks if look.tint is not None]
        return StereoBatch(
            tuple(self._pairs.names[index] for index in indices),
            torch.from_numpy(left),
            torch.from_numpy(right),
            torch.from_numpy(np.stack([look.tone for look in looks])),
            torch.from_numpy(np.stack(tint)) if tint else None,
            tuple(look.patch for look in looks),
            tuple(look.blur for look in looks),
            tuple(look.noise for look in looks),
            torch.from_numpy(target),
            torch.tensor(constants, dtype=torch.float32),
        )

    def _index_at(self, count: int) -> int:
        epoch, place = divmod(count, len(self._pairs.names))
        # The third number keeps the order of an epoch apart from the random choices of a step.
        order = np.random.default_rng([self._seed, epoch, 1]).permutation(len(self._pairs.names))
        return int(order[place])

    def _read(self, index: int) -> StereoPair:
        pair = self._pairs.read(index)
        height, width = pair.disparity.shape
        largest = self._crops.scale[1]
        if self._crops.smallest_scale((height, width)) > largest:
            expected = f"at least the crop's {self._crops.height} x {self._crops.width} px"
            if largest != 1:
                expected += f" / {largest}, the largest scale"
            raise FormatError(pair.source, "image size", f"{height} x {width} px", expected)
        if self._metric and pair.camera_constant_px_m is None:
            expected = "focal length and baseline, which the depth loss and max_depth_m need"
            raise FormatError(pair.source, "calibration", "none", expected)
        return pair

    def _target(self, disparity: NDArray[np.float32], camera_constant_px_m: float) -> NDArray[np.float32]:
        target: NDArray[np.float32] = np.rint(disparity * np.float32(_DISPARITY_SCALE))
        target[target >= 2**16] = 0
        target /= _DISPARITY_SCALE
        if self._max_depth_m is not None:
            target[target < camera_constant_px_m / self._max_depth_m] = 0
        return target


def normalised(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """An image (H, W, 3), RGB in 0..255, as the network takes it: (3, H, W) float32.

    ValueError if it is not 8-bit RGB: floats in 0..1 and in 0..255 would both pass, and one of them be wrong.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image: found {image.dtype} {image.shape}, expected uint8 (H, W, 3) RGB")
    scaled = (image.astype(np.float32) / 255 - _MEAN) / _DEVIATION
    return np.ascontiguousarray(scaled.transpose(2, 0, 1), np.float32)
