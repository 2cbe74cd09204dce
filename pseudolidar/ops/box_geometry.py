"""Rotated boxes without PyTorch: the points in one (numpy), what two have in common (numba, double precision).

numba keeps compiled code by the file of the outermost kernel: who changes this file deletes the caches of those who
call it (`__pycache__/*.nb?` of ops/ and evaluation/).
"""

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kernels import cpu_kernel

Doubles = NDArray[np.float64]

VERTICES = 20
"""Rows that a buffer for `rectangle_intersection` needs.

Eight would do for exact numbers. But a polygon that rounding has bent might be cut at every edge and keep every other
vertex: of n vertices a cut can make 3 n / 2, and four cuts of four vertices 19.
"""


def points_in_box(points: NDArray[np.floating], box3d: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The points in a box, its faces included: bool (N,); `points_in_boxes` is for tensors and many boxes.

    Points (N, >= 3) m and the box, (7,) x y z h w l ry, m and rad, y at the bottom face, are in the rectified camera
    frame. Computed in the points' type.
    """
    _, _, _, height, width, length, ry = box3d
    offset = points[:, :3] - box3d[:3].astype(points.dtype)
    # A rotation by ry about y takes the box's coordinates to the camera's; this is its inverse.
    cos, sin = np.cos(ry).astype(points.dtype), np.sin(ry).astype(points.dtype)
    along = cos * offset[:, 0] - sin * offset[:, 2]
    across = sin * offset[:, 0] + cos * offset[:, 2]
    level = (offset[:, 1] <= 0) & (offset[:, 1] >= -height)
    inside: NDArray[np.bool_] = (np.abs(along) <= length / 2) & (np.abs(across) <= width / 2) & level
    return inside


@cpu_kernel
def _clip(polygon: Doubles, count: int, axis: int, limit: float, sign: float, out: Doubles) -> int:
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
            along = inside_i / (inside_i - inside_j)
            out[kept, 0] = polygon[i, 0] + along * (polygon[j, 0] - polygon[i, 0])
            out[kept, 1] = polygon[i, 1] + along * (polygon[j, 1] - polygon[i, 1])
            out[kept, axis] = sign * limit
            kept += 1
    return kept


@cpu_kernel
def rectangle_intersection(a: Doubles, b: Doubles, polygon: Doubles, scratch: Doubles) -> float:
    """Common area, m^2, of the ground rectangles of boxes a and b: at most either's, exactly that if they are equal.

    Boxes are x y z h w l ry in the rectified camera frame, m and rad; lengths and widths count without their sign.
    `polygon` and `scratch`, float64 (VERTICES, 2), are overwritten.
    """
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
    return float(min(0.5 * abs(doubled), length_a * width_a, length_b * width_b))


@cpu_kernel
def common_height(a: Doubles, b: Doubles) -> float:
    """Common height, m, of two boxes from y - h to y: at most either's own, exactly that if they are equal."""
    below = b[1] - a[1]
    common = min(0.0, below) - max(-a[3], below - b[3])
    return float(max(0.0, min(common, a[3], b[3])))


@cpu_kernel
def common_extent(half_a: float, half_b: float, apart: float) -> float:
    """Common extent of two intervals with centres `apart`, given half their sizes: at most either's size."""
    common = min(half_a, apart + half_b) - max(-half_a, apart - half_b)
    return max(0.0, min(common, 2.0 * half_a, 2.0 * half_b))
