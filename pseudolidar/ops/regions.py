"""Which points lie in which rotated boxes: a label for each point, or a fixed number of points for each box."""

import torch
from torch import Tensor
from torch.library import custom_op

from pseudolidar.ops import boxes_cpu
from pseudolidar.ops import boxes_reference as reference
from pseudolidar.ops.boxes import gpu_backend
from pseudolidar.ops.point_sets import check_beside, check_count, check_points


def points_in_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """The box that holds each point.

    A box holds what is within half its length and half its width of its centre, along its own axes, and from y - h to
    y; faces are included. In float32; all devices agree. A box without volume holds nothing, a point or a box with NaN
    is in or holds nothing.

    Args:
        points: float32 (B, N, 3), x y z in the rectified camera frame, m.
        boxes: float32 (B, M, 7), x y z h w l ry in that frame, m and rad, y at the bottom face.

    Returns:
        int64 (B, N): the lowest number of a box that holds the point, -1 for none.

    Raises:
        ValueError: other shapes or types, or two devices.
    """
    _check(points, boxes)
    return _points_in_boxes(points.detach(), boxes.detach())


def roi_pool_points(points: Tensor, boxes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first `count` points, by their index, inside each box (region pooling; PointRCNN, CVPR 2019, section 3.3).

    Args:
        points: float32 (B, N, 3), as for `points_in_boxes`.
        boxes: float32 (B, M, 7), likewise.
        count: slots of each box. Where a box holds fewer points they repeat in turn: slot k has point k modulo their
            number; where it holds none all slots have index 0.

    Returns:
        index int64 (B, M, count) into the N points, and how many of them are different, int64 (B, M), 0 to count.

    Raises:
        ValueError: other shapes or types, two devices, a count under 1.
    """
    _check(points, boxes)
    check_count(count)
    return _roi_pool_points(points.detach(), boxes.detach(), count)


def _check(points: Tensor, boxes: Tensor) -> None:
    check_points("points", points)
    if boxes.ndim != 3 or boxes.shape[2] != 7:
        raise ValueError(f"boxes: found shape {tuple(boxes.shape)}, expected (B, M, 7)")
    if boxes.dtype != torch.float32:
        raise ValueError(f"boxes: found {boxes.dtype}, expected torch.float32")
    check_beside("boxes", boxes, points)


@custom_op("pseudolidar::points_in_boxes", mutates_args=())
def _points_in_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    return reference.points_in_boxes(points, boxes)


@_points_in_boxes.register_kernel("cpu")
def _points_in_boxes_on_cpu(points: Tensor, boxes: Tensor) -> Tensor:
    return boxes_cpu.points_in_boxes(points, boxes)


@_points_in_boxes.register_kernel("cuda")
def _points_in_boxes_on_cuda(points: Tensor, boxes: Tensor) -> Tensor:
    return gpu_backend().points_in_boxes(points, boxes)


@custom_op("pseudolidar::roi_pool_points", mutates_args=())
def _roi_pool_points(points: Tensor, boxes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    return reference.roi_pool_points(points, boxes, count)


@_roi_pool_points.register_kernel("cpu")
def _region_points_on_cpu(points: Tensor, boxes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    return boxes_cpu.roi_pool_points(points, boxes, count)


@_roi_pool_points.register_kernel("cuda")
def _region_points_on_cuda(points: Tensor, boxes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    return gpu_backend().roi_pool_points(points, boxes, count)


@_points_in_boxes.register_fake
def _shape_of_labels(points: Tensor, boxes: Tensor) -> Tensor:
    return points.new_empty(points.shape[:2], dtype=torch.int64)


@_roi_pool_points.register_fake
def _shapes_of_regions(points: Tensor, boxes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    return (
        points.new_empty((*boxes.shape[:2], count), dtype=torch.int64),
        points.new_empty(boxes.shape[:2], dtype=torch.int64),
    )
