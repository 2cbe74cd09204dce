"""Non-maximum suppression of boxes by their overlap in bird's eye view."""

import torch
from torch import Tensor
from torch.library import custom_op, get_ctx

from pseudolidar.ops import boxes_cpu
from pseudolidar.ops import boxes_reference as reference
from pseudolidar.ops.boxes import check_boxes, finite_boxes, gpu_backend
from pseudolidar.ops.point_sets import check_device


def nms(boxes: Tensor, scores: Tensor, threshold: float, rotated: bool, max_kept: int | None = None) -> Tensor:
    """Keep a box unless its overlap with one that is kept already, of a higher score, is above a threshold.

    Args:
        boxes: float32 or float64 (N, 7), x y z h w l ry in the rectified camera frame, m and rad.
        scores: (N,), of any floating type. Of equal scores the lowest index comes first; NaN comes last.
        threshold: of intersection over union in bird's eye view, 0 to 1; at exactly the threshold a box stays. An
            overlap with a box that has a number that is not finite is 0.
        rotated: overlap as by `bev_iou`; otherwise by `bev_iou_axis_aligned`.
        max_kept: the most boxes to keep; None keeps all that stay.

    Returns:
        int64 (K,), indices of the boxes that stay, the best first.

    Raises:
        ValueError: other shapes or types, two devices, a threshold or max_kept out of range.
    """
    check_boxes("boxes", boxes)
    if scores.shape != boxes.shape[:1]:
        raise ValueError(f"scores: found shape {tuple(scores.shape)}, expected ({len(boxes)},), one a box")
    if not scores.is_floating_point():
        raise ValueError(f"scores: found {scores.dtype}, expected a floating type")
    check_device("scores", scores, boxes)
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold: found {threshold}, expected 0 to 1")
    if max_kept is not None and max_kept < 1:
        raise ValueError(f"max_kept: found {max_kept}, expected 1 or more")
    most = len(boxes) if max_kept is None else max_kept
    return _nms(finite_boxes(boxes), scores.detach(), threshold, rotated, most)


@custom_op("pseudolidar::nms", mutates_args=())
def _nms(boxes: Tensor, scores: Tensor, threshold: float, rotated: bool, max_kept: int) -> Tensor:
    return reference.nms(boxes, scores, threshold, rotated, max_kept)


@_nms.register_kernel("cpu")
def _on_cpu(boxes: Tensor, scores: Tensor, threshold: float, rotated: bool, max_kept: int) -> Tensor:
    return boxes_cpu.nms(boxes, scores, threshold, rotated, max_kept)


@_nms.register_kernel("cuda")
def _on_cuda(boxes: Tensor, scores: Tensor, threshold: float, rotated: bool, max_kept: int) -> Tensor:
    return gpu_backend().nms(boxes, scores, threshold, rotated, max_kept)


@_nms.register_fake
def _shape(boxes: Tensor, scores: Tensor, threshold: float, rotated: bool, max_kept: int) -> Tensor:
    return boxes.new_empty(get_ctx().new_dynamic_size(), dtype=torch.int64)
