"""The regression of disparity and its gradient on a processor: one compiled loop over the pixels of each row."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudolidar.kernels import cpu_kernel, in_chunks
from pseudolidar.stereo.upsampling import Grid, Interpolation, Upsampling, interpolations

Floats = NDArray[np.float32]

# Pixels of a row that are regressed together: their scores at every level stay in the processor's first cache.
_PIXELS = 64

_LOG2_E = np.float32(1.4426950408889634)
# 2^r for -0.5 <= r <= 0.5 to 1e-7, a minimax polynomial, highest power first.
_POWER_OF_2 = tuple(
    np.float32(value)
    for value in (1.5353362e-4, 1.3398874e-3, 9.6184374e-3, 5.5503325e-2, 2.4022648e-1, 6.9314720e-1, 1.0)
)


def regress(upsampling: Upsampling, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Expected disparity (B, H, W), px, of scores float32 (B, D/4, H/4, W/4), and what the gradient needs.

    That is each pixel's highest score, in units of ln 2, and its sum of 2^(score - highest).
    """
    grid, inputs = interpolations(upsampling), _array(scores)
    outputs = np.empty((3, len(inputs), *upsampling.outputs[1:]), np.float32)
    in_chunks(lambda chunk, chunks: _regress(inputs, grid, chunk, chunks, outputs), outputs.shape[2], None)
    disparity, highest, total = torch.from_numpy(outputs)
    return disparity, highest, total


def scores_gradient(
    upsampling: Upsampling, scores: Tensor, disparity: Tensor, highest: Tensor, total: Tensor, gradient: Tensor
) -> Tensor:
    """The gradient of the scores (B, D/4, H/4, W/4), from that of the disparity and the results of `regress`."""
    grid, inputs = interpolations(upsampling), _array(scores)
    batch, levels, _, width = inputs.shape
    height = upsampling.outputs[1]
    of_pixels = _array(disparity), _array(highest), _array(total), _array(gradient)
    of_rows = np.zeros((batch, height, levels, width), np.float32)
    in_chunks(lambda chunk, chunks: _rows_gradient(inputs, grid, of_pixels, chunk, chunks, of_rows), height, None)
    of_scores = np.zeros_like(inputs)
    in_chunks(lambda chunk, chunks: _sum_rows(of_rows, grid.rows, chunk, chunks, of_scores), levels, None)
    return torch.from_numpy(of_scores)


def _array(tensor: Tensor) -> Floats:
    return tensor.detach().contiguous().numpy()


@cpu_kernel
def _regress(scores: Floats, grid: Grid, chunk: int, chunks: int, outputs: Floats) -> None:
    batch, coarse_levels, _, coarse_width = scores.shape
    height, width = outputs.shape[2:]
    lower, fractions = grid.levels
    row = np.empty((coarse_levels, coarse_width), np.float32)
    coarse = np.zeros((coarse_levels, _PIXELS), np.float32)
    highest = np.empty(_PIXELS, np.float32)
    total = np.empty(_PIXELS, np.float32)
    moment = np.empty(_PIXELS, np.float32)
    mantissa = np.empty(_PIXELS, np.float32)
    bits = np.empty(_PIXELS, np.int32)
    power = bits.view(np.float32)
    for index in range(chunk, batch * height, chunks):
        image, y = divmod(index, height)
        _interpolate_row(scores[image], grid.rows, y, row)
        for first in range(0, width, _PIXELS):
            pixels = min(_PIXELS, width - first)
            _interpolate_columns(row, grid.columns, first, pixels, coarse)
            highest[:] = -np.inf
            for disparity in range(len(lower)):
                level, part = lower[disparity], fractions[disparity]
                following = min(level + 1, coarse_levels - 1)
                for i in range(_PIXELS):
                    score = coarse[level, i] + part * (coarse[following, i] - coarse[level, i])
                    highest[i] = score if score > highest[i] else highest[i]
            total[:] = 0
            moment[:] = 0
            for disparity in range(len(lower)):
                level, part = lower[disparity], fractions[disparity]
                following = min(level + 1, coarse_levels - 1)
                for i in range(_PIXELS):
                    score = coarse[level, i] + part * (coarse[following, i] - coarse[level, i]) - highest[i]
                    mantissa[i], bits[i] = _power_of_2(score)
                for i in range(_PIXELS):
                    weight = mantissa[i] * power[i]
                    total[i] += weight
                    moment[i] += np.float32(disparity) * weight
            for i in range(pixels):
                outputs[0, image, y, first + i] = moment[i] / total[i]
                outputs[1, image, y, first + i] = highest[i]
                outputs[2, image, y, first + i] = total[i]


@cpu_kernel
def _rows_gradient(
    scores: Floats,
    grid: Grid,
    of_pixels: tuple[Floats, Floats, Floats, Floats],
    chunk: int,
    chunks: int,
    output: Floats,
) -> None:
    # The gradient of each level and column (B, H, D/4, W/4), before it is shared among the rows of the scores.
    batch, coarse_levels, _, coarse_width = scores.shape
    found, highest_of, total_of, gradient = of_pixels
    height, width = gradient.shape[1:]
    lower, fractions = grid.levels
    left, part_of_right = grid.columns
    row = np.empty((coarse_levels, coarse_width), np.float32)
    coarse = np.zeros((coarse_levels, _PIXELS), np.float32)
    of_coarse = np.empty((coarse_levels, _PIXELS), np.float32)
    expected = np.zeros(_PIXELS, np.float32)
    highest = np.zeros(_PIXELS, np.float32)
    scale = np.zeros(_PIXELS, np.float32)
    mantissa = np.empty(_PIXELS, np.float32)
    bits = np.empty(_PIXELS, np.int32)
    power = bits.view(np.float32)
    for index in range(chunk, batch * height, chunks):
        image, y = divmod(index, height)
        _interpolate_row(scores[image], grid.rows, y, row)
        for first in range(0, width, _PIXELS):
            pixels = min(_PIXELS, width - first)
            _interpolate_columns(row, grid.columns, first, pixels, coarse)
            for i in range(pixels):
                expected[i] = found[image, y, first + i]
                highest[i] = highest_of[image, y, first + i]
                scale[i] = gradient[image, y, first + i] / total_of[image, y, first + i]
            of_coarse[:] = 0
            for disparity in range(len(lower)):
                level, part = lower[disparity], fractions[disparity]
                following = min(level + 1, coarse_levels - 1)
                for i in range(_PIXELS):
                    score = coarse[level, i] + part * (coarse[following, i] - coarse[level, i]) - highest[i]
                    mantissa[i], bits[i] = _power_of_2(score)
                for i in range(_PIXELS):
                    of_score = mantissa[i] * power[i] * (np.float32(disparity) - expected[i]) * scale[i]
                    of_coarse[level, i] += (np.float32(1) - part) * of_score
                    of_coarse[following, i] += part * of_score
            for level in range(coarse_levels):
                for i in range(pixels):
                    x, part = left[first + i], part_of_right[first + i]
                    output[image, y, level, x] += (np.float32(1) - part) * of_coarse[level, i]
                    output[image, y, level, min(x + 1, coarse_width - 1)] += part * of_coarse[level, i]


@cpu_kernel
def _sum_rows(of_rows: Floats, rows: Interpolation, chunk: int, chunks: int, output: Floats) -> None:
    batch, levels, coarse_height, _ = output.shape
    for level in range(chunk, levels, chunks):
        for image in range(batch):
            for y in range(len(rows.lower)):
                above, part = rows.lower[y], rows.fraction[y]
                output[image, level, above] += (np.float32(1) - part) * of_rows[image, y, level]
                output[image, level, min(above + 1, coarse_height - 1)] += part * of_rows[image, y, level]


@cpu_kernel
def _interpolate_row(scores: Floats, rows: Interpolation, y: int, row: Floats) -> None:
    above, part = rows.lower[y], rows.fraction[y]
    below = min(above + 1, scores.shape[1] - 1)
    for level in range(row.shape[0]):
        for x in range(row.shape[1]):
            upper = scores[level, above, x]
            row[level, x] = (upper + part * (scores[level, below, x] - upper)) * _LOG2_E


@cpu_kernel
def _interpolate_columns(row: Floats, columns: Interpolation, first: int, pixels: int, coarse: Floats) -> None:
    for level in range(row.shape[0]):
        for i in range(pixels):
            x = columns.lower[first + i]
            beside = min(x + 1, row.shape[1] - 1)
            coarse[level, i] = row[level, x] + columns.fraction[first + i] * (row[level, beside] - row[level, x])


@cpu_kernel
def _power_of_2(exponent: np.float32) -> tuple[np.float32, np.int32]:
    # The mantissa of 2^exponent, and the bits of a float32 that is the rest; of NaN the mantissa is NaN.
    exponent = np.float32(-126) if exponent < np.float32(-126) else exponent
    whole = np.floor(exponent + np.float32(0.5))
    rest = exponent - whole
    mantissa = _POWER_OF_2[0]
    for coefficient in _POWER_OF_2[1:]:
        mantissa = mantissa * rest + coefficient
    return mantissa, (np.int32(whole) + np.int32(127)) << np.int32(23)
