"""Operations on point sets on an NVIDIA GPU: numba-cuda kernels; what only moves and sums rows is PyTorch's own."""

import math
from typing import Any

import numba
import torch
from numba import cuda
from torch import Tensor

from pseudolidar.kernels.cuda import launch, launch_blocks, rounded_product_float32, rounded_sum_float32

# Threads that sample one scene, at most; a power of two.
_SAMPLING_THREADS = 512


def furthest_point_sample(points: Tensor, count: int) -> Tensor:
    """Indices int64 (B, count); points float32 (B, N, 3), contiguous. A block of threads a scene."""
    # A point that is not finite is as good as taken.
    nearest = torch.where(points.isfinite().all(dim=-1), torch.inf, 0.0)
    index = torch.zeros((len(points), count), dtype=torch.int64, device=points.device)
    threads = 32
    while threads < min(points.shape[1], _SAMPLING_THREADS):
        threads *= 2
    launch_blocks(_sample, len(points), threads, points, nearest, index)
    return index


def ball_query(points: Tensor, centres: Tensor, squared_radius: float, count: int) -> tuple[Tensor, Tensor]:
    """Indices int64 (B, M, count) and how many were found, int64 (B, M). A thread a centre."""
    found = torch.zeros(centres.shape[:2], dtype=torch.int64, device=points.device)
    index = torch.zeros((*centres.shape[:2], count), dtype=torch.int64, device=points.device)
    launch(_balls, found.numel(), points, centres, squared_radius, index, found)
    return index, found


def three_nearest(points: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances float32 (B, N, 3), ascending, and indices int64 (B, N, 3). A thread a point."""
    squared = torch.full_like(points, torch.inf)
    index = torch.zeros_like(points, dtype=torch.int64)
    launch(_three, points.shape[0] * points.shape[1], points, known, squared, index)
    return squared, index


def segment_max(rows: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Maxima (S, C) of the segments of rows (R, C), and the row int64 (S, C) of each first maximum, -1 for none.

    A thread a maximum. Starts beyond the rows are taken as their end.
    """
    # numba has no bfloat16.
    values = rows.to(torch.promote_types(rows.dtype, torch.float32))
    maxima = values.new_zeros((len(starts) - 1, rows.shape[1]))
    first = torch.full_like(maxima, -1, dtype=torch.int64)
    launch(_segment_max, maxima.numel(), values, starts, maxima, first)
    return maxima.to(rows.dtype), first


@cuda.jit(device=True)
def _squared_distance(points: Any, scene: Any, i: Any, x: Any, y: Any, z: Any) -> Any:
    """As every backend rounds it: (dx * dx + dy * dy) + dz * dz in float32."""
    dx, dy, dz = points[scene, i, 0] - x, points[scene, i, 1] - y, points[scene, i, 2] - z
    level = rounded_sum_float32(rounded_product_float32(dx, dx), rounded_product_float32(dy, dy))
    return rounded_sum_float32(level, rounded_product_float32(dz, dz))


@cuda.jit
def _sample(points: Any, nearest: Any, index: Any) -> None:
    scene, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    distance = cuda.shared.array(_SAMPLING_THREADS, numba.float32)
    number = cuda.shared.array(_SAMPLING_THREADS, numba.int64)
    chosen = 0
    for s in range(1, index.shape[1]):
        x, y, z = points[scene, chosen, 0], points[scene, chosen, 1], points[scene, chosen, 2]
        distance[thread], number[thread] = -1.0, 0
        for i in range(thread, points.shape[1], threads):
            nearest[scene, i] = _lesser(_squared_distance(points, scene, i, x, y, z), nearest[scene, i])
            # Indices ascend: of points equally far a thread keeps the first.
            if nearest[scene, i] > distance[thread]:
                distance[thread], number[thread] = nearest[scene, i], i
        cuda.syncthreads()
        half = threads // 2
        while half > 0:
            if thread < half:
                other = thread + half
                is_further = distance[other] > distance[thread]
                if is_further or (distance[other] == distance[thread] and number[other] < number[thread]):
                    distance[thread], number[thread] = distance[other], number[other]
            cuda.syncthreads()
            half //= 2
        chosen = number[0]
        if thread == 0:
            index[scene, s] = chosen
        # All have read it before the first thread writes its next.
        cuda.syncthreads()


@cuda.jit(device=True)
def _lesser(distance: Any, nearest: Any) -> Any:
    # In this order a distance that is NaN changes nothing.
    return distance if distance < nearest else nearest


@cuda.jit
def _balls(points: Any, centres: Any, squared_radius: Any, index: Any, found: Any, items: Any) -> None:
    item = cuda.grid(1)
    if item < items:
        scene, m = item // centres.shape[1], item % centres.shape[1]
        x, y, z = centres[scene, m, 0], centres[scene, m, 1], centres[scene, m, 2]
        slots, count, i = index.shape[2], 0, 0
        while count < slots and i < points.shape[1]:
            if _squared_distance(points, scene, i, x, y, z) < squared_radius:
                index[scene, m, count] = i
                count += 1
            i += 1
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
