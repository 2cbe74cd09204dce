"""Augmentation of training pairs: where a crop is cut, and how large; changed colours, blur, noise, an erased patch.

What is random is drawn where batches are made; colours are changed where the network is: images go there as bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pseudolidar.files import InputError

# Sides of an erased patch, as fractions of the crop's.
_PATCH_FRACTION = (0.1, 0.3)
# Weights of red, green and blue in the grey of a colour (ITU-R BT.601).
_LUMA = (0.299, 0.587, 0.114)


class Looks(NamedTuple):
    """How the images of a pair, first the left one, are to be changed: see `recoloured`.

    Attributes:
        tone: float32 (2, 3): mean of the image, factor of what differs from it, new mean.
        tint: float32 (2, 2): factor of the saturation, exponent of the brightness; None for no change.
        patch: top, left, height, width of what is erased in the right image, px; None for nothing.
        blur: the image that is blurred, 0 or 1, and the weight, see `blur_image`; None for neither.
        noise: a seed, and the standard deviation of each image's noise, see `add_noise`; None for none.
    """

    tone: NDArray[np.float32]
    tint: NDArray[np.float32] | None
    patch: tuple[int, int, int, int] | None
    blur: tuple[int, float] | None
    noise: tuple[int, float, float] | None


@dataclass(frozen=True)
class Crops:
    """How training crops of `height` x `width` px are cut and coloured.

    Attributes:
        object_probability: fraction of the crops that are centred near a car or a pedestrian.
        jitter: brightness and contrast vary by up to this fraction in both images alike, and by a quarter of it between
            them; 0 for none.
        colour: the same for saturation and gamma.
        erasing: fraction of the crops whose right image has a patch of its own mean colour, as if something stood
            before it (Yang et al., Hierarchical Deep Stereo Matching on High-Resolution Images, CVPR 2019, section
            3.3).
        blur: one image of every crop, either, is less sharp by a random weight up to this, see `blur_image`.
        noise: the most of the standard deviation of each image's own Gaussian noise, in counts of 0..255.
        scale: smallest and largest random factor of a crop's size, as a camera of another focal length would see it:
            what is cut is the crop's size / scale, see `image_of` and `disparity_of`.
    """

    height: int
    width: int
    object_probability: float = 0.7
    jitter: float = 0.2
    colour: float = 0.0
    erasing: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        for name in ("object_probability", "jitter", "colour", "erasing", "blur", "noise"):
            most = 255 if name == "noise" else 1
            if not 0 <= getattr(self, name) <= most:
                raise InputError(f"{name}: found {getattr(self, name)}, expected a number from 0 to {most}")
        if not 0 < self.scale[0] <= self.scale[1] < np.inf:
            raise InputError(f"scale: found {list(self.scale)}, expected two numbers above 0, the smaller one first")

    def smallest_scale(self, size: tuple[int, int]) -> float:
        """The scale at which what is cut just fits an image of `size` (height, width) px."""
        return max(self.height / size[0], self.width / size[1])

    def place(
        self, size: tuple[int, int], boxes: NDArray[np.float64], random: np.random.Generator
    ) -> tuple[slice, slice]:
        """Rows and columns to cut from an image of `size` (height, width) px with objects in `boxes` (N, 4) px.

        Their number is the crop's / a random scale, which is limited so that they fit.
        """
        smallest, largest = self.scale
        # Nothing is drawn for what is off, so that a run without it stays the same run.
        scale = largest if smallest == largest else random.uniform(max(smallest, self.smallest_scale(size)), largest)
        crop = np.minimum(np.rint(np.array([self.height, self.width]) / scale).astype(int), size)
        room = np.array(size) - crop
        place = random.random(2)
        if len(boxes) and random.random() < self.object_probability:
            x1, y1, x2, y2 = boxes[random.integers(len(boxes))]
            centre = np.array([y1 + y2, x1 + x2]) / 2
            # The object's centre falls in the middle half of the crop.
            first = np.clip(np.rint(centre - crop * (0.25 + 0.5 * place)), 0, room).astype(int)
        else:
            first = np.floor(place * (room + 1)).astype(int)
        return slice(first[0], first[0] + crop[0]), slice(first[1], first[1] + crop[1])

    def scale_of(self, columns: slice) -> float:
        """The factor of disparities, and of the focal length, where these columns were cut."""
        return self.width / (columns.stop - columns.start)

    def image_of(self, cut: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What was cut from an image, (H, W, 3), in the crop's size."""
        shrinks = cut.shape[1] > self.width
        resized = cv2.resize(
            cut, (self.width, self.height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )
        return np.asarray(resized, np.uint8)

    def disparity_of(self, cut: NDArray[np.float32]) -> NDArray[np.float32]:
        """What was cut from a disparity map, (H, W) px, in the crop's size and its pixels; no value is a mixture."""
        # Of the pixels of what was cut, those that hold the centres of the crop's.
        rows, columns = (
            (2 * np.arange(wanted) + 1) * found // (2 * wanted)
            for wanted, found in zip((self.height, self.width), cut.shape, strict=True)
        )
        return cut[np.ix_(rows, columns)] * np.float32(self.width / cut.shape[1])

    def looks(self, left: NDArray[np.uint8], right: NDArray[np.uint8], random: np.random.Generator) -> Looks:
        """Random looks for both images of a crop, uint8 (H, W, 3) RGB."""
        shared = random.uniform(-self.jitter, self.jitter, 2)
        tone = []
        for image in (left, right):
            brightness, contrast = shared + random.uniform(-self.jitter, self.jitter, 2) / 4
            mean = image.astype(np.float32).mean()
            tone.append((mean, np.float32(1 + contrast), mean * np.float32(1 + brightness)))
        tint = None
        if self.colour:
            shared = random.uniform(-self.colour, self.colour, 2)
            tint = np.array(
                [1 + shared + random.uniform(-self.colour, self.colour, 2) / 4 for _ in range(2)], np.float32
            )
        is_erased = self.erasing and random.random() < self.erasing
        patch = self._patch(random) if is_erased else None
        blur = (int(random.integers(2)), random.uniform(0, self.blur)) if self.blur else None
        noise = None
        if self.noise:
            noise = int(random.integers(2**31)), random.uniform(0, self.noise), random.uniform(0, self.noise)
        return Looks(np.array(tone, np.float32), tint, patch, blur, noise)

    def _patch(self, random: np.random.Generator) -> tuple[int, int, int, int]:
        size = np.array([self.height, self.width])
        patch = np.maximum(1, np.rint(size * random.uniform(*_PATCH_FRACTION, 2))).astype(int)
        top, left = random.integers(0, size - patch + 1)
        return int(top), int(left), int(patch[0]), int(patch[1])


def recoloured(images: Tensor, tone: Tensor, tint: Tensor | None) -> Tensor:
    """Images uint8 (B, 3, H, W) RGB with changed looks: float32, 0..255 and a little beyond.

    `tone` (B, 3) and `tint` (B, 2) as in `Looks`. Without `tint` every device gives the same bits.
    """
    mean, contrast, brightness = tone[:, :, None, None, None].unbind(dim=1)
    values = images.float().sub_(mean).mul_(contrast).add_(brightness)
    if tint is None:
        return values
    saturation, exponent = tint[:, :, None, None, None].unbind(dim=1)
    # Not by a matrix product, which autocast would round.
    grey = sum(values[:, channel, None] * weight for channel, weight in enumerate(_LUMA))
    return values.sub_(grey).mul_(saturation).add_(grey).clamp_(0, 255).div_(255).pow_(exponent).mul_(255)


def erase_patch(image: Tensor, patch: tuple[int, int, int, int]) -> None:
    """Give a patch (`Looks`) of an image, float (3, H, W), the image's mean colour, in place."""
    top, left, height, width = patch
    image[:, top : top + height, left : left + width] = image.mean(dim=(1, 2), keepdim=True)


def blur_image(image: Tensor, weight: float) -> None:
    """Mix an image, float32 (3, H, W), with `weight` in 0..1 of itself blurred by [1 2 1] / 4 both ways, in place."""
    # Means of two by two, twice: a convolution would be rounded by autocast.
    padded = F.pad(image[None], (1, 1, 1, 1), mode="replicate")
    image.lerp_(F.avg_pool2d(F.avg_pool2d(padded, 2, stride=1), 2, stride=1)[0], weight)


def add_noise(images: Sequence[Tensor], noise: tuple[int, float, float]) -> None:
    """Add noise (`Looks`) to the images of a pair, float32 (3, H, W), in place; each kind of device has its own."""
    seed, *deviations = noise
    generator = torch.Generator(images[0].device).manual_seed(seed)
    for image, deviation in zip(images, deviations, strict=True):
        image.add_(torch.randn(image.shape, generator=generator, device=image.device), alpha=deviation)
