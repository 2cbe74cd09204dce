"""Furthest points and neighbours on the processor: points in small boxes, most of which a search skips whole.

Exact, after QuickFPS (Han et al. 2023). The kernels that call one another stay in one file: numba keeps a compiled
function as long as its own file is unchanged.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudolidar.kernels import cpu_kernel, in_chunks

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

# Points of a box at most; measured on 16,384 points.
_SAMPLED = 512
_SEARCHED = 64
# What is worth a thread, which starts after some 0.1 ms: coordinates times samples; queries.
_SMALLEST_SAMPLING = 2_000_000
_SMALLEST_SEARCH = 200
# The bits of infinity in float32; the rank of nothing; where a rank holds an index.
_INFINITE = 0x7F800000
_FURTHEST = np.int64(_INFINITE << 32)
_LOW_BITS = np.int64(0xFFFFFFFF)


def furthest_point_sample(points: Tensor, count: int, threads: int | None = None) -> Tensor:
    """Indices int64 (B, count); points float32 (B, N, 3). One thread per scene: each point depends on the last."""
    index = torch.zeros((len(points), count), dtype=torch.int64)
    sample = partial(_sample_scenes, points.numpy(), _SAMPLED, index.numpy())
    in_chunks(sample, min(len(points), points.numel() * count // _SMALLEST_SAMPLING), threads)
    return index


def ball_query(
    points: Tensor, centres: Tensor, squared_radius: float, count: int, threads: int | None = None
) -> tuple[Tensor, Tensor]:
    """Indices int64 (B, M, count) and how many were found, int64 (B, M)."""
    index = torch.zeros((*centres.shape[:2], count), dtype=torch.int64)
    found = torch.zeros(centres.shape[:2], dtype=torch.int64)
    squared = np.float32(squared_radius)
    query = partial(_balls, points.numpy(), centres.numpy(), squared, _SEARCHED, index.numpy(), found.numpy())
    in_chunks(query, found.numel() // _SMALLEST_SEARCH, threads)
    return index, found


def three_nearest(points: Tensor, known: Tensor, threads: int | None = None) -> tuple[Tensor, Tensor]:
    """Squared distances float32 (B, N, 3), ascending, and indices int64 (B, N, 3)."""
    squared = torch.full_like(points, torch.inf)
    index = torch.zeros(points.shape, dtype=torch.int64)
    query = partial(_nearest, points.numpy(), known.numpy(), _SEARCHED, squared.numpy(), index.numpy())
    in_chunks(query, points.numel() // 3 // _SMALLEST_SEARCH, threads)
    return squared, index


class Buckets(NamedTuple):
    """The F finite points of one scene in K boxes.

    Attributes:
        number: int64 (F,), the points' indices in the scene, ascending within a box.
        x, y, z: float32 (F,).
        start: int64 (K + 1,); box k holds entries start[k] to start[k + 1] - 1.
        low, high: float32 (3, K), the corners of each box, as small as its points allow.
    """

    number: Ints
    x: Floats
    y: Floats
    z: Floats
    start: Ints
    low: Floats
    high: Floats


@cpu_kernel
def _is_finite(x: np.float32, y: np.float32, z: np.float32) -> bool:
    # Infinity less itself is NaN.
    return bool((x - x) + (y - y) + (z - z) == np.float32(0))


@cpu_kernel
def make_buckets(points: Floats, most: int) -> Buckets:
    """Split the points (N, 3) at the mean of the longest side of their box until no part has more than `most`.

    Points that are all equal stay together, however many they are.
    """
    number = np.empty(len(points), np.int64)
    count = 0
    for i in range(len(points)):
        if _is_finite(points[i, 0], points[i, 1], points[i, 2]):
            number[count] = i
            count += 1
    number = number[:count]
    above = np.empty(count, np.int64)
    start = np.zeros(count + 1, np.int64)
    low, high = np.empty((count, 3), np.float32), np.empty((count, 3), np.float32)
    waiting = np.empty((count + 1, 2), np.int64)
    waiting[0, 0], waiting[0, 1] = 0, count
    parts, boxes = np.int64(count > 0), 0
    while parts:
        parts -= 1
        first, end = waiting[parts, 0], waiting[parts, 1]
        _box(points, number[first:end], low[boxes], high[boxes])
        axis = 0
        for other in range(1, 3):
            if high[boxes, other] - low[boxes, other] > high[boxes, axis] - low[boxes, axis]:
                axis = other
        if end - first <= most or low[boxes, axis] == high[boxes, axis]:
            boxes += 1
            start[boxes] = end
            continue
        middle = first + _split(points, number[first:end], above, axis, low[boxes, axis], high[boxes, axis])
        # The lower part is next: boxes are finished in the order of their entries.
        waiting[parts, 0], waiting[parts, 1] = middle, end
        waiting[parts + 1, 0], waiting[parts + 1, 1] = first, middle
        parts += 2
    x, y, z = np.empty(count, np.float32), np.empty(count, np.float32), np.empty(count, np.float32)
    for j in range(count):
        x[j], y[j], z[j] = points[number[j], 0], points[number[j], 1], points[number[j], 2]
    return Buckets(number, x, y, z, start[: boxes + 1], low[:boxes].T.copy(), high[:boxes].T.copy())


@cpu_kernel
def _box(points: Floats, number: Ints, low: Floats, high: Floats) -> None:
    low_x = low_y = low_z = np.float32(np.inf)
    high_x = high_y = high_z = np.float32(-np.inf)
    for j in range(len(number)):
        i = number[j]
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        low_x, high_x = min(low_x, x), max(high_x, x)
        low_y, high_y = min(low_y, y), max(high_y, y)
        low_z, high_z = min(low_z, z), max(high_z, z)
    low[0], low[1], low[2] = low_x, low_y, low_z
    high[0], high[1], high[2] = high_x, high_y, high_z


@cpu_kernel
def _split(points: Floats, number: Ints, above: Ints, axis: int, low: np.float32, high: np.float32) -> int:
    """Order the numbers by side of the mean, stable on each side; return the number on the lower side."""
    total = np.float64(0)
    for j in range(len(number)):
        total += np.float64(points[number[j], axis])
    mean = total / len(number)
    if not (mean >= low and mean < high):
        # Rounding; in float64 the middle of two numbers of float32 lies between them.
        mean = (np.float64(low) + np.float64(high)) / 2
    below, over = np.int64(0), np.int64(0)
    for j in range(len(number)):
        i = number[j]
        is_below = points[i, axis] <= mean
        # Both are written and one stays: no branch, which would be a guess each time.
        number[below] = i
        above[over] = i
        below += np.int64(is_below)
        over += np.int64(not is_below)
    # By a loop: an assignment of slices takes a second and a half to compile.
    for j in range(over):
        number[below + j] = above[j]
    return int(below)


@cpu_kernel
def _least_distances(x: np.float32, y: np.float32, z: np.float32, low: Floats, high: Floats, least: Floats) -> None:
    """Squared distances, float32 (K,), than which no point of a box is nearer.

    Rounded like the distances themselves: since rounding keeps order, the bound holds to the last bit.
    """
    zero = np.float32(0)
    for k in range(len(least)):
        dx = max(max(low[0, k] - x, x - high[0, k]), zero)
        dy = max(max(low[1, k] - y, y - high[1, k]), zero)
        dz = max(max(low[2, k] - z, z - high[2, k]), zero)
        least[k] = (dx * dx + dy * dy) + dz * dz


@cpu_kernel
def _sample_scenes(points: Floats, most: int, index: Ints, chunk: int, chunks: int) -> None:
    for scene in range(chunk, len(points), chunks):
        _sample(points[scene], make_buckets(points[scene], most), index[scene])


@cpu_kernel
def _sample(points: Floats, buckets: Buckets, index: Ints) -> None:
    number, px, py, pz, start, low, high = buckets
    boxes = len(start) - 1
    nearest = np.full(len(number), np.inf, np.float32)
    # A point's rank: the bits of its squared distance to the nearest chosen point, which order as the number does, and
    # below them how many points come after it. The greatest rank is the furthest point's, of equal ones the first's.
    bits, after = nearest.view(np.int32), len(points) - 1 - number
    rank_in_box = np.empty(boxes, np.int64)
    for k in range(boxes):
        rank_in_box[k] = _FURTHEST + after[start[k]]
    furthest = np.full(boxes, np.inf, np.float32)
    furthest_bits, least = furthest.view(np.int32), np.empty(boxes, np.float32)
    chosen = np.int64(0)
    for s in range(1, len(index)):
        x, y, z = points[chosen, 0], points[chosen, 1], points[chosen, 2]
        _least_distances(x, y, z, low, high, least)
        for k in range(boxes):
            if least[k] < furthest[k]:
                # Unsigned: a signed index may count from an array's end, which keeps a loop from vector code.
                first, end = np.uint64(start[k]), np.uint64(start[k + 1])
                for j in range(first, end):
                    dx, dy, dz = px[j] - x, py[j] - y, pz[j] - z
                    distance = (dx * dx + dy * dy) + dz * dz
                    nearest[j] = distance if distance < nearest[j] else nearest[j]
                greatest = np.int64(0)
                for j in range(first, end):
                    greatest = max(greatest, (np.int64(bits[j]) << 32) + after[j])
                rank_in_box[k] = greatest
                furthest_bits[k] = greatest >> 32
        greatest = np.int64(0)
        for k in range(boxes):
            greatest = max(greatest, rank_in_box[k])
        if greatest >> 32 == 0:
            # All are taken; the rest is index 0.
            return
        chosen = len(points) - 1 - (greatest & _LOW_BITS)
        index[s] = chosen


@cpu_kernel
def _scenes_and_queries(scenes: int, queries: int, chunk: int, chunks: int) -> tuple[int, int, int, int]:
    """First scene and step to the next, first query and last: the scenes are dealt out, or each scene's queries."""
    if scenes >= 2 * chunks:
        return chunk, chunks, 0, queries
    return 0, 1, queries * chunk // chunks, queries * (chunk + 1) // chunks


@cpu_kernel
def _balls(
    points: Floats, centres: Floats, squared_radius: np.float32, most: int, index: Ints, found: Ints,
    chunk: int, chunks: int,
) -> None:  # fmt: skip
    first_scene, step, first, end = _scenes_and_queries(len(points), centres.shape[1], chunk, chunks)
    for scene in range(first_scene, len(points), step):
        buckets, part = make_buckets(points[scene], most), slice(first, end)
        _balls_of_scene(buckets, centres[scene, part], squared_radius, index[scene, part], found[scene, part])


@cpu_kernel
def _balls_of_scene(buckets: Buckets, centres: Floats, squared_radius: np.float32, index: Ints, found: Ints) -> None:
    number, px, py, pz, start, low, high = buckets
    least = np.empty(len(start) - 1, np.float32)
    slots = index.shape[1]
    for m in range(len(centres)):
        x, y, z = centres[m, 0], centres[m, 1], centres[m, 2]
        _least_distances(x, y, z, low, high, least)
        # The lowest indices so far, ascending.
        kept = index[m]
        count = np.int64(0)
        for k in range(len(least)):
            if least[k] < squared_radius:
                for j in range(np.uint64(start[k]), np.uint64(start[k + 1])):
                    i = number[j]
                    if count == slots and i > kept[slots - 1]:
                        break
                    dx, dy, dz = px[j] - x, py[j] - y, pz[j] - z
                    if (dx * dx + dy * dy) + dz * dz < squared_radius:
                        count = min(count + 1, slots)
                        slot = count - 1
                        while slot > 0 and kept[slot - 1] > i:
                            kept[slot] = kept[slot - 1]
                            slot -= 1
                        kept[slot] = i
        found[m] = count
        kept[count:] = kept[0]


@cpu_kernel
def _nearest(points: Floats, known: Floats, most: int, squared: Floats, index: Ints, chunk: int, chunks: int) -> None:
    first_scene, step, first, end = _scenes_and_queries(len(points), points.shape[1], chunk, chunks)
    for scene in range(first_scene, len(points), step):
        buckets = make_buckets(known[scene], most)
        _nearest_of_scene(buckets, points[scene, first:end], squared[scene, first:end], index[scene, first:end])


@cpu_kernel
def _nearest_of_scene(buckets: Buckets, points: Floats, squared: Floats, index: Ints) -> None:
    number, px, py, pz, start, low, high = buckets
    boxes = len(start) - 1
    least, distance = np.empty(boxes, np.float32), np.empty(len(number), np.float32)
    least_bits, bits, squared_bits = least.view(np.int32), distance.view(np.int32), squared.view(np.int32)
    for n in range(len(points)):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        _least_distances(x, y, z, low, high, least)
        # A point's rank: the bits of its squared distance, which order as the number does, and below them its index.
        first = second = third = _FURTHEST
        while _is_finite(x, y, z):
            nearest_box = _FURTHEST
            for k in range(boxes):
                nearest_box = min(nearest_box, (np.int64(least_bits[k]) << 32) + k)
            if nearest_box >> 32 > third >> 32 or nearest_box == _FURTHEST:
                break
            box = nearest_box & _LOW_BITS
            least[box] = np.inf
            start_of_box, end = np.uint64(start[box]), np.uint64(start[box + 1])
            for j in range(start_of_box, end):
                dx, dy, dz = px[j] - x, py[j] - y, pz[j] - z
                distance[j] = (dx * dx + dy * dy) + dz * dz
            # Most boxes hold none of the three: the least distance, in vector code, tells.
            least_of_box = np.int32(_INFINITE)
            for j in range(start_of_box, end):
                least_of_box = min(least_of_box, bits[j])
            if np.int64(least_of_box) > third >> 32:
                continue
            for j in range(start_of_box, end):
                rank = (np.int64(bits[j]) << 32) + number[j]
                if rank < third:
                    third = max(rank, second)
                    second = max(min(rank, second), first)
                    first = min(rank, first)
        squared_bits[n, 0], squared_bits[n, 1], squared_bits[n, 2] = first >> 32, second >> 32, third >> 32
        index[n, 0], index[n, 1], index[n, 2] = first & _LOW_BITS, second & _LOW_BITS, third & _LOW_BITS
