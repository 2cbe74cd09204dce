"""IoU of boxes: axis-aligned in the image, rotated in bird's eye view and in 3D, all in double precision."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pseudolidar.kernels import cpu_kernel
from pseudolidar.ops.box_geometry import VERTICES, rectangle_intersection

BBOX, BEV, BOX_3D = 0, 1, 2
"""Geometries of an IoU: 2D box in the image, rectangle on the ground, upright 3D box."""


@cpu_kernel
def _ratio(intersection: float, size_a: float, size_b: float, over_a: bool) -> float:
    """Intersection over union or, with `over_a`, over a's own size; 0 where that is not positive."""
    whole = size_a if over_a else size_a + size_b - intersection
    return intersection / whole if whole > 0.0 else 0.0


@cpu_kernel
def _iou_2d(a: np.ndarray, b: np.ndarray, over_a: bool) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0.0 or height <= 0.0:
        return 0.0
    return _ratio(width * height, (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]), over_a)


@cpu_kernel
def _iou_ground_and_3d(
    a: np.ndarray, b: np.ndarray, over_a: bool, polygon: np.ndarray, scratch: np.ndarray
) -> tuple[float, float]:
    ground = rectangle_intersection(a, b, polygon, scratch)
    if ground <= 0.0:
        return 0.0, 0.0
    area_a, area_b = abs(a[4] * a[5]), abs(b[4] * b[5])
    # y points down and lies at the bottom face: a box fills [y - h, y].
    common_height = min(a[1], b[1]) - max(a[1] - a[3], b[1] - b[3])
    solid = 0.0
    if common_height > 0.0:
        solid = _ratio(ground * common_height, area_a * a[3], area_b * b[3], over_a)
    return _ratio(ground, area_a, area_b, over_a), solid


@cpu_kernel
def fill_iou(
    over_a: bool,
    first_frame: int,
    end_frame: int,
    a_start: np.ndarray,
    a2: np.ndarray,
    a3: np.ndarray,
    b_start: np.ndarray,
    b2: np.ndarray,
    b3: np.ndarray,
    pair_start: np.ndarray,
    iou: np.ndarray,
) -> None:
    """Fill `iou`, float64 (3, P), with BBOX, BEV and BOX_3D IoU of each a with each b of the same frame.

    Args:
        over_a: divide by a's own size instead of the union.
        a_start, b_start: int64 (F + 1,), the rows of frame f are start[f] to start[f + 1].
        a2, b2: float64 (N, 4) 2D boxes, left top right bottom in px.
        a3, b3: float64 (N, 7) 3D boxes, x y z h w l ry in m and rad.
        pair_start: int64 (F + 1,): frame f's matrix (its a x its b, row-major) begins at pair_start[f].
    """
    polygon, scratch = np.zeros((VERTICES, 2)), np.zeros((VERTICES, 2))
    for frame in range(first_frame, end_frame):
        position = pair_start[frame]
        for i in range(a_start[frame], a_start[frame + 1]):
            for j in range(b_start[frame], b_start[frame + 1]):
                iou[BBOX, position] = _iou_2d(a2[i], b2[j], over_a)
                ground, solid = _iou_ground_and_3d(a3[i], b3[j], over_a, polygon, scratch)
                iou[BEV, position] = ground
                iou[BOX_3D, position] = solid
                position += 1


def _iou_matrix(geometry: int, boxes_a: ArrayLike, boxes_b: ArrayLike) -> NDArray[np.float64]:
    columns = 4 if geometry == BBOX else 7
    a = np.ascontiguousarray(boxes_a, dtype=np.float64).reshape(-1, columns)
    b = np.ascontiguousarray(boxes_b, dtype=np.float64).reshape(-1, columns)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("boxes: found NaN or infinity, expected finite numbers")
    a2, a3, b2, b3 = (np.zeros((len(boxes), width)) for boxes in (a, b) for width in (4, 7))
    (a2 if geometry == BBOX else a3)[:] = a
    (b2 if geometry == BBOX else b3)[:] = b
    iou = np.zeros((3, len(a) * len(b)))
    rows_a, rows_b, pairs = np.array([0, len(a)]), np.array([0, len(b)]), np.array([0, len(a) * len(b)])
    fill_iou(False, 0, 1, rows_a, a2, a3, rows_b, b2, b3, pairs, iou)
    matrix: NDArray[np.float64] = iou[geometry].reshape(len(a), len(b))
    return matrix


def bbox_iou(boxes_a: ArrayLike, boxes_b: ArrayLike) -> NDArray[np.float64]:
    """IoU of image boxes (N, 4) and (M, 4), left top right bottom in px: float64 (N, M)."""
    return _iou_matrix(BBOX, boxes_a, boxes_b)


def bev_iou(boxes_a: ArrayLike, boxes_b: ArrayLike) -> NDArray[np.float64]:
    """IoU in bird's eye view of boxes (N, 7) and (M, 7): float64 (N, M).

    Boxes are x y z h w l ry in the rectified camera frame, m and rad. A box without area has an IoU of 0 with every
    box, itself included.
    """
    return _iou_matrix(BEV, boxes_a, boxes_b)


def iou_3d(boxes_a: ArrayLike, boxes_b: ArrayLike) -> NDArray[np.float64]:
    """IoU of the volumes of boxes (N, 7) and (M, 7), as for `bev_iou`: float64 (N, M)."""
    return _iou_matrix(BOX_3D, boxes_a, boxes_b)
