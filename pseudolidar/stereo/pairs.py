"""A rectified pair with its disparity, and the interface of all data sets of such pairs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import FormatError, files_digest


@dataclass(frozen=True, eq=False)
class StereoPair:
    """A rectified pair with the disparity of its left image.

    Attributes:
        source: the left image's file; errors name it.
        left, right: uint8 (H, W, 3) RGB.
        disparity: float32 (H, W) px, 0 where unknown.
        camera_constant_px_m: focal length x baseline, px m; None where the data set doesn't say.
        boxes: float64 (N, 4) x1 y1 x2 y2 px, of the cars and pedestrians; empty where there are no labels.

    Raises:
        FormatError: images or a disparity map of other types or sizes, or disparities that are NaN, infinite or
            negative.
    """

    source: Path
    left: NDArray[np.uint8]
    right: NDArray[np.uint8]
    disparity: NDArray[np.float32]
    camera_constant_px_m: float | None
    boxes: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))

    def __post_init__(self) -> None:
        for name, image in (("left image", self.left), ("right image", self.right)):
            # Floats would have to be told apart by their range, 0..1 or 0..255: 8 bits leave no doubt.
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise FormatError(self.source, name, f"{image.dtype} {image.shape}", "uint8 (H, W, 3) RGB")
        for name, array in (("right image", self.right), ("disparity", self.disparity)):
            if array.shape[:2] != self.left.shape[:2]:
                expected = f"{_size(self.left)}, the size of the left image"
                raise FormatError(self.source, name, _size(array), expected)
        bad = ~np.isfinite(self.disparity) | (self.disparity < 0)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            place = f"disparity, row {row}, column {column} ({int(bad.sum())} such pixels)"
            raise FormatError(self.source, place, self.disparity[row, column], "a finite disparity, 0 where unknown")


class StereoPairs(Protocol):
    """A data set of rectified pairs."""

    @property
    def names(self) -> Sequence[str]:
        """A name for each pair, each once."""
        ...

    def read(self, index: int) -> StereoPair:
        """The pair of a place in `names`, read anew; called from a thread of its own."""
        ...

    def files(self, index: int) -> Sequence[Path]:
        """The files that `read` reads, those that may be missing too."""
        ...


def digests_of(pairs: StereoPairs) -> dict[str, str]:
    """Digests of the pairs' files by the pair's name, see `files.files_digest`."""
    return {name: files_digest(pairs.files(index)) for index, name in enumerate(pairs.names)}


def _size(array: NDArray[np.generic]) -> str:
    return f"{array.shape[1]} x {array.shape[0]} px" if array.ndim >= 2 else f"shape {array.shape}"
