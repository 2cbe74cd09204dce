"""Neighbours in space: the points in a ball, the three nearest points."""

import numpy as np
import torch
from torch import Tensor

from pseudolidar.ops import point_sets_reference as reference
from pseudolidar.ops import searches_cpu
from pseudolidar.ops.point_sets import check_count, check_points, gpu_backend


def ball_query(points: Tensor, centres: Tensor, radius: float, count: int) -> tuple[Tensor, Tensor]:
    """The first points, by index, around each centre (PointNet++, 3.2).

    A point belongs to a ball if its squared distance, (dx * dx + dy * dy) + dz * dz in float32 with each operation
    rounded, is below the squared radius in float32. NaN belongs to none.

    Args:
        points: float32 (B, N, 3), m.
        centres: float32 (B, M, 3), m.
        radius: m.
        count: of points for each centre.

    Returns:
        indices int64 (B, M, count), ascending; where fewer are found the first of them fills the rest, 0 if there is
        none; and int64 (B, M), how many were found, at most count.

    Raises:
        ValueError: points or centres of another shape, type or device; a radius that isn't positive; count < 1.
    """
    check_points("points", points)
    check_points("centres", centres, beside=points)
    check_count(count)
    if not radius > 0:
        raise ValueError(f"radius: found {radius}, expected a positive number of metres")
    return _ball_query(points.detach(), centres.detach(), float(np.float32(radius) * np.float32(radius)), count)


@torch.library.custom_op("pseudolidar::ball_query", mutates_args=())
def _ball_query(points: Tensor, centres: Tensor, squared_radius: float, count: int) -> tuple[Tensor, Tensor]:
    return reference.ball_query(points, centres, squared_radius, count)


@_ball_query.register_kernel("cpu")
def _ball_query_on_cpu(points: Tensor, centres: Tensor, squared_radius: float, count: int) -> tuple[Tensor, Tensor]:
    arrays = points.contiguous().numpy(), centres.contiguous().numpy()
    index, found = searches_cpu.ball_query(*arrays, squared_radius, count)
    return torch.from_numpy(index), torch.from_numpy(found)


@_ball_query.register_kernel("cuda")
def _ball_query_on_cuda(points: Tensor, centres: Tensor, squared_radius: float, count: int) -> tuple[Tensor, Tensor]:
    return gpu_backend().ball_query(points.contiguous(), centres.contiguous(), squared_radius, count)


@_ball_query.register_fake
def _ball_query_shapes(points: Tensor, centres: Tensor, squared_radius: float, count: int) -> tuple[Tensor, Tensor]:
    shape = centres.shape[:2]
    return points.new_empty((*shape, count), dtype=torch.int64), points.new_empty(shape, dtype=torch.int64)


def three_nearest(points: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """The three known points nearest to each point (PointNet++, 3.4).

    Distances are squared ones in float32, (dx * dx + dy * dy) + dz * dz, each operation rounded; of points equally far
    those with the lowest indices are taken.

    Args:
        points: float32 (B, N, 3), m.
        known: float32 (B, M, 3), m.

    Returns:
        squared distances float32 (B, N, 3), m^2, ascending, and indices int64 (B, N, 3). Where fewer than three known
        points are at a finite distance: distance infinity, index 0.

    Raises:
        ValueError: points or known of another shape, type or device.
    """
    check_points("points", points)
    check_points("known", known, beside=points)
    return _three_nearest(points.detach(), known.detach())


@torch.library.custom_op("pseudolidar::three_nearest", mutates_args=())
def _three_nearest(points: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    return reference.three_nearest(points, known)


@_three_nearest.register_kernel("cpu")
def _three_nearest_on_cpu(points: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    squared, index = searches_cpu.three_nearest(points.contiguous().numpy(), known.contiguous().numpy())
    return torch.from_numpy(squared), torch.from_numpy(index)


@_three_nearest.register_kernel("cuda")
def _three_nearest_on_cuda(points: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    return gpu_backend().three_nearest(points.contiguous(), known.contiguous())


@_three_nearest.register_fake
def _three_nearest_shapes(points: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    return points.new_empty(points.shape), points.new_empty(points.shape, dtype=torch.int64)
