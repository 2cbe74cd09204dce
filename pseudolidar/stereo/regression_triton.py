"""The regression of disparity and its gradient on a GPU: a Triton program for each block of a row's pixels.

The arithmetic is that of `regression_cpu`; scores at full resolution never reach the card's memory.
"""

from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from pseudolidar.stereo.upsampling import Interpolation, Upsampling, interpolations

# Pixels of a program: one for each of its threads.
_PIXELS = 128
_LOG2_E = tl.constexpr(1.4426950408889634)


class _Tables(NamedTuple):
    """The interpolations of an `Upsampling` in the card's memory.

    Attributes:
        first: (levels + 1,) int32: level k is the lower neighbour of disparities first[k] to first[k + 1] - 1.
        parts: (D,) float32, the weight of the upper neighbour.
        rows, row_parts: (H,) int32, the lower neighbour, and (H,) float32.
        columns, column_parts: (W,) likewise.
    """

    first: Tensor
    parts: Tensor
    rows: Tensor
    row_parts: Tensor
    columns: Tensor
    column_parts: Tensor


def regress(upsampling: Upsampling, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As `regression_cpu.regress`, of scores on a GPU."""
    outputs = torch.empty((3, len(scores), *upsampling.outputs[1:]), dtype=torch.float32, device=scores.device)
    disparity, highest, total = outputs
    with torch.cuda.device_of(scores):
        _regress[_programs(disparity)](
            scores.contiguous(), disparity, highest, total, *_tables(upsampling, scores.device), *upsampling.inputs,
            *upsampling.outputs[1:], PIXELS=_PIXELS,
        )  # fmt: skip
    return disparity, highest, total


def scores_gradient(
    upsampling: Upsampling, scores: Tensor, disparity: Tensor, highest: Tensor, total: Tensor, gradient: Tensor
) -> Tensor:
    """As `regression_cpu.scores_gradient`, on a GPU.

    A kernel sums over the disparities of each pixel; columns and rows are then two matrix products, so that nothing is
    added in an order that changes.
    """
    of_levels = scores.new_empty(len(scores), upsampling.inputs[0], *upsampling.outputs[1:])
    with torch.cuda.device_of(scores):
        _levels_gradient[_programs(disparity)](
            scores.contiguous(), disparity, highest, total, gradient.contiguous(), of_levels,
            *_tables(upsampling, scores.device), *upsampling.inputs, *upsampling.outputs[1:], PIXELS=_PIXELS,
        )  # fmt: skip
    rows, columns = _matrices(upsampling, scores.device)
    with torch.autocast(scores.device.type, enabled=False):
        return rows.T @ (of_levels @ columns)


def _programs(disparity: Tensor) -> tuple[int, int, int]:
    batch, height, width = disparity.shape
    return triton.cdiv(width, _PIXELS), height, batch


# Never forgotten: recorded kernels go on reading them where they are.
@cache
def _tables(upsampling: Upsampling, device: torch.device) -> _Tables:
    levels, rows, columns = interpolations(upsampling)
    first = np.searchsorted(levels.lower, np.arange(upsampling.inputs[0] + 1)).astype(np.int32)
    of_pixels = (array for axis in (rows, columns) for array in (axis.lower.astype(np.int32), axis.fraction))
    return _Tables(*(torch.from_numpy(array).to(device) for array in (first, levels.fraction, *of_pixels)))


@lru_cache(maxsize=64)
def _matrices(upsampling: Upsampling, device: torch.device) -> tuple[Tensor, Tensor]:
    """The interpolation of rows (H, H/4) and of columns (W, W/4) as matrices."""
    _, rows, columns = interpolations(upsampling)
    _, height, width = upsampling.inputs
    return _matrix(rows, height).to(device), _matrix(columns, width).to(device)


def _matrix(interpolation: Interpolation, inputs: int) -> Tensor:
    lower, fraction = interpolation
    matrix, outputs = np.zeros((len(lower), inputs), np.float32), np.arange(len(lower))
    matrix[outputs, lower] = 1 - fraction
    matrix[outputs, np.minimum(lower + 1, inputs - 1)] += fraction
    return torch.from_numpy(matrix)


@triton.jit
def _regress(  # type: ignore[no-untyped-def]
    scores, disparity, highest, total, first, parts, rows, row_parts, columns, column_parts,
    levels, height, width, full_height, full_width, PIXELS: tl.constexpr,
):  # fmt: skip
    inside, pixel, corners, row_part, column_part = _place(
        rows, row_parts, columns, column_parts, height, width, full_height, full_width, PIXELS
    )
    image = scores + tl.program_id(2).to(tl.int64) * levels * height * width
    area = height * width

    best = tl.full((PIXELS,), float("-inf"), tl.float32)
    following = _level(image, corners, width, row_part, column_part, inside)
    for level in range(levels):
        here = following
        upper = tl.minimum(level + 1, levels - 1)
        following = _level(image + upper * area, corners, width, row_part, column_part, inside)
        for d in range(tl.load(first + level), tl.load(first + level + 1)):
            best = tl.maximum(best, here + tl.load(parts + d) * (following - here))

    weights = tl.zeros((PIXELS,), tl.float32)
    moment = tl.zeros((PIXELS,), tl.float32)
    following = _level(image, corners, width, row_part, column_part, inside)
    for level in range(levels):
        here = following
        upper = tl.minimum(level + 1, levels - 1)
        following = _level(image + upper * area, corners, width, row_part, column_part, inside)
        for d in range(tl.load(first + level), tl.load(first + level + 1)):
            weight = tl.exp2(here + tl.load(parts + d) * (following - here) - best)
            weights += weight
            moment += d * weight
    tl.store(disparity + pixel, moment / weights, mask=inside)
    tl.store(highest + pixel, best, mask=inside)
    tl.store(total + pixel, weights, mask=inside)


@triton.jit
def _levels_gradient(  # type: ignore[no-untyped-def]
    scores, disparity, highest, total, gradient, of_levels, first, parts, rows, row_parts, columns, column_parts,
    levels, height, width, full_height, full_width, PIXELS: tl.constexpr,
):  # fmt: skip
    inside, pixel, corners, row_part, column_part = _place(
        rows, row_parts, columns, column_parts, height, width, full_height, full_width, PIXELS
    )
    image = scores + tl.program_id(2).to(tl.int64) * levels * height * width
    area = height * width
    full_area = full_height * full_width
    # Of level 0.
    output = of_levels + tl.program_id(2).to(tl.int64) * (levels - 1) * full_area + pixel

    expected = tl.load(disparity + pixel, mask=inside, other=0.0)
    best = tl.load(highest + pixel, mask=inside, other=0.0)
    scale = tl.load(gradient + pixel, mask=inside, other=0.0) / tl.load(total + pixel, mask=inside, other=1.0)
    of_following = tl.zeros((PIXELS,), tl.float32)
    following = _level(image, corners, width, row_part, column_part, inside)
    for level in range(levels):
        here, of_here = following, of_following
        upper = tl.minimum(level + 1, levels - 1)
        following = _level(image + upper * area, corners, width, row_part, column_part, inside)
        of_following = tl.zeros((PIXELS,), tl.float32)
        for d in range(tl.load(first + level), tl.load(first + level + 1)):
            part = tl.load(parts + d)
            of_score = tl.exp2(here + part * (following - here) - best) * (d - expected) * scale
            of_here += (1 - part) * of_score
            of_following += part * of_score
        # The last level is its own upper neighbour.
        of_here += tl.where(level == levels - 1, of_following, 0.0)
        tl.store(output + level * full_area, of_here, mask=inside)


@triton.jit
def _place(  # type: ignore[no-untyped-def]
    rows, row_parts, columns, column_parts, height, width, full_height, full_width, PIXELS: tl.constexpr
):
    # This program's pixels: columns, which of them exist, where they are in a map; and where among the scores.
    y = tl.program_id(1)
    x = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = x < full_width
    pixel = (tl.program_id(2).to(tl.int64) * full_height + y) * full_width + x
    above = tl.load(rows + y)
    below = tl.minimum(above + 1, height - 1)
    left = tl.load(columns + x, mask=inside, other=0)
    right = tl.minimum(left + 1, width - 1)
    column_part = tl.load(column_parts + x, mask=inside, other=0.0)
    return inside, pixel, (above, below, left, right), tl.load(row_parts + y), column_part


@triton.jit
def _level(plane, corners, width, row_part, column_part, inside):  # type: ignore[no-untyped-def]
    # The scores of one level at this program's pixels, in units of ln 2.
    above, below, left, right = corners
    upper_left = tl.load(plane + above * width + left, mask=inside, other=0.0)
    lower_left = tl.load(plane + below * width + left, mask=inside, other=0.0)
    upper_right = tl.load(plane + above * width + right, mask=inside, other=0.0)
    lower_right = tl.load(plane + below * width + right, mask=inside, other=0.0)
    at_left = upper_left + row_part * (lower_left - upper_left)
    at_right = upper_right + row_part * (lower_right - upper_right)
    return (at_left + column_part * (at_right - at_left)) * _LOG2_E
