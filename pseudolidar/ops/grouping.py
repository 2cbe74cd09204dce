"""Features by index: rows gathered, weighted sums of three rows, maxima over segments of rows; with their gradients."""

from typing import Any

import torch
from torch import Tensor

from pseudolidar.ops import grouping_cpu as cpu
from pseudolidar.ops import point_sets_reference as reference
from pseudolidar.ops.point_sets import check_beside, check_device, check_features, check_index, gpu_backend


def group(features: Tensor, index: Tensor) -> Tensor:
    """The rows of features that an index names, scene by scene.

    Args:
        features: floating (B, N, C). Its gradient sums, in float32 at least, over the rows' gradients.
        index: int64 (B, ...), each from 0 to N - 1.

    Returns:
        (B, ..., C).

    Raises:
        ValueError: features or index of another shape, type or device.
    """
    check_features("features", features, "(B, N, C)")
    check_index("index", index)
    if index.ndim < 2:
        raise ValueError(f"index: found shape {tuple(index.shape)}, expected (B, ...)")
    check_beside("index", index, features)
    rows = _group(features, index.flatten(1))
    return rows.view(*index.shape, features.shape[2])


@torch.library.custom_op("pseudolidar::group", mutates_args=())
def _group(features: Tensor, index: Tensor) -> Tensor:
    return reference.group(features, index)


@_group.register_kernel("cpu")
def _group_on_cpu(features: Tensor, index: Tensor) -> Tensor:
    return cpu.group(features, index)


@_group.register_fake
def _group_shape(features: Tensor, index: Tensor) -> Tensor:
    return features.new_empty((*index.shape, features.shape[2]))


@torch.library.custom_op("pseudolidar::group_backward", mutates_args=())
def _group_backward(gradient: Tensor, index: Tensor, points: int) -> Tensor:
    return reference.group_backward(gradient, index, points)


@_group_backward.register_kernel("cpu")
def _group_backward_on_cpu(gradient: Tensor, index: Tensor, points: int) -> Tensor:
    return cpu.group_backward(gradient, index, points)


@_group_backward.register_fake
def _group_backward_shape(gradient: Tensor, index: Tensor, points: int) -> Tensor:
    return gradient.new_empty((len(index), points, gradient.shape[2]))


def _keep_for_group(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    features, index = inputs
    ctx.points = features.shape[1]
    ctx.save_for_backward(index)


def _through_group(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    (index,) = ctx.saved_tensors
    return _group_backward(gradient, index, ctx.points), None


_group.register_autograd(_through_group, setup_context=_keep_for_group)


def interpolate(features: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Sums of three rows of features, each times its weight (PointNet++, 3.4).

    Args:
        features: floating (B, M, C).
        index: int64 (B, N, 3), each from 0 to M - 1.
        weight: floating (B, N, 3).

    Returns:
        (B, N, C) of the features' type; sums are taken in float32 at least. Gradients reach features and weight.

    Raises:
        ValueError: features, index or weight of another shape, type or device.
    """
    check_features("features", features, "(B, M, C)")
    check_features("weight", weight, "(B, N, 3)")
    check_index("index", index)
    if index.shape != weight.shape or index.shape[2] != 3:
        found = f"{tuple(index.shape)} and {tuple(weight.shape)}"
        raise ValueError(f"index and weight: found shapes {found}, expected (B, N, 3) for both")
    check_beside("index", index, features)
    check_device("weight", weight, features)
    return _interpolate(features, index, weight)


@torch.library.custom_op("pseudolidar::interpolate", mutates_args=())
def _interpolate(features: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    return reference.interpolate(features, index, weight)


@_interpolate.register_kernel("cpu")
def _interpolate_on_cpu(features: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    return cpu.interpolate(features, index, weight)


@_interpolate.register_fake
def _interpolate_shape(features: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    return features.new_empty((*index.shape[:2], features.shape[2]))


@torch.library.custom_op("pseudolidar::interpolate_backward", mutates_args=())
def _interpolate_backward(gradient: Tensor, index: Tensor, weight: Tensor, points: int) -> Tensor:
    return reference.interpolate_backward(gradient, index, weight, points)


@_interpolate_backward.register_kernel("cpu")
def _interpolate_backward_on_cpu(gradient: Tensor, index: Tensor, weight: Tensor, points: int) -> Tensor:
    return cpu.interpolate_backward(gradient, index, weight, points)


@_interpolate_backward.register_fake
def _interpolate_backward_shape(gradient: Tensor, index: Tensor, weight: Tensor, points: int) -> Tensor:
    return gradient.new_empty((len(index), points, gradient.shape[2]))


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


_interpolate.register_autograd(_through_interpolate, setup_context=_keep_for_interpolate)


def segment_max(rows: Tensor, starts: Tensor) -> Tensor:
    """The maximum, channel by channel, over each segment of rows.

    Args:
        rows: floating (R, C). NaN is larger than any number. The gradient goes to the first maximum.
        starts: int64 (S + 1,), ascending, from 0 to R; segment s holds rows starts[s] to starts[s + 1] - 1.

    Returns:
        (S, C); 0 for an empty segment.

    Raises:
        ValueError: rows or starts of another shape, type or device.
    """
    check_features("rows", rows, "(R, C)")
    check_index("starts", starts)
    if starts.ndim != 1 or len(starts) == 0:
        raise ValueError(f"starts: found shape {tuple(starts.shape)}, expected (S + 1,)")
    check_device("starts", starts, rows)
    maxima, _ = _segment_max(rows, starts)
    return maxima


@torch.library.custom_op("pseudolidar::segment_max", mutates_args=())
def _segment_max(rows: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    return reference.segment_max(rows, starts)


@_segment_max.register_kernel("cpu")
def _segment_max_on_cpu(rows: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    return cpu.segment_max(rows, starts)


@_segment_max.register_kernel("cuda")
def _segment_max_on_cuda(rows: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    return gpu_backend().segment_max(rows.contiguous(), starts.contiguous())


@_segment_max.register_fake
def _segment_max_shapes(rows: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    shape = (len(starts) - 1, rows.shape[1])
    return rows.new_empty(shape), rows.new_empty(shape, dtype=torch.int64)


@torch.library.custom_op("pseudolidar::segment_max_backward", mutates_args=())
def _segment_max_backward(gradient: Tensor, first: Tensor, rows: int) -> Tensor:
    return reference.segment_max_backward(gradient, first, rows)


@_segment_max_backward.register_kernel("cpu")
def _segment_max_backward_on_cpu(gradient: Tensor, first: Tensor, rows: int) -> Tensor:
    return cpu.segment_max_backward(gradient, first, rows)


@_segment_max_backward.register_fake
def _segment_max_backward_shape(gradient: Tensor, first: Tensor, rows: int) -> Tensor:
    return gradient.new_empty((rows, gradient.shape[1]))


def _keep_for_segment_max(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.rows = len(inputs[0])
    ctx.save_for_backward(output[1])
    ctx.mark_non_differentiable(output[1])


def _through_segment_max(ctx: Any, gradient: Tensor, _: Tensor | None) -> tuple[Tensor, None]:
    (first,) = ctx.saved_tensors
    return _segment_max_backward(gradient, first, ctx.rows), None


_segment_max.register_autograd(_through_segment_max, setup_context=_keep_for_segment_max)
