"""Where in the coarse matching scores each pixel and disparity lies: trilinear interpolation, axis by axis."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Interpolation(NamedTuple):
    """Linear interpolation of N samples from fewer: (1 - fraction) * input[lower] + fraction * input[lower + 1].

    Attributes:
        lower: (N,) int64, ascending; its upper neighbour may lie beyond the end, then the last input is meant.
        fraction: (N,) float32, the weight of the upper neighbour.
    """

    lower: NDArray[np.int64]
    fraction: NDArray[np.float32]


class Grid(NamedTuple):
    """How disparities (D), rows (H) and columns (W) lie among the levels, rows and columns of coarse scores."""

    levels: Interpolation
    rows: Interpolation
    columns: Interpolation


@lru_cache(maxsize=64)
def upsampling(inputs: Sequence[int], outputs: Sequence[int], align_corners: bool) -> Grid:
    """The interpolation of scores of shape `inputs` (levels, rows, columns), a tuple, to `outputs`, likewise.

    As `torch.nn.functional.interpolate` does it; made once for each size.
    """
    return Grid(*(_interpolation(*axis, align_corners) for axis in zip(inputs, outputs, strict=True)))


def _interpolation(inputs: int, outputs: int, align_corners: bool) -> Interpolation:
    index = np.arange(outputs)
    if align_corners:
        position = index * ((inputs - 1) / max(outputs - 1, 1))
    else:
        position = np.clip((index + 0.5) * (inputs / outputs) - 0.5, 0, inputs - 1)
    lower = position.astype(np.int64)
    return Interpolation(lower, (position - lower).astype(np.float32))
