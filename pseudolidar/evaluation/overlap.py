"""Overlaps of boxes: axis-aligned in the image, rotated in bird's eye view and in 3D, all in double precision."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pseudolidar.kernels import cpu_kernel

BBOX, BEV, BOX_3D = 0, 1, 2
"""Geometries of an overlap: 2D box in the image, rectangle on the ground, upright 3D box."""


@cpu_kernel
def _clip(polygon: np.ndarray, count: int, axis: int, limit: float, sign: float, out: np.ndarray) -> int:
    """Clip a convex polygon (count, 2) to sign * coordinate[axis] <= limit (Sutherland & Hodgman 1974)."""
    kept = 0
    for i in range(count):
        j = i + 1 if i + 1 < count else 0
        inside_i = limit - sign * polygon[i, axis]
        inside_j = limit - sign * polygon[j, axis]
        if inside_i >= 0.0:
            out[kept, 0] = polygon[i, 0]
            out[kept, 1] = polygon[i, 1]
            kept += 1
        if (inside_i > 0.0 and inside_j < 0.0) or (inside_i < 0.0 and inside_j > 0.0):
            share = inside_i / (inside_i - inside_j)
            out[kept, 0] = polygon[i, 0] + share * (polygon[j, 0] - polygon[i, 0])
            out[kept, 1] = polygon[i, 1] + share * (polygon[j, 1] - polygon[i, 1])
            out[kept, axis] = sign * limit
            kept += 1
    return kept


@cpu_kernel
def _rectangle_intersection(a: np.ndarray, b: np.ndarray, polygon: np.ndarray, scratch: np.ndarray) -> float:
    """Common area, m^2, of the ground rectangles of two boxes x y z h w l ry; two (16, 2) buffers are scratch."""
    length_a, width_a = abs(a[5]), abs(a[4])
    length_b, width_b = abs(b[5]), abs(b[4])
    dx, dz = b[0] - a[0], b[2] - a[2]
    reach = 0.5 * (np.hypot(length_a, width_a) + np.hypot(length_b, width_b))
    if dx * dx + dz * dz > reach * reach:
        return 0.0
    # Everything in a's own axes with a's centre as origin: exact for boxes that are the same, and no digits are lost
    # far from the sensor. A rotation by ry about y (down) takes x along (cos ry, -sin ry) in (x, z).
    cos_a, sin_a = np.cos(a[6]), np.sin(a[6])
    centre_x = cos_a * dx - sin_a * dz
    centre_z = sin_a * dx + cos_a * dz
    turn = b[6] - a[6]
    cos_b, sin_b = np.cos(turn), np.sin(turn)
    for i in range(4):
        along = 0.5 * length_b if i < 2 else -0.5 * length_b
        across = 0.5 * width_b if i == 0 or i == 3 else -0.5 * width_b
        polygon[i, 0] = centre_x + cos_b * along + sin_b * across
        polygon[i, 1] = centre_z - sin_b * along + cos_b * across
    count = _clip(polygon, 4, 0, 0.5 * length_a, 1.0, scratch)
    count = _clip(scratch, count, 0, 0.5 * length_a, -1.0, polygon)
    count = _clip(polygon, count, 1, 0.5 * width_a, 1.0, scratch)
    count = _clip(scratch, count, 1, 0.5 * width_a, -1.0, polygon)
    doubled = 0.0
    for i in range(1, count - 1):
        doubled += (polygon[i, 0] - polygon[0, 0]) * (polygon[i + 1, 1] - polygon[0, 1]) - (
            polygon[i, 1] - polygon[0, 1]
        ) * (polygon[i + 1, 0] - polygon[0, 0])
    return min(0.5 * abs(doubled), length_a * width_a, length_b * width_b)


@cpu_kernel
def _share(common: float, size_a: float, size_b: float, over_a: bool) -> float:
    """Intersection over union or, with `over_a`, over a's own size; 0 where that is not positive."""
    whole = size_a if over_a else size_a + size_b - common
    return common / whole if whole > 0.0 else 0.0


@cpu_kernel
def _image_overlap(a: np.ndarray, b: np.ndarray, over_a: bool) -> float:
    """Of boxes left top right bottom, px."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0.0 or height <= 0.0:
        return 0.0
    return _share(width * height, (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]), over_a)


@cpu_kernel
def _space_overlaps(
    a: np.ndarray, b: np.ndarray, over_a: bool, polygon: np.ndarray, scratch: np.ndarray
) -> tuple[float, float]:
    """On the ground and in space, of boxes x y z h w l ry, m and rad."""
    ground = _rectangle_intersection(a, b, polygon, scratch)
    if ground <= 0.0:
        return 0.0, 0.0
    area_a, area_b = abs(a[4] * a[5]), abs(b[4] * b[5])
    # y points down and lies at the bottom face: a box fills [y - h, y].
    common_height = min(a[1], b[1]) - max(a[1] - a[3], b[1] - b[3])
    solid = 0.0
    if common_height > 0.0:
        solid = _share(ground * common_height, area_a * a[3], area_b * b[3], over_a)
    return _share(ground, area_a, area_b, over_a), solid


@cpu_kernel
def fill_overlaps(
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
    overlaps: np.ndarray,
) -> None:
    """Overlaps of each a with each b of the same frame, in all geometries.

    Args:
        over_a: divide by a's own size instead of the union.
        first_frame, end_frame: the frames to do.
        a_start, b_start: int64 (F + 1,), the rows of frame f are start[f] to start[f + 1].
        a2, b2: float64 (N, 4) 2D boxes, left top right bottom in px.
        a3, b3: float64 (N, 7) 3D boxes, x y z h w l ry in m and rad.
        pair_start: int64 (F + 1,): frame f's matrix (its a x its b, row-major) begins at pair_start[f].
        overlaps: float64 (3, P), filled: BBOX, BEV and BOX_3D.
    """
    polygon, scratch = np.zeros((16, 2)), np.zeros((16, 2))
    for frame in range(first_frame, end_frame):
        position = pair_start[frame]
        for i in range(a_start[frame], a_start[frame + 1]):
            for j in range(b_start[frame], b_start[frame + 1]):
                overlaps[BBOX, position] = _image_overlap(a2[i], b2[j], over_a)
                ground, solid = _space_overlaps(a3[i], b3[j], over_a, polygon, scratch)
                overlaps[BEV, position] = ground
                overlaps[BOX_3D, position] = solid
                position += 1


def _matrix(geometry: int, boxes_a: ArrayLike, boxes_b: ArrayLike) -> NDArray[np.float64]:
    columns = 4 if geometry == BBOX else 7
    a = np.ascontiguousarray(boxes_a, dtype=np.float64).reshape(-1, columns)
    b = np.ascontiguousarray(boxes_b, dtype=np.float64).reshape(-1, columns)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("boxes: found NaN or infinity, expected finite numbers")
    a2, a3, b2, b3 = (np.zeros((len(boxes), width)) for boxes in (a, b) for width in (4, 7))
    (a2 if geometry == BBOX else a3)[:] = a
    (b2 if geometry == BBOX else b3)[:] = b
    overlaps = np.zeros((3, len(a) * len(b)))
    rows_a, rows_b, pairs = np.array([0, len(a)]), np.array([0, len(b)]), np.array([0, len(a) * len(b)])
    fill_overlaps(False, 0, 1, rows_a, a2, a3, rows_b, b2, b3, pairs, overlaps)
    return overlaps[geometry].reshape(len(a), len(b))


def bbox_iou(boxes_a: ArrayLike, boxes_b: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of image boxes (N, 4) and (M, 4), left top right bottom in px: float64 (N, M)."""
    return _matrix(BBOX, boxes_a, boxes_b)


def bev_iou(boxes_a: ArrayLike, boxes_b: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union in bird's eye view of boxes (N, 7) and (M, 7): float64 (N, M).

    Boxes are x y z h w l ry in the rectified camera frame, m and rad. Boxes without area overlap with nothing, not
    even with themselves.
    """
    return _matrix(BEV, boxes_a, boxes_b)


def iou_3d(boxes_a: ArrayLike, boxes_b: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of the volumes of boxes (N, 7) and (M, 7), as for `bev_iou`: float64 (N, M)."""
    return _matrix(BOX_3D, boxes_a, boxes_b)
