"""Clouds on the processor: numba kernels over blocks of image rows, a thread each, without a dense cloud in between."""

from collections import deque
from collections.abc import Callable
from functools import partial, reduce

import numpy as np
from numpy.typing import NDArray

from pseudolidar.cloud.grid import Cells, Edges
from pseudolidar.cloud.reference import FLOAT32_MAX, Projection
from pseudolidar.kernels import cpu_kernel, in_chunks

Disparity = NDArray[np.float32]
Points = NDArray[np.float32]
Row = NDArray[np.float32]
Kept = NDArray[np.uint8]
Indices = NDArray[np.int64]

# Items that are worth a thread: it starts after some 0.1 ms, in which counting gets through 250,000 pixels.
_COUNTS_WORTH_A_THREAD = 400_000
_WORTH_A_THREAD = 50_000
# Image rows that a thread takes one after the other.
_BAND = 8


def dense_points(disparity: Disparity, projection: Projection, threads: int | None) -> Points:
    """Every pixel's point within the limits, (N, 4); disparity float32 (H, W), contiguous."""
    disparity = _read_only(disparity)
    ends = np.zeros(len(disparity) + 1, np.int64)
    in_chunks(partial(_count, disparity, projection, ends[1:]), disparity.size // _COUNTS_WORTH_A_THREAD, threads)
    np.cumsum(ends, out=ends)
    points = empty_points(int(ends[-1]))
    in_chunks(partial(_write, disparity, projection, ends, points), disparity.size // _WORTH_A_THREAD, threads)
    return points


def sparse_points(disparity: Disparity, projection: Projection, cells: Cells, threads: int | None) -> Points:
    """The last point of each cell, of those that `dense_points` gives, in their order."""
    disparity = _read_only(disparity)
    enter = partial(_last_pixels, disparity, projection, cells)
    last = _last_of_each_cell(enter, cells, disparity.size, threads)
    points = np.empty((len(last), 4), np.float32)
    _write_pixels(disparity, projection, last, points)
    return points


def last_of_each_cell(points: Points, cells: Cells, threads: int | None) -> Indices:
    """Indices of the points (N, >= 3) that are the last of their cell, increasing."""
    return _last_of_each_cell(partial(_last_points, _read_only(points), cells), cells, len(points), threads)


def _read_only(array: NDArray[np.float32]) -> NDArray[np.float32]:
    # Writable and read-only arrays are two types to numba, and a second type would be compiled a second time.
    view = array.view()
    view.flags.writeable = False
    return view


def _last_of_each_cell(
    enter: Callable[[Indices, int, int], None], cells: Cells, items: int, threads: int | None
) -> Indices:
    def of_chunk(chunk: int, chunks: int) -> Indices:
        # One more for what has no cell.
        last = np.full(cells.rows * cells.columns + 1, -1, np.int64)
        enter(last, chunk, chunks)
        return last[:-1]

    # The last is the one with the largest index, whatever the threads do.
    last = reduce(np.maximum, in_chunks(of_chunk, items // _WORTH_A_THREAD, threads))
    return np.sort(last[last >= 0])


@cpu_kernel
def _point(disparity: float, v: int, u: int, rays: Projection) -> tuple[bool, np.float32, np.float32, np.float32]:
    d = np.float64(disparity)
    if rays.quantization > 0:
        d = np.floor(d / rays.quantization) * rays.quantization
    depth = rays.camera_constant / d
    x = (rays.rows[0, v] + rays.columns[0, u]) * depth + rays.offset[0]
    y = (rays.rows[1, v] + rays.columns[1, u]) * depth + rays.offset[1]
    z = (rays.rows[2, v] + rays.columns[2, u]) * depth + rays.offset[2]
    # Bitwise: no branches, so that it becomes vector code. Comparisons with NaN are false.
    valid = (d > 0) & (d < np.inf)
    ahead = (x >= 0) & (x < rays.max_depth)
    level = (z < rays.max_height) & (z > -FLOAT32_MAX) & (np.abs(y) < FLOAT32_MAX)
    x = x if x < rays.x_highest else rays.x_highest
    z = z if z < rays.z_highest else rays.z_highest
    return valid & ahead & level, np.float32(x), np.float32(y), np.float32(z)


@cpu_kernel
def _count(disparity: Disparity, rays: Projection, kept_in_row: Indices, chunk: int, chunks: int) -> None:
    for first in range(chunk * _BAND, len(disparity), chunks * _BAND):
        for v in range(first, min(first + _BAND, len(disparity))):
            count = np.int64(0)
            for u in range(disparity.shape[1]):
                count += np.int64(_point(disparity[v, u], v, u, rays)[0])
            kept_in_row[v] = count


@cpu_kernel
def _row(disparity: Disparity, rays: Projection, v: int, kept: Kept, x: Row, y: Row, z: Row) -> None:
    for u in range(disparity.shape[1]):
        keep, x[u], y[u], z[u] = _point(disparity[v, u], v, u, rays)
        kept[u] = keep


@cpu_kernel
def _write(disparity: Disparity, rays: Projection, ends: Indices, points: Points, chunk: int, chunks: int) -> None:
    width = disparity.shape[1]
    kept = np.empty(width, np.uint8)
    x, y, z = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    intensity = np.float32(rays.intensity)
    for first in range(chunk * _BAND, len(disparity), chunks * _BAND):
        end = min(first + _BAND, len(disparity))
        for v in range(first, end):
            at = ends[v]
            if ends[v + 1] == at:
                continue
            _row(disparity, rays, v, kept, x, y, z)
            if at + width <= ends[end]:
                # No branch, which a ragged mask would make a guess each time: a point that does not stay is written
                # over by the next. There is room for that in this band's points.
                for u in range(width):
                    _store(points, at, x[u], y[u], z[u], intensity)
                    at += np.int64(kept[u])
            else:
                for u in range(width):
                    if kept[u]:
                        _store(points, at, x[u], y[u], z[u], intensity)
                        at += 1


@cpu_kernel
def _store(points: Points, at: int, x: np.float32, y: np.float32, z: np.float32, intensity: np.float32) -> None:
    points[at, 0] = x
    points[at, 1] = y
    points[at, 2] = z
    points[at, 3] = intensity


@cpu_kernel
def _write_pixels(disparity: Disparity, rays: Projection, pixels: Indices, points: Points) -> None:
    width = disparity.shape[1]
    for i in range(len(pixels)):
        v, u = pixels[i] // width, pixels[i] % width
        _, points[i, 0], points[i, 1], points[i, 2] = _point(disparity[v, u], v, u, rays)
        points[i, 3] = rays.intensity


@cpu_kernel
def _bin(tangent: np.float32, edges: Edges) -> np.int32:
    at = (tangent - edges.first) * edges.scale
    last = np.float32(len(edges.least) - 1)
    # In this order NaN becomes 0.
    at = at if at > np.float32(0) else np.float32(0)
    return np.int32(at if at < last else last)


@cpu_kernel
def _cell(x: np.float32, y: np.float32, z: np.float32, cells: Cells) -> np.int64:
    """The cell of a point, row-major; rows x columns for a point outside the crop."""
    inside = (x >= cells.low[0]) & (x < cells.high[0])
    inside &= (y >= cells.low[1]) & (y < cells.high[1])
    inside &= (z >= cells.low[2]) & (z < cells.high[2])
    x64, y64, z64 = np.float64(x), np.float64(y), np.float64(z)
    column = np.int64(cells.azimuth.least[_bin(y / x, cells.azimuth)])
    column += np.int64(y64 <= cells.azimuth.edge[column + 1] * x64)
    across = x64 * x64 + y64 * y64
    row = np.int64(cells.elevation.least[_bin(z / np.sqrt(np.float32(across)), cells.elevation)])
    row += np.int64(z64 * np.abs(z64) <= cells.elevation.edge[row + 1] * across)
    return row * cells.columns + column if inside else np.int64(cells.rows * cells.columns)


@cpu_kernel
def _last_pixels(disparity: Disparity, rays: Projection, cells: Cells, last: Indices, chunk: int, chunks: int) -> None:
    width = disparity.shape[1]
    kept = np.empty(width, np.uint8)
    x, y, z = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    cell = np.empty(width, np.int64)
    nowhere = cells.rows * cells.columns
    for first in range(chunk * _BAND, len(disparity), chunks * _BAND):
        for v in range(first, min(first + _BAND, len(disparity))):
            _row(disparity, rays, v, kept, x, y, z)
            for u in range(width):
                cell[u] = _cell(x[u], y[u], z[u], cells) if kept[u] else nowhere
            for u in range(width):
                last[cell[u]] = v * width + u


@cpu_kernel
def _last_points(points: Points, cells: Cells, last: Indices, chunk: int, chunks: int) -> None:
    for i in range(len(points) * chunk // chunks, len(points) * (chunk + 1) // chunks):
        last[_cell(points[i, 0], points[i, 1], points[i, 2], cells)] = i


# Memory for clouds is used again: the system takes longer to hand out fresh memory than kernels take to fill it.
# Smaller clouds come from numpy, whose allocator keeps what it needs for them.
_SMALLEST_POINTS = 1 << 16
# Blocks are whole multiples of this many points, 1 MiB, so that clouds of much the same size fit each other's.
_STEP_POINTS = 1 << 16
# Kept for the next clouds, at most: this many blocks, none of more than 64 MiB.
_MOST_BLOCKS = 4
_LARGEST_POINTS = 1 << 22

# Its single operations are atomic; a lock could be waited for by the very thread that holds it, since memory comes back
# whenever the interpreter collects garbage.
_kept: deque[NDArray[np.float32]] = deque(maxlen=_MOST_BLOCKS)


class _Lent:
    """Owner of a block; numpy arrays on it, and views and tensors of them, keep it alive; then the block comes back."""

    def __init__(self, block: NDArray[np.float32]) -> None:
        self._block = block
        self.__array_interface__ = block.__array_interface__

    def __del__(self, kept: deque[NDArray[np.float32]] = _kept) -> None:
        if len(self._block) <= _LARGEST_POINTS:
            kept.append(self._block)  # full: the block that has been there longest goes


def empty_points(count: int) -> NDArray[np.float32]:
    """An array (count, 4) of any content, in memory that an earlier cloud no longer needs, if there is some."""
    if count < _SMALLEST_POINTS:
        return np.empty((count, 4), np.float32)
    block = None
    for _ in range(len(_kept)):
        try:
            candidate = _kept.pop()
        except IndexError:
            break
        if count <= len(candidate) <= 2 * count:
            block = candidate
            break
        _kept.appendleft(candidate)
    if block is None:
        block = np.empty((-(-count // _STEP_POINTS) * _STEP_POINTS, 4), np.float32)
    return np.asarray(_Lent(block))[:count]
