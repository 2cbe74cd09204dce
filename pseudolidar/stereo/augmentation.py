"""Augmentation of training pairs: where a crop is cut, changed colours, an erased patch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import InputError

# Sides of an erased patch, as fractions of the crop's.
_PATCH_FRACTION = (0.1, 0.3)
# Weights of red, green and blue in the grey of a colour (ITU-R BT.601).
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


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
    """

    height: int
    width: int
    object_probability: float = 0.7
    jitter: float = 0.2
    colour: float = 0.0
    erasing: float = 0.0

    def __post_init__(self) -> None:
        for name in ("object_probability", "jitter", "colour", "erasing"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: found {getattr(self, name)}, expected a number from 0 to 1")

    def place(
        self, size: tuple[int, int], boxes: NDArray[np.float64], random: np.random.Generator
    ) -> tuple[slice, slice]:
        """Rows and columns of a crop of an image of `size` (height, width) px with objects in `boxes` (N, 4) px."""
        crop = np.array([self.height, self.width])
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

    def recoloured(
        self, left: NDArray[np.uint8], right: NDArray[np.uint8], random: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Both images of a crop, uint8 (H, W, 3) RGB, with changed looks: float32, 0..255 and a little beyond."""
        shared = random.uniform(-self.jitter, self.jitter, 2)
        images = []
        for image in (left, right):
            brightness, contrast = shared + random.uniform(-self.jitter, self.jitter, 2) / 4
            values = image.astype(np.float32)
            mean = values.mean()
            images.append((values - mean) * np.float32(1 + contrast) + mean * np.float32(1 + brightness))
        # Nothing is drawn for what is off, so that a run without it stays the same run.
        if self.colour:
            shared = random.uniform(-self.colour, self.colour, 2)
            images = [_tinted(image, *(shared + random.uniform(-self.colour, self.colour, 2) / 4)) for image in images]
        if self.erasing and random.random() < self.erasing:
            _erase_patch(images[1], random)
        return images[0], images[1]


def _tinted(image: NDArray[np.float32], saturation: float, gamma: float) -> NDArray[np.float32]:
    grey = (image @ _LUMA)[..., None]
    coloured = grey + (image - grey) * np.float32(1 + saturation)
    return np.asarray((coloured.clip(0, 255) / 255) ** (1 + gamma) * 255, np.float32)


def _erase_patch(image: NDArray[np.float32], random: np.random.Generator) -> None:
    size = np.array(image.shape[:2])
    patch = np.maximum(1, np.rint(size * random.uniform(*_PATCH_FRACTION, 2))).astype(int)
    top, left = random.integers(0, size - patch + 1)
    image[top : top + patch[0], left : left + patch[1]] = image.mean(axis=(0, 1))
