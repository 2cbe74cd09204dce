"""Where in the coarse matching scores each pixel and disparity lies: trilinear interpolation, axis by axis."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Upsampling(NamedTuple):
    """Trilinear interpolation as `torch.nn.functional.interpolate` does it.

    Attributes:
        inputs, outputs: levels, rows, columns of the scores, and disparities, rows, columns of what they become.
        align_corners: whether the outermost samples lie on each other, rather than the outermost edges.
    """

    inputs: tuple[int, int, int]
    outputs: tuple[int, int, int]
    align_corners: bool


class Interpolation(NamedTuple):
    """Linear interpolation of N samples along an axis: (1 - fraction) * input[lower] + fraction * input[lower + 1].

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
def interpolations(upsampling: Upsampling) -> Grid:
    """The interpolation along each axis, made once for each size."""
    axes = zip(upsampling.inputs, upsampling.outputs, strict=True)
    return Grid(*(_interpolation(*axis, upsampling.align_corners) for axis in axes))


def _interpolation(inputs: int, outputs: int, align_corners: bool) -> Interpolation:
    index = np.arange(outputs)
    if align_corners:
        position = index * ((inputs - 1) / max(outputs - 1, 1))
    else:
        position = np.clip((index + 0.5) * (inputs / outputs) - 0.5, 0, inputs - 1)
    lower = position.astype(np.int64)
    return Interpolation(lower, (position - lower).astype(np.float32))
