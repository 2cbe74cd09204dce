"""Clouds on an NVIDIA GPU: numba-cuda kernels, one thread per pixel, without a dense cloud in between."""

import math
from typing import Any

import numba
import torch
from numba import cuda
from torch import Tensor

from pseudolidar.cloud.grid import Cells
from pseudolidar.cloud.reference import FLOAT32_MAX, Projection
from pseudolidar.kernels.cuda import launch, rounded_product, rounded_sum


def dense_points(disparity: Tensor, projection: Projection) -> Tensor:
    """Every pixel's point within the limits, (N, 4); disparity float32 (H, W), contiguous."""
    pixels = disparity.numel()
    rays = _on_device(projection, disparity.device)
    keep = torch.empty(pixels, dtype=torch.uint8, device=disparity.device)
    launch(_keep, pixels, disparity, *rays, keep)
    ends = torch.cumsum(keep, 0, dtype=torch.int64)
    # The one wait for the device: the host must know how many points there are.
    points = disparity.new_empty((int(ends[-1]) if pixels else 0, 4))
    launch(_write, pixels, disparity, *rays, keep, ends, points)
    return points


def sparse_points(disparity: Tensor, projection: Projection, cells: Cells) -> Tensor:
    """The last point of each cell, of those that `dense_points` gives, in their order."""
    rays = _on_device(projection, disparity.device)
    edges = _edges_on_device(cells, disparity.device)
    last = torch.full((cells.rows * cells.columns,), -1, dtype=torch.int64, device=disparity.device)
    launch(_last_pixels, disparity.numel(), disparity, *rays, *edges, last)
    last = _increasing(last)
    points = disparity.new_empty((len(last), 4))
    launch(_write_pixels, len(last), disparity, *rays, last, points)
    return points


def last_of_each_cell(points: Tensor, cells: Cells) -> Tensor:
    """Indices of the points that are the last of their cell, int64, increasing; points float32 (N, 4), contiguous."""
    last = torch.full((cells.rows * cells.columns,), -1, dtype=torch.int64, device=points.device)
    launch(_last_points, len(points), points, *_edges_on_device(cells, points.device), last)
    return _increasing(last)


def _increasing(last: Tensor) -> Tensor:
    found = torch.sort(last).values
    return found[len(found) - int((found >= 0).sum()) :]


def _on_device(projection: Projection, device: torch.device) -> tuple[Tensor, Tensor, tuple[float, ...]]:
    rows, columns = (torch.from_numpy(part).to(device) for part in (projection.rows, projection.columns))
    return rows, columns, (*map(float, projection.offset), *projection[3:])


def _edges_on_device(cells: Cells, device: torch.device) -> tuple[Tensor, Tensor, tuple[float, ...]]:
    elevation, azimuth = (torch.from_numpy(edges.edge).to(device) for edges in (cells.elevation, cells.azimuth))
    return elevation, azimuth, (*map(float, cells.low), *map(float, cells.high))


@cuda.jit(device=True)
def _point(disparity: Any, i: Any, rows: Any, columns: Any, limits: Any) -> Any:
    """Whether pixel i yields a point, and the point in float64; `limits` as `_on_device` lists them."""
    v, u = i // disparity.shape[1], i % disparity.shape[1]
    offset_x, offset_y, offset_z, camera_constant, quantization = limits[:5]
    max_depth, max_height, x_highest, z_highest, _ = limits[5:]
    d = float(disparity[v, u])
    if not (d > 0.0 and d < math.inf):
        return False, 0.0, 0.0, 0.0
    if quantization > 0.0:
        d = rounded_product(float(math.floor(d / quantization)), quantization)
        if d == 0.0:
            return False, 0.0, 0.0, 0.0
    depth = camera_constant / d
    x = rounded_sum(rounded_product(rounded_sum(rows[0, v], columns[0, u]), depth), offset_x)
    y = rounded_sum(rounded_product(rounded_sum(rows[1, v], columns[1, u]), depth), offset_y)
    z = rounded_sum(rounded_product(rounded_sum(rows[2, v], columns[2, u]), depth), offset_z)
    keep = x >= 0.0 and x < max_depth and z < max_height and z > -FLOAT32_MAX and abs(y) < FLOAT32_MAX
    return keep, min(x, x_highest), y, min(z, z_highest)


@cuda.jit
def _keep(disparity: Any, rows: Any, columns: Any, limits: Any, keep: Any, pixels: Any) -> None:
    i = cuda.grid(1)
    if i < pixels:
        keep[i] = 1 if _point(disparity, i, rows, columns, limits)[0] else 0


@cuda.jit
def _write(
    disparity: Any, rows: Any, columns: Any, limits: Any, keep: Any, ends: Any, points: Any, pixels: Any
) -> None:
    i = cuda.grid(1)
    if i < pixels and keep[i]:
        _store(disparity, i, rows, columns, limits, points, ends[i] - 1)


@cuda.jit
def _write_pixels(disparity: Any, rows: Any, columns: Any, limits: Any, pixels: Any, points: Any, count: Any) -> None:
    i = cuda.grid(1)
    if i < count:
        _store(disparity, pixels[i], rows, columns, limits, points, i)


@cuda.jit(device=True)
def _store(disparity: Any, i: Any, rows: Any, columns: Any, limits: Any, points: Any, at: Any) -> None:
    _, points[at, 0], points[at, 1], points[at, 2] = _point(disparity, i, rows, columns, limits)
    points[at, 3] = limits[9]


@cuda.jit(device=True)
def _passed(edge: Any, value: Any, scale: Any) -> Any:
    """How many edges 1 .. n - 1 have value <= edge * scale; edges fall, so that those come first."""
    low, high = 0, len(edge) - 2
    while low < high:
        middle = (low + high + 1) // 2
        if value <= edge[middle] * scale:
            low = middle
        else:
            high = middle - 1
    return low


@cuda.jit(device=True)
def _to_cell(x: Any, y: Any, z: Any, elevation: Any, azimuth: Any, crop: Any, last: Any, i: Any) -> None:
    """Enter item i, whose point has float32 coordinates, into its cell: the last one stays, whatever the order."""
    low_x, low_y, low_z, high_x, high_y, high_z = crop
    if x >= low_x and x < high_x and y >= low_y and y < high_y and z >= low_z and z < high_z:
        # Products of two float32 are exact in float64: fused or not, the sum is rounded once.
        row = _passed(elevation, z * abs(z), x * x + y * y)
        column = _passed(azimuth, y, x)
        cuda.atomic.max(last, row * (len(azimuth) - 1) + column, i)


@cuda.jit
def _last_pixels(
    disparity: Any,
    rows: Any,
    columns: Any,
    limits: Any,
    elevation: Any,
    azimuth: Any,
    crop: Any,
    last: Any,
    pixels: Any,
) -> None:
    i = cuda.grid(1)
    if i < pixels:
        keep, x, y, z = _point(disparity, i, rows, columns, limits)
        if keep:
            x, y, z = _rounded(x), _rounded(y), _rounded(z)
            _to_cell(x, y, z, elevation, azimuth, crop, last, i)


@cuda.jit
def _last_points(points: Any, elevation: Any, azimuth: Any, crop: Any, last: Any, count: Any) -> None:
    i = cuda.grid(1)
    if i < count:
        x, y, z = float(points[i, 0]), float(points[i, 1]), float(points[i, 2])
        _to_cell(x, y, z, elevation, azimuth, crop, last, i)


@cuda.jit(device=True)
def _rounded(value: Any) -> Any:
    return numba.float64(numba.float32(value))
