"""Operations on point sets on an NVIDIA GPU: numba-cuda kernels; what only moves and sums rows is PyTorch's own."""

import math
from typing import Any

import numba
import torch
from numba import cuda
from torch import Tensor

from pseudolidar.kernels.cuda import (
    float32_bits,
    launch,
    launch_blocks,
    rounded_product_float32,
    rounded_sum_float32,
)  # fmt: skip

# Threads that keep a large GPU busy: searches for few centres are split until there are as many.
_SEARCH_THREADS = 2**17
# Points that are worth a thread, at least.
_SMALLEST_PART = 256
# Furthest point sampling: a block's threads are compared by groups of this many, and then the groups.
_GROUP = 32
_RANKS = _GROUP * _GROUP
# Threads that sample one scene, at most; a power of two, as all smaller numbers of threads are.
_SAMPLING_THREADS = _RANKS
_LOW_BITS = 0xFFFFFFFF
# A block's threads share 65,536 registers.
_OPTIONS = {} if numba.config.ENABLE_CUDASIM else {"max_registers": 65_536 // _SAMPLING_THREADS}
_MORTON_BITS = 10


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
def _squared(dx: Any, dy: Any, dz: Any) -> Any:
    """Squared distance as every backend rounds it: (dx * dx + dy * dy) + dz * dz in float32."""
    level = rounded_sum_float32(rounded_product_float32(dx, dx), rounded_product_float32(dy, dy))
    return rounded_sum_float32(level, rounded_product_float32(dz, dz))


@cuda.jit(device=True)
def _squared_distance(points: Any, scene: Any, i: Any, x: Any, y: Any, z: Any) -> Any:
    return _squared(points[scene, i, 0] - x, points[scene, i, 1] - y, points[scene, i, 2] - z)


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


def furthest_point_sample(points: Tensor, count: int) -> Tensor:
    """Indices int64 (B, count); points float32 (B, N, 3). A block of threads per scene.

    A thread skips its points where their bounding box shows that the newest sample can't be the nearest to any of them.
    """
    scenes, number, _ = points.shape
    index = torch.zeros((scenes, count), dtype=torch.int64, device=points.device)
    threads = _GROUP
    while threads < min(number, _SAMPLING_THREADS):
        threads *= 2
    rounds = -(-number // threads)
    finite = points.isfinite().all(dim=-1)
    # Neighbours in space have one thread, where it has several points.
    order = (
        _along_a_curve(points, finite) if rounds > 1 else torch.arange(number, device=points.device).expand(scenes, -1)
    )
    ordered = points.gather(1, order[..., None].expand(-1, -1, 3))
    # A point that is not finite, or fills up, is as good as taken.
    nearest = torch.where(finite.gather(1, order), torch.inf, 0.0)
    spare = threads * rounds - number
    # Neighbouring threads read neighbouring numbers: (B, rounds, threads), in one row.
    parts = [
        torch.nn.functional.pad(part, (0, spare)).view(scenes, threads, rounds).transpose(1, 2).flatten()
        for part in (*ordered.unbind(dim=2), nearest, (number - 1 - order).to(torch.int32))
    ]
    launch_blocks(_sample, scenes, threads, points, *parts, rounds, index)
    return index


def _along_a_curve(points: Tensor, finite: Tensor) -> Tensor:
    """Order int64 (B, N) of the points along Morton's curve through each scene, with points that aren't finite
    anywhere.
    """
    still = torch.where(finite[..., None], points, 0).double()
    low, high = still.aminmax(dim=1, keepdim=True)
    cell = ((still - low) / (high - low).clamp(min=1e-30) * (2**_MORTON_BITS - 1)).to(torch.int64)
    # Two zeros between any two bits.
    for shift, mask in ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, 0x09249249)):
        cell = (cell | (cell << shift)) & mask
    code: Tensor = cell[..., 0] | (cell[..., 1] << 1) | (cell[..., 2] << 2)
    return code.argsort(dim=1)


@cuda.jit(device=True)
def _beyond(low: Any, high: Any, value: Any) -> Any:
    """How far a value is from an interval, rounded as a difference from one of its points is."""
    return max(max(low - value, value - high), numba.float32(0))


@cuda.jit(device=True)
def _greatest(ranks: Any, first: Any, step: Any) -> Any:
    """The greatest of `_GROUP` ranks; four side by side, since each comparison waits for the one before."""
    a, b, c, d = ranks[first], ranks[first + step], ranks[first + 2 * step], ranks[first + 3 * step]
    for k in range(4, _GROUP, 4):
        i = first + k * step
        a, b = max(a, ranks[i]), max(b, ranks[i + step])
        c, d = max(c, ranks[i + 2 * step]), max(d, ranks[i + 3 * step])
    return max(max(a, b), max(c, d))


@cuda.jit(**_OPTIONS)
def _sample(points: Any, xs: Any, ys: Any, zs: Any, nearest: Any, after: Any, rounds: Any, index: Any) -> None:
    """A point's rank: the bits of its squared distance to the nearest sample, and below them how many come after it.

    The greatest rank is the furthest point's, of equal ones the first's. `xs` to `after` hold a scene's rounds one
    after the other, in each a number for every thread.
    """
    scene, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    own = scene * rounds * threads + thread
    ranks = cuda.shared.array(_RANKS, numba.int64)
    of_groups = cuda.shared.array(_GROUP, numba.int64)
    # Of the threads that there are not, too.
    for t in range(thread, _RANKS, threads):
        ranks[t] = 0

    low_x = low_y = low_z = numba.float32(math.inf)
    high_x = high_y = high_z = numba.float32(-math.inf)
    reach = numba.float32(0)
    for r in range(rounds):
        # Unsigned: a signed index may count from an array's end.
        i = numba.uint64(own + r * threads)
        if nearest[i] > 0:
            low_x, low_y, low_z = min(low_x, xs[i]), min(low_y, ys[i]), min(low_z, zs[i])
            high_x, high_y, high_z = max(high_x, xs[i]), max(high_y, ys[i]), max(high_z, zs[i])
            reach = numba.float32(math.inf)

    chosen = numba.int64(0)
    for s in range(1, index.shape[1]):
        x, y, z = points[scene, chosen, 0], points[scene, chosen, 1], points[scene, chosen, 2]
        # Rounding keeps order: to the last bit no point of the box is nearer.
        least = _squared(_beyond(low_x, high_x, x), _beyond(low_y, high_y, y), _beyond(low_z, high_z, z))
        if s == 1 or least < reach:
            greatest, reach = numba.int64(0), numba.float32(0)
            for r in range(rounds):
                i = numba.uint64(own + r * threads)
                before, distance = nearest[i], _squared(xs[i] - x, ys[i] - y, zs[i] - z)
                # In this order a distance that is NaN changes nothing.
                before = distance if distance < before else before
                nearest[i] = before
                reach = max(reach, before)
                greatest = max(greatest, (numba.int64(float32_bits(before)) << 32) + numba.int64(after[i]))
            ranks[thread] = greatest
        cuda.syncthreads()
        if thread < _GROUP:
            of_groups[thread] = _greatest(ranks, thread, _GROUP)
        cuda.syncthreads()
        greatest = _greatest(of_groups, 0, 1)
        # Once all are taken, the rest is index 0.
        chosen = points.shape[1] - 1 - (greatest & _LOW_BITS) if greatest >> 32 > 0 else 0
        if thread == 0:
            index[scene, s] = chosen
