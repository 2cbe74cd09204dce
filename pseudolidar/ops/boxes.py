"""Operations on rotated boxes: overlaps of all pairs, non-maximum suppression, points in boxes and RoI pooling.

A box is x y z h w l ry in the rectified camera frame (m, rad): y at the bottom face, ry about the y axis. All raise
ValueError for tensors of another shape, type or device, and for numbers out of their range.
"""

import torch
from torch import Tensor

from pseudolidar.ops import boxes_cpu
from pseudolidar.ops import boxes_reference as reference
from pseudolidar.ops.operators import check, check_count, operator

_CUDA = "pseudolidar.ops.boxes_cuda"
_BOX_TYPES = (torch.float32, torch.float64)


def bev_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union (IoU), (N, M), of the ground rectangles of boxes (N, 7) and (M, 7), in bird's eye view.

    Boxes and result are all float32 or all float64; no gradient flows through. Computed in float64 in the axes of the
    box of `a`: equal boxes give exactly 1, none gives more. Lengths and widths count without their sign; a box without
    area, or with a number that is not finite, overlaps with nothing.
    """
    _check_pair(a, b)
    return _bev_iou(finite_boxes(a), finite_boxes(b))


def bev_iou_axis_aligned(a: Tensor, b: Tensor) -> Tensor:
    """`bev_iou` as if every ry were 0: rectangles x +- l / 2, z +- w / 2 (PointRCNN's "normal" overlap)."""
    _check_pair(a, b)
    return _bev_iou_axis_aligned(finite_boxes(a), finite_boxes(b))


def iou_3d(a: Tensor, b: Tensor) -> Tensor:
    """`bev_iou` of the volumes: boxes fill y - h to y; one of negative height overlaps with nothing."""
    _check_pair(a, b)
    return _iou_3d(finite_boxes(a), finite_boxes(b))


def nms(boxes: Tensor, scores: Tensor, threshold: float, rotated: bool, max_kept: int | None = None) -> Tensor:
    """Non-maximum suppression: keep a box unless its IoU with a kept one of a higher score is above a threshold.

    Args:
        boxes: float32 or float64 (N, 7). A box with a number that is not finite has an IoU of 0 with all others.
        scores: (N,), of any floating type. Of equal scores the lowest index comes first; NaN comes last.
        threshold: of IoU in bird's eye view, 0 to 1; at exactly the threshold a box stays.
        rotated: IoU as by `bev_iou`; otherwise by `bev_iou_axis_aligned`.
        max_kept: None keeps all that stay.

    Returns:
        int64 (K,), indices of the boxes that stay, the best first.
    """
    check("boxes", boxes, "(N, 7)", _BOX_TYPES)
    check("scores", scores, f"({len(boxes)},)", beside=boxes)
    _check_threshold(threshold)
    if max_kept is not None and max_kept < 1:
        raise ValueError(f"max_kept: found {max_kept}, expected 1 or more")
    most = len(boxes) if max_kept is None else min(len(boxes), max_kept)
    order = reference.by_score(scores.detach())
    number = torch.full((1,), len(boxes), device=boxes.device)
    kept = _nms_best_first(finite_boxes(boxes)[order][None], number, threshold, rotated, most)[0]
    return order[kept[kept >= 0]]


def nms_best_first(boxes: Tensor, number: Tensor, threshold: float, rotated: bool, count: int) -> Tensor:
    """Non-maximum suppression in several scenes, with a result of one shape: nobody has to wait for a GPU to know it.

    Args:
        boxes: float32 or float64 (B, N, 7), the best of each scene first; see `nms`.
        number: int64 (B,), how many of a scene's N boxes count: the first, 0 to N.
        threshold, rotated: see `nms`.
        count: of boxes kept in a scene, at most.

    Returns:
        int64 (B, count), the numbers of the boxes that stay, ascending; -1 fills up.
    """
    check("boxes", boxes, "(B, N, 7)", _BOX_TYPES)
    check("number", number, f"({len(boxes)},)", [torch.int64], beside=boxes)
    _check_threshold(threshold)
    return _nms_best_first(finite_boxes(boxes), number, threshold, rotated, count)


def points_in_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """The box of each point: int64 (B, N), the lowest number of a box that holds the point, -1 for none.

    Points are float32 (B, N, 3) in the rectified camera frame, m, boxes float32 (B, M, 7). A box holds points within
    half its length and half its width of its centre, along its own axes, and from y - h to y; faces are included. In
    float32; all devices agree. A box without volume or with NaN holds nothing, and no box holds a point with NaN.
    """
    _check_points_and_boxes(points, boxes)
    return _points_in_boxes(points.detach(), boxes.detach())


def roi_pool_points(points: Tensor, boxes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """RoI pooling of points: the first `count`, by their index, inside each box (PointRCNN, CVPR 2019, section 3.3).

    Args:
        points, boxes: as for `points_in_boxes`.
        count: slots of each box. A box with fewer points repeats them: slot k has point k modulo their number; without
            any point all slots have index 0.

    Returns:
        index int64 (B, M, count) into the N points, and how many of them are different, int64 (B, M), 0 to count.
    """
    _check_points_and_boxes(points, boxes)
    check_count(count)
    return _roi_pool_points(points.detach(), boxes.detach(), count)


def finite_boxes(boxes: Tensor) -> Tensor:
    """Boxes (..., 7) without gradient; one with a number that is not finite becomes zeros: it overlaps with nothing."""
    boxes = boxes.detach()
    return torch.where(torch.isfinite(boxes).all(dim=-1, keepdim=True), boxes, 0)


def _check_threshold(threshold: float) -> None:
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold: found {threshold}, expected 0 to 1")


def _check_pair(a: Tensor, b: Tensor) -> None:
    check("a", a, "(N, 7)", _BOX_TYPES)
    check("b", b, "(N, 7)", _BOX_TYPES, beside=a)
    if a.dtype != b.dtype:
        raise ValueError(f"b: found {b.dtype}, expected {a.dtype} as of a")


def _check_points_and_boxes(points: Tensor, boxes: Tensor) -> None:
    check("points", points, "(B, N, 3)", [torch.float32])
    check("boxes", boxes, "(B, M, 7)", [torch.float32], beside=points)


def _pairs(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty((len(a), len(b)))


_bev_iou = operator(reference.bev_iou, _pairs, boxes_cpu.bev_iou, _CUDA)
_iou_3d = operator(reference.iou_3d, _pairs, boxes_cpu.iou_3d, _CUDA)
# On every device as fast as a kernel: a few operations on whole matrices.
_bev_iou_axis_aligned = operator(reference.bev_iou_axis_aligned, _pairs)
_nms_best_first = operator(
    reference.nms_best_first,
    lambda boxes, number, threshold, rotated, count: boxes.new_empty((len(boxes), count), dtype=torch.int64),
    boxes_cpu.nms_best_first,
    _CUDA,
)
_points_in_boxes = operator(
    reference.points_in_boxes,
    lambda points, boxes: points.new_empty(points.shape[:2], dtype=torch.int64),
    boxes_cpu.points_in_boxes,
    _CUDA,
)
_roi_pool_points = operator(
    reference.roi_pool_points,
    lambda points, boxes, count: (
        points.new_empty((*boxes.shape[:2], count), dtype=torch.int64),
        points.new_empty(boxes.shape[:2], dtype=torch.int64),
    ),
    boxes_cpu.roi_pool_points,
    _CUDA,
)
