"""Overlaps of rotated boxes, all pairs: in bird's eye view, in bird's eye view as if not rotated, and in 3D."""

from torch import Tensor
from torch.library import custom_op

from pseudolidar.ops import boxes_cpu
from pseudolidar.ops import boxes_reference as reference
from pseudolidar.ops.boxes import check_boxes, finite_boxes, gpu_backend
from pseudolidar.ops.point_sets import check_device


def bev_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of the boxes' rectangles on the ground.

    Computed in float64 in the axes of the box of `a`: boxes that are the same give 1 exactly, none gives more. Lengths
    and widths count without their sign; a box without area, or with a number that is not finite, overlaps with nothing.

    Args:
        a: float32 or float64 (N, 7), x y z h w l ry in the rectified camera frame (m, rad), y at the bottom face.
        b: (M, 7), of a's type.

    Returns:
        (N, M) of the type of `a`; no gradient flows through.

    Raises:
        ValueError: other shapes or types, or two devices.
    """
    _check(a, b)
    return _bev_iou(finite_boxes(a), finite_boxes(b))


def bev_iou_axis_aligned(a: Tensor, b: Tensor) -> Tensor:
    """`bev_iou` as if every ry were 0: rectangles x +- l / 2, z +- w / 2 (PointRCNN's "normal" overlap)."""
    _check(a, b)
    return _bev_iou_axis_aligned(finite_boxes(a), finite_boxes(b))


def iou_3d(a: Tensor, b: Tensor) -> Tensor:
    """`bev_iou` of the volumes: boxes fill y - h to y; one of negative height overlaps with nothing."""
    _check(a, b)
    return _iou_3d(finite_boxes(a), finite_boxes(b))


def _check(a: Tensor, b: Tensor) -> None:
    check_boxes("a", a)
    check_boxes("b", b)
    if a.dtype != b.dtype:
        raise ValueError(f"b: found {b.dtype}, expected {a.dtype} as of a")
    check_device("b", b, a)


@custom_op("pseudolidar::bev_iou", mutates_args=())
def _bev_iou(a: Tensor, b: Tensor) -> Tensor:
    return reference.bev_iou(a, b)


@_bev_iou.register_kernel("cpu")
def _bev_iou_on_cpu(a: Tensor, b: Tensor) -> Tensor:
    return boxes_cpu.bev_iou(a, b)


@_bev_iou.register_kernel("cuda")
def _bev_iou_on_cuda(a: Tensor, b: Tensor) -> Tensor:
    return gpu_backend().bev_iou(a, b)


# On every device as fast as a kernel: a few operations on whole matrices.
@custom_op("pseudolidar::bev_iou_axis_aligned", mutates_args=())
def _bev_iou_axis_aligned(a: Tensor, b: Tensor) -> Tensor:
    return reference.bev_iou_axis_aligned(a, b)


@custom_op("pseudolidar::iou_3d", mutates_args=())
def _iou_3d(a: Tensor, b: Tensor) -> Tensor:
    return reference.iou_3d(a, b)


@_iou_3d.register_kernel("cpu")
def _iou_3d_on_cpu(a: Tensor, b: Tensor) -> Tensor:
    return boxes_cpu.iou_3d(a, b)


@_iou_3d.register_kernel("cuda")
def _iou_3d_on_cuda(a: Tensor, b: Tensor) -> Tensor:
    return gpu_backend().iou_3d(a, b)


@_bev_iou.register_fake
@_bev_iou_axis_aligned.register_fake
@_iou_3d.register_fake
def _shape(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty((len(a), len(b)))
