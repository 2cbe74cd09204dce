"""Features by index on the processor: gathered by PyTorch; weighted, summed and compared by numba kernels."""

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudolidar.kernels import cpu_kernel, in_chunks

Values = NDArray[Any]
Ints = NDArray[np.int64]

# Numbers moved that are worth a thread.
_WORTH_A_THREAD = 50_000


def group(features: Tensor, index: Tensor) -> Tensor:
    """Rows (B, K, C) of features (B, N, C); index int64 (B, K)."""
    scenes, points, channels = features.shape
    _check_range(index, points)
    # Measured: PyTorch's own is as fast as the memory, its indexing by several tensors takes twice as long.
    row = index + points * torch.arange(scenes)[:, None]
    return features.flatten(0, 1).index_select(0, row.flatten()).view(*index.shape, channels)


def group_backward(gradient: Tensor, index: Tensor, points: int, threads: int | None = None) -> Tensor:
    """Gradient (B, N, C) of the features from that of their rows (B, K, C)."""
    return interpolate_backward(gradient, index[..., None], torch.ones(*index.shape, 1), points, threads)


def interpolate(features: Tensor, index: Tensor, weight: Tensor, threads: int | None = None) -> Tensor:
    """Weighted sums (B, N, C) of three rows of features (B, M, C) each; index and weight (B, N, 3)."""
    _check_range(index, features.shape[1])
    rows = _wide(features)
    factor = _wide(weight).astype(rows.dtype, copy=False)
    sums = np.empty((*index.shape[:2], rows.shape[2]), rows.dtype)
    in_chunks(partial(_interpolate, rows, index.numpy(), factor, sums), sums.size // _WORTH_A_THREAD, threads)
    return torch.from_numpy(sums).to(features.dtype)


def interpolate_backward(
    gradient: Tensor, index: Tensor, weight: Tensor, points: int, threads: int | None = None
) -> Tensor:
    """Gradient (B, M, C) of the features from that of the sums (B, N, C).

    Each thread sums the rows of its own targets in their order: the bits don't depend on the number of threads.
    """
    rows = _wide(gradient)
    factor = _wide(weight).astype(rows.dtype, copy=False)
    sums = np.zeros((len(rows), points, rows.shape[2]), rows.dtype)
    in_chunks(partial(_add_rows, rows, index.numpy(), factor, sums), rows.size // _WORTH_A_THREAD, threads)
    return torch.from_numpy(sums).to(gradient.dtype)


def segment_max(rows: Tensor, starts: Tensor, threads: int | None = None) -> tuple[Tensor, Tensor]:
    """Maxima (S, C) of the segments of rows (R, C), and the row int64 (S, C) of each first maximum, -1 for none."""
    values, start = _wide(rows), starts.numpy()
    if start[0] < 0 or start[-1] > len(values) or (np.diff(start) < 0).any():
        found = f"{start[0]} to {start[-1]}" + (", not ascending" if (np.diff(start) < 0).any() else "")
        raise ValueError(f"starts: found {found}, expected ascending numbers from 0 to {len(values)}")
    shape = (len(start) - 1, values.shape[1])
    maxima, first = np.zeros(shape, values.dtype), np.full(shape, -1, np.int64)
    in_chunks(partial(_segment_max, values, start, maxima, first), values.size // _WORTH_A_THREAD, threads)
    return torch.from_numpy(maxima).to(rows.dtype), torch.from_numpy(first)


def segment_max_backward(gradient: Tensor, first: Tensor, rows: int, threads: int | None = None) -> Tensor:
    """Gradient (R, C) of the rows from that of the maxima (S, C), and from the rows that they came from."""
    summed = torch.zeros((rows, gradient.shape[1]), dtype=gradient.dtype)
    # Only moved, so that their bits are enough: numpy knows no bfloat16.
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[gradient.element_size()]
    move = partial(_move, gradient.view(bits).numpy(), first.numpy(), summed.view(bits).numpy())
    in_chunks(move, gradient.numel() // _WORTH_A_THREAD, threads)
    return summed


def _check_range(index: Tensor, rows: int) -> None:
    if index.numel():
        low, high = map(int, torch.aminmax(index))
        if low < 0 or high >= rows:
            raise ValueError(f"index: found {low} to {high}, expected 0 to {rows - 1}")


def _wide(values: Tensor) -> Values:
    """Contiguous array, float64 if the tensor is that and otherwise float32."""
    array: Values = values.to(torch.promote_types(values.dtype, torch.float32)).contiguous().numpy(force=True)
    return array


@cpu_kernel
def _add_rows(rows: Values, index: Ints, weight: Values, sums: Values, chunk: int, chunks: int) -> None:
    scenes, points, channels = sums.shape
    first_of_chunk, end_of_chunk = scenes * points * chunk // chunks, scenes * points * (chunk + 1) // chunks
    for scene in range(scenes):
        first, end = max(first_of_chunk - scene * points, 0), min(end_of_chunk - scene * points, points)
        if first >= end:
            continue
        for k in range(rows.shape[1]):
            for slot in range(index.shape[2]):
                target, factor = index[scene, k, slot], weight[scene, k, slot]
                if target >= first and target < end:
                    for c in range(channels):
                        sums[scene, target, c] += factor * rows[scene, k, c]


@cpu_kernel
def _interpolate(rows: Values, index: Ints, weight: Values, sums: Values, chunk: int, chunks: int) -> None:
    scenes, points, channels = sums.shape
    for p in range(scenes * points * chunk // chunks, scenes * points * (chunk + 1) // chunks):
        scene, n = p // points, p % points
        a, b, c = rows[scene, index[scene, n, 0]], rows[scene, index[scene, n, 1]], rows[scene, index[scene, n, 2]]
        of_a, of_b, of_c = weight[scene, n, 0], weight[scene, n, 1], weight[scene, n, 2]
        total = sums[scene, n]
        for channel in range(channels):
            total[channel] = (of_a * a[channel] + of_b * b[channel]) + of_c * c[channel]


@cpu_kernel
def _segment_max(rows: Values, start: Ints, maxima: Values, first: Ints, chunk: int, chunks: int) -> None:
    segments, channels = maxima.shape
    for s in range(segments * chunk // chunks, segments * (chunk + 1) // chunks):
        if start[s] == start[s + 1]:
            continue
        maximum, at = maxima[s], first[s]
        for c in range(channels):
            maximum[c], at[c] = rows[start[s], c], start[s]
        for r in range(start[s] + 1, start[s + 1]):
            row = rows[r]
            for c in range(channels):
                # NaN is the largest of all: it must reach the loss.
                is_larger = (row[c] > maximum[c]) | ((row[c] != row[c]) & (maximum[c] == maximum[c]))
                maximum[c] = row[c] if is_larger else maximum[c]
                at[c] = r if is_larger else at[c]


@cpu_kernel
def _move(source: Values, row: Ints, target: Values, chunk: int, chunks: int) -> None:
    segments, channels = source.shape
    for s in range(segments * chunk // chunks, segments * (chunk + 1) // chunks):
        for c in range(channels):
            if row[s, c] >= 0:
                target[row[s, c], c] = source[s, c]
