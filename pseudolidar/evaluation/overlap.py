"""Overlaps of boxes: axis-aligned in the image, rotated in bird's eye view and in 3D, all in double precision."""

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

BBOX, BEV, BOX_3D = 0, 1, 2
"""Geometries of an overlap: 2D box in the image, rectangle on the ground, upright 3D box."""


@njit(cache=True)
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


@njit(cache=True)
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


@njit(cache=True)
def _overlap(
    geometry: int,
    a2: np.ndarray,
    a3: np.ndarray,
    b2: np.ndarray,
    b3: np.ndarray,
    over_a: bool,
    polygon: np.ndarray,
    scratch: np.ndarray,
) -> float:
    """Intersection of a and b over their union or, with `over_a`, over a's own size; 0 where that size is not positive.

    a2, b2: left top right bottom, px. a3, b3: x y z h w l ry, m and rad.
    """
    if geometry == BBOX:
        width = min(a2[2], b2[2]) - max(a2[0], b2[0])
        height = min(a2[3], b2[3]) - max(a2[1], b2[1])
        if width <= 0.0 or height <= 0.0:
            return 0.0
        common = width * height
        size_a = (a2[2] - a2[0]) * (a2[3] - a2[1])
        size_b = (b2[2] - b2[0]) * (b2[3] - b2[1])
    else:
        common = 1.0
        size_a = abs(a3[4] * a3[5])
        size_b = abs(b3[4] * b3[5])
        if geometry == BOX_3D:
            # y points down and lies at the bottom face: a box fills [y - h, y].
            common = min(a3[1], b3[1]) - max(a3[1] - a3[3], b3[1] - b3[3])
            size_a *= a3[3]
            size_b *= b3[3]
        if common <= 0.0:
            return 0.0
        common *= _rectangle_intersection(a3, b3, polygon, scratch)
    whole = size_a if over_a else size_a + size_b - common
    return common / whole if whole > 0.0 else 0.0


@njit(cache=True)
def paired_overlaps(
    geometry: int,
    over_a: bool,
    a_start: np.ndarray,
    a2: np.ndarray,
    a3: np.ndarray,
    b_start: np.ndarray,
    b2: np.ndarray,
    b3: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Overlaps of each a with each b of the same frame.

    Args:
        geometry: BBOX, BEV or BOX_3D.
        over_a: divide by a's own size instead of the union.
        a_start, b_start: int64 (F + 1,), the rows of frame f are start[f] to start[f + 1].
        a2, b2: float64 (N, 4) 2D boxes. a3, b3: float64 (N, 7) 3D boxes.

    Returns:
        pair_start int64 (F + 1,) and overlaps, flat: frame f's matrix (its a x its b, row-major) begins at
        pair_start[f].
    """
    frames = len(a_start) - 1
    pair_start = np.zeros(frames + 1, np.int64)
    for frame in range(frames):
        pairs = (a_start[frame + 1] - a_start[frame]) * (b_start[frame + 1] - b_start[frame])
        pair_start[frame + 1] = pair_start[frame] + pairs
    overlaps = np.zeros(pair_start[frames])
    polygon, scratch = np.zeros((16, 2)), np.zeros((16, 2))
    for frame in range(frames):
        position = pair_start[frame]
        for i in range(a_start[frame], a_start[frame + 1]):
            for j in range(b_start[frame], b_start[frame + 1]):
                overlaps[position] = _overlap(geometry, a2[i], a3[i], b2[j], b3[j], over_a, polygon, scratch)
                position += 1
    return pair_start, overlaps


def _matrix(geometry: int, boxes_a: ArrayLike, boxes_b: ArrayLike) -> NDArray[np.float64]:
    columns = 4 if geometry == BBOX else 7
    a = np.ascontiguousarray(boxes_a, dtype=np.float64).reshape(-1, columns)
    b = np.ascontiguousarray(boxes_b, dtype=np.float64).reshape(-1, columns)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("boxes: found NaN or infinity, expected finite numbers")
    rows_a, rows_b = np.array([0, len(a)]), np.array([0, len(b)])
    _, overlaps = paired_overlaps(geometry, False, rows_a, a, a, rows_b, b, b)
    return overlaps.reshape(len(a), len(b))


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
