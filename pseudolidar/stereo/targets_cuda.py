"""LiDAR to disparity on an NVIDIA GPU: numba-cuda kernels, one thread per point."""

from typing import Any, Literal

import torch
from numba import cuda
from torch import Tensor

from pseudolidar.kernels.cuda import launch, rounded_product, rounded_sum
from pseudolidar.stereo.lidar_projection import MIN_RANGE_M, LidarProjection


def on_cuda(points: Tensor, projection: LidarProjection, overlap: Literal["nearest", "last"]) -> Tensor:
    """The map of `lidar_disparity`; points float64 (N, 3), finite, contiguous."""
    size = (projection.height, projection.width)
    matrix = torch.from_numpy(projection.matrix).to(points.device)
    target = torch.zeros(size, dtype=torch.float32, device=points.device)
    if overlap == "nearest":
        launch(_nearest, len(points), points, matrix, projection.camera_constant, target)
    else:
        last = torch.full(size, -1, dtype=torch.int64, device=points.device)
        launch(_last, len(points), points, matrix, last)
        launch(_disparity_of_last, last.numel(), points, matrix, projection.camera_constant, last, target)
    return target


@cuda.jit(device=True)
def _row(matrix: Any, k: Any, points: Any, i: Any) -> Any:
    total = rounded_sum(rounded_product(matrix[k, 0], points[i, 0]), rounded_product(matrix[k, 1], points[i, 1]))
    return rounded_sum(rounded_sum(total, rounded_product(matrix[k, 2], points[i, 2])), matrix[k, 3])


@cuda.jit(device=True)
def _pixel(matrix: Any, points: Any, i: Any, target: Any) -> Any:
    """Row, column and depth of a point; row -1 where it is not in the image."""
    depth = _row(matrix, 3, points, i)
    w = _row(matrix, 2, points, i)
    if not (points[i, 0] > MIN_RANGE_M and depth > 0.0 and w != 0.0):
        return -1, -1, depth
    u, v = _row(matrix, 0, points, i) / w, _row(matrix, 1, points, i) / w
    # Half to even, as on the processor; bounds first, since a point close to the image plane projects anywhere.
    if not (u >= -0.5 and u <= target.shape[1] - 0.5 and v >= -0.5 and v <= target.shape[0] - 0.5):
        return -1, -1, depth
    row, column = round(v), round(u)
    if row >= target.shape[0] or column >= target.shape[1]:
        return -1, -1, depth
    return row, column, depth


@cuda.jit
def _nearest(points: Any, matrix: Any, camera_constant: Any, target: Any, count: Any) -> None:
    i = cuda.grid(1)
    if i < count:
        row, column, depth = _pixel(matrix, points, i, target)
        if row >= 0:
            cuda.atomic.max(target, (row, column), camera_constant / depth)


@cuda.jit
def _last(points: Any, matrix: Any, last: Any, count: Any) -> None:
    i = cuda.grid(1)
    if i < count:
        row, column, _ = _pixel(matrix, points, i, last)
        if row >= 0:
            cuda.atomic.max(last, (row, column), i)


@cuda.jit
def _disparity_of_last(points: Any, matrix: Any, camera_constant: Any, last: Any, target: Any, pixels: Any) -> None:
    pixel = cuda.grid(1)
    if pixel < pixels:
        row, column = pixel // target.shape[1], pixel % target.shape[1]
        i = last[row, column]
        if i >= 0:
            target[row, column] = camera_constant / _row(matrix, 3, points, i)
