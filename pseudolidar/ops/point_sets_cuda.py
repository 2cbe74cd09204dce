"""Operations on point sets on an NVIDIA GPU: numba-cuda kernels; what only moves and sums rows is PyTorch's own."""

import math
from typing import Any

import numba
import torch
from numba import cuda
from torch import Tensor

from pseudolidar.kernels.cuda import launch, rounded_product_float32, rounded_sum_float32

# Threads that keep a large GPU busy: searches for few centres are split until there are as many.
_SEARCH_THREADS = 2**17
# Points that are worth a thread, at least.
_SMALLEST_PART = 256


def ball_query(points: Tensor, centres: Tensor, squared_radius: float, count: int) -> tuple[Tensor, Tensor]:
    """Indices int64 (B, M, count) and how many were found, int64 (B, M). A thread per centre and part of the points."""
    scenes, number, _ = centres.shape
    parts = max(1, min(_SEARCH_THREADS // max(1, scenes * number), points.shape[1] // _SMALLEST_PART))
    found_in_part = torch.zeros((parts, scenes, number), dtype=torch.int64, device=points.device)
    index_of_part = torch.zeros((parts, scenes, number, count), dtype=torch.int64, device=points.device)
    launch(_balls, found_in_part.numel(), points, centres, squared_radius, index_of_part, found_in_part)
    # The first part's becomes the whole's.
    index, found = index_of_part[0], found_in_part[0]
    launch(_merge, found.numel(), index_of_part, found_in_part, index, found)
    return (index.clone(), found.clone()) if parts > 1 else (index, found)


def three_nearest(points: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances float32 (B, N, 3), ascending, and indices int64 (B, N, 3). One thread per point."""
    squared = torch.full_like(points, torch.inf)
    index = torch.zeros_like(points, dtype=torch.int64)
    launch(_three, points.shape[0] * points.shape[1], points, known, squared, index)
    return squared, index


def segment_max(rows: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Maxima (S, C) of the segments of rows (R, C), and the row int64 (S, C) of each first maximum, -1 for none.

    One thread for each maximum. Starts beyond the rows are taken as their end.
    """
    # numba has no bfloat16.
    values = rows.to(torch.promote_types(rows.dtype, torch.float32))
    maxima = values.new_zeros((len(starts) - 1, rows.shape[1]))
    first = torch.full_like(maxima, -1, dtype=torch.int64)
    launch(_segment_max, maxima.numel(), values, starts, maxima, first)
    return maxima.to(rows.dtype), first


@cuda.jit(device=True)
def squared(dx: Any, dy: Any, dz: Any) -> Any:
    """Squared distance as every backend rounds it: (dx * dx + dy * dy) + dz * dz in float32."""
    level = rounded_sum_float32(rounded_product_float32(dx, dx), rounded_product_float32(dy, dy))
    return rounded_sum_float32(level, rounded_product_float32(dz, dz))


@cuda.jit(device=True)
def _squared_distance(points: Any, scene: Any, i: Any, x: Any, y: Any, z: Any) -> Any:
    return squared(points[scene, i, 0] - x, points[scene, i, 1] - y, points[scene, i, 2] - z)


@cuda.jit
def _balls(points: Any, centres: Any, squared_radius: Any, index: Any, found: Any, items: Any) -> None:
    """The first points of each part: parts, scenes and centres as the axes of `found`."""
    item = cuda.grid(1)
    if item < items:
        # Neighbouring threads have neighbouring centres and the same points.
        part, rest = item // (found.shape[1] * found.shape[2]), item % (found.shape[1] * found.shape[2])
        scene, m = rest // found.shape[2], rest % found.shape[2]
        x, y, z = centres[scene, m, 0], centres[scene, m, 1], centres[scene, m, 2]
        i, end = points.shape[1] * part // found.shape[0], points.shape[1] * (part + 1) // found.shape[0]
        slots, count = index.shape[3], 0
        while count < slots and i < end:
            if _squared_distance(points, scene, i, x, y, z) < squared_radius:
                index[part, scene, m, count] = i
                count += 1
            i += 1
        found[part, scene, m] = count


@cuda.jit
def _merge(index_of_part: Any, found_in_part: Any, index: Any, found: Any, items: Any) -> None:
    """Join what the parts found, one after the other; `index` and `found` are those of the first part."""
    item = cuda.grid(1)
    if item < items:
        scene, m = item // found.shape[1], item % found.shape[1]
        slots, count = index.shape[2], found[scene, m]
        for part in range(1, found_in_part.shape[0]):
            for k in range(min(found_in_part[part, scene, m], slots - count)):
                index[scene, m, count + k] = index_of_part[part, scene, m, k]
            count = min(slots, count + found_in_part[part, scene, m])
        found[scene, m] = count
        for slot in range(count, slots):
            index[scene, m, slot] = index[scene, m, 0]


@cuda.jit
def _three(points: Any, known: Any, squared: Any, index: Any, items: Any) -> None:
    item = cuda.grid(1)
    if item < items:
        scene, n = item // points.shape[1], item % points.shape[1]
        x, y, z = points[scene, n, 0], points[scene, n, 1], points[scene, n, 2]
        first = second = third = numba.float32(math.inf)
        number_of_first = number_of_second = number_of_third = 0
        for i in range(known.shape[1]):
            distance = _squared_distance(known, scene, i, x, y, z)
            # Indices ascend: of points equally far the first come first.
            if distance < third:
                third, number_of_third = distance, i
                if third < second:
                    second, third = third, second
                    number_of_second, number_of_third = number_of_third, number_of_second
                if second < first:
                    first, second = second, first
                    number_of_first, number_of_second = number_of_second, number_of_first
        squared[scene, n, 0], squared[scene, n, 1], squared[scene, n, 2] = first, second, third
        index[scene, n, 0] = number_of_first
        index[scene, n, 1] = number_of_second
        index[scene, n, 2] = number_of_third


@cuda.jit
def _segment_max(rows: Any, starts: Any, maxima: Any, first: Any, items: Any) -> None:
    item = cuda.grid(1)
    if item < items:
        s, c = item // rows.shape[1], item % rows.shape[1]
        at = -1
        for r in range(max(starts[s], 0), min(starts[s + 1], rows.shape[0])):
            value = rows[r, c]
            # NaN is the largest of all: it must reach the loss.
            if at < 0 or value > rows[at, c] or (value != value and rows[at, c] == rows[at, c]):
                at = r
        if at >= 0:
            maxima[s, c], first[s, c] = rows[at, c], at
