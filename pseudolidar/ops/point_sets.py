"""Operations on point sets, PointNet++'s (Qi et al., NeurIPS 2017) among them, with their gradients.

Distances are squared ones in float32, (dx * dx + dy * dy) + dz * dz, each operation rounded, so that every device
finds the same. All raise ValueError for tensors of another shape, type or device, and for numbers out of their range.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pseudolidar.ops import grouping_cpu, searches_cpu
from pseudolidar.ops import point_sets_reference as reference
from pseudolidar.ops.operators import check, check_count, operator  # fmt: skip

_CUDA = "pseudolidar.ops.point_sets_cuda"


def furthest_point_sample(points: Tensor, count: int) -> Tensor:
    """Furthest point sampling: points one by one, each the furthest from those before (Eldar et al. 1997; PointNet++).

    From points float32 (B, N, 3), m, N >= 1: indices int64 (B, count) in the order of choice; no gradient flows
    through. The first is point 0; of points equally far the lowest index is chosen; once all are taken index 0 repeats.
    A point with NaN or infinite coordinates is chosen only as point 0; every finite point is then infinitely far.
    """
    check("points", points, "(B, N, 3)", [torch.float32])
    check_count(count)
    if points.shape[1] == 0:
        raise ValueError(f"points: found shape {tuple(points.shape)}, expected at least one point")
    return _furthest_point_sample(points.detach(), count)


def ball_query(points: Tensor, centres: Tensor, radius: float, count: int) -> tuple[Tensor, Tensor]:
    """The first points by index around each centre (PointNet++, 3.2): indices int64 (B, M, count), number int64 (B, M).

    Points and centres are float32 (B, N, 3) and (B, M, 3), m. A point belongs to a ball if its squared distance is
    below the squared radius (m) in float32; NaN belongs to none. Indices ascend; where fewer than `count` are found the
    first of them fills the rest, 0 if there is none. The number is at most `count`.
    """
    check("points", points, "(B, N, 3)", [torch.float32])
    check("centres", centres, "(B, M, 3)", [torch.float32], beside=points)
    check_count(count)
    if not radius > 0:
        raise ValueError(f"radius: found {radius}, expected a positive number of metres")
    return _ball_query(points.detach(), centres.detach(), float(np.float32(radius) * np.float32(radius)), count)


def three_nearest(points: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """The three known points nearest to each point, of those equally far the first (PointNet++, 3.4; its `three_nn`).

    Squared distances float32 (B, N, 3), m^2, ascending, and indices int64 (B, N, 3), from points float32 (B, N, 3) and
    (B, M, 3), m. Where fewer than three are at a finite distance: distance infinity, index 0.
    """
    check("points", points, "(B, N, 3)", [torch.float32])
    check("known", known, "(B, M, 3)", [torch.float32], beside=points)
    return _three_nearest(points.detach(), known.detach())


def group(features: Tensor, index: Tensor) -> Tensor:
    """Rows (B, ..., C) of floating features (B, N, C) by index (`group_point`, `grouping_operation` elsewhere).

    The index is int64 (B, ...), from 0 to N - 1. Gradients of one row are summed in float32 at least.
    """
    check("features", features, "(B, N, C)")
    check("index", index, "(B, N, ...)", [torch.int64], beside=features)
    return _group(features, index.flatten(1)).view(*index.shape, features.shape[2])


def interpolate(features: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums (B, N, C) of three rows of features each (PointNet++, 3.4; `three_interpolate` in its code).

    Features are floating (B, M, C), weights floating (B, N, 3), the index int64 (B, N, 3), from 0 to M - 1. Sums have
    the features' type and are taken in float32 at least. Gradients reach features and weight.
    """
    check("features", features, "(B, M, C)")
    check("index", index, "(B, N, 3)", [torch.int64], beside=features)
    check("weight", weight, f"(B, {index.shape[1]}, 3)", beside=features)
    return _interpolate(features, index, weight)


def segment_max(rows: Tensor, starts: Tensor) -> Tensor:
    """The maximum (S, C), channel by channel, over each segment of floating rows (R, C); 0 for an empty segment.

    `starts`, int64 (S + 1,), ascends from 0 to R; segment s holds rows starts[s] to starts[s + 1] - 1. NaN is larger
    than any number. The gradient goes to the first maximum.
    """
    check("rows", rows, "(R, C)")
    check("starts", starts, "(S + 1,)", [torch.int64], beside=rows)
    if not len(starts):
        raise ValueError("starts: found shape (0,), expected (S + 1,)")
    return _segment_max(rows, starts)[0]


_furthest_point_sample = operator(
    reference.furthest_point_sample,
    lambda points, count: points.new_empty((len(points), count), dtype=torch.int64),
    searches_cpu.furthest_point_sample,
    "pseudolidar.ops.sampling_cuda",
)
_ball_query = operator(
    reference.ball_query,
    lambda points, centres, squared_radius, count: (
        points.new_empty((*centres.shape[:2], count), dtype=torch.int64),
        points.new_empty(centres.shape[:2], dtype=torch.int64),
    ),
    searches_cpu.ball_query,
    _CUDA,
)
_three_nearest = operator(
    reference.three_nearest,
    lambda points, known: (points.new_empty(points.shape), points.new_empty(points.shape, dtype=torch.int64)),
    searches_cpu.three_nearest,
    _CUDA,
)


def _keep_for_group(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    features, index = inputs
    ctx.points = features.shape[1]
    ctx.save_for_backward(index)


def _through_group(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    (index,) = ctx.saved_tensors
    return _group_backward(gradient, index, ctx.points), None


# On a GPU rows are gathered and summed by PyTorch's own kernels.
_group = operator(
    reference.group,
    lambda features, index: features.new_empty((*index.shape, features.shape[2])),
    grouping_cpu.group,
    backward=(_keep_for_group, _through_group),
)
_group_backward = operator(
    reference.group_backward,
    lambda gradient, index, points: gradient.new_empty((len(index), points, gradient.shape[2])),
    grouping_cpu.group_backward,
)


def _keep_for_interpolate(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _through_interpolate(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
    features, index, weight = ctx.saved_tensors
    of_features = of_weight = None
    if ctx.needs_input_grad[0]:
        of_features = _interpolate_backward(gradient, index, weight, features.shape[1])
    if ctx.needs_input_grad[2]:
        # Plain PyTorch: weights by distance, as PointNet++ has them, need none.
        of_weight = reference.interpolate_backward_weight(gradient, features, index).to(weight.dtype)
    return of_features, None, of_weight


_interpolate = operator(
    reference.interpolate,
    lambda features, index, weight: features.new_empty((*index.shape[:2], features.shape[2])),
    grouping_cpu.interpolate,
    backward=(_keep_for_interpolate, _through_interpolate),
)
_interpolate_backward = operator(
    reference.interpolate_backward,
    lambda gradient, index, weight, points: gradient.new_empty((len(index), points, gradient.shape[2])),
    grouping_cpu.interpolate_backward,
)


def _keep_for_segment_max(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.rows = len(inputs[0])
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(output[1])


def _through_segment_max(ctx: Any, gradient: Tensor, _: Tensor | None) -> tuple[Tensor, None]:
    (first,) = ctx.saved_tensors
    return _segment_max_backward(gradient, first, ctx.rows), None


_segment_max = operator(
    reference.segment_max,
    lambda rows, starts: (
        rows.new_empty((len(starts) - 1, rows.shape[1])),
        rows.new_empty((len(starts) - 1, rows.shape[1]), dtype=torch.int64),
    ),
    grouping_cpu.segment_max,
    _CUDA,
    backward=(_keep_for_segment_max, _through_segment_max),
)
_segment_max_backward = operator(
    reference.segment_max_backward,
    lambda gradient, first, rows: gradient.new_empty((rows, gradient.shape[1])),
    grouping_cpu.segment_max_backward,
)
