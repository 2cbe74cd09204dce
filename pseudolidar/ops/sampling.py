"""Furthest point sampling: a few points that cover a cloud."""

import torch
from torch import Tensor

from pseudolidar.ops import point_sets_reference as reference
from pseudolidar.ops import searches_cpu
from pseudolidar.ops.point_sets import check_count, check_points, gpu_backend


def furthest_point_sample(points: Tensor, count: int) -> Tensor:
    """Choose points one by one, each the furthest from those chosen before (Eldar et al. 1997; PointNet++, 3.2).

    The first is point 0; of points equally far the lowest index is chosen. Distances are squared ones in float32,
    (dx * dx + dy * dy) + dz * dz, each operation rounded, so that every device chooses the same. A point with NaN
    or infinite coordinates is chosen only as point 0, and then every finite point is infinitely far from it.

    Args:
        points: float32 (B, N, 3), m; N >= 1. No gradient flows through.
        count: how many; once all points are taken index 0 repeats.

    Returns:
        int64 (B, count), indices in the order in which they are chosen.

    Raises:
        ValueError: points of another shape or type, or none at all; count < 1.
    """
    check_points("points", points)
    check_count(count)
    if points.shape[1] == 0:
        raise ValueError(f"points: found shape {tuple(points.shape)}, expected at least one point")
    return _furthest_point_sample(points.detach(), count)


@torch.library.custom_op("pseudolidar::furthest_point_sample", mutates_args=())
def _furthest_point_sample(points: Tensor, count: int) -> Tensor:
    return reference.furthest_point_sample(points, count)


@_furthest_point_sample.register_kernel("cpu")
def _on_cpu(points: Tensor, count: int) -> Tensor:
    return torch.from_numpy(searches_cpu.furthest_point_sample(points.contiguous().numpy(), count))


@_furthest_point_sample.register_kernel("cuda")
def _on_cuda(points: Tensor, count: int) -> Tensor:
    return gpu_backend().furthest_point_sample(points.contiguous(), count)


@_furthest_point_sample.register_fake
def _shape(points: Tensor, count: int) -> Tensor:
    return points.new_empty((len(points), count), dtype=torch.int64)
