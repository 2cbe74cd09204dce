"""Frusta: the points of a cloud that a 2D box of the image holds, and the turn to the frustum's own frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kitti import Calibration

MIN_DEPTH_M = 2.0
"""Points nearer than this (velodyne x) are left out, as in the published extraction."""


@dataclass(frozen=True, eq=False)
class ProjectedCloud:
    """A cloud beside its projection.

    Attributes:
        points: float32 (N, 4) x y z m in the rectified camera frame, and intensity.
        pixels: float32 (N, 2) u, v in the left colour image.
    """

    points: NDArray[np.float32]
    pixels: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: NDArray[np.bool_] | NDArray[np.integer]) -> "ProjectedCloud":
        return ProjectedCloud(self.points[index], self.pixels[index])

    def in_box(self, box2d: NDArray[np.float64]) -> NDArray[np.int64]:
        """Indices of the points whose projection lies in a box (4,) px; right and bottom border excluded."""
        left, top, right, bottom = box2d.astype(np.float32)
        u, v = self.pixels[:, 0], self.pixels[:, 1]
        return np.flatnonzero((u >= left) & (u < right) & (v >= top) & (v < bottom))


def project_cloud(
    points_velo: NDArray[np.float32], calibration: Calibration, max_depth: float | None = None
) -> ProjectedCloud:
    """Bring a cloud (N, 4) from the velodyne to the rectified camera frame and project it.

    Points with x_velo up to 2 m, or at `max_depth` m and beyond (near-only), are left out.
    """
    keep = points_velo[:, 0] > MIN_DEPTH_M
    if max_depth is not None:
        keep &= points_velo[:, 0] < max_depth
    kept = points_velo[keep]
    # One affine map in float32, its entries computed in float64: a tenth of a millimetre at 100 m.
    transform = calibration.R0_rect @ calibration.Tr_velo_to_cam
    rectified = kept[:, :3] @ transform[:, :3].T.astype(np.float32) + transform[:, 3].astype(np.float32)
    in_front = rectified[:, 2] > 0
    if not in_front.all():
        rectified, kept = rectified[in_front], kept[in_front]
    P2 = calibration.P2.astype(np.float32)
    homogeneous = rectified @ P2[:, :3].T + P2[:, 3]
    pixels = homogeneous[:, :2] / homogeneous[:, 2:]
    return ProjectedCloud(np.concatenate([rectified, kept[:, 3:4]], axis=1), pixels)


def frustum_angle(box2d: NDArray[np.float64], calibration: Calibration) -> float:
    """Angle in rad by which the box's centre ray is turned from the z axis towards x, in the rectified camera frame.

    As published, the ray goes from the frame's origin to the box's centre at a depth of 20 m.
    """
    centre = np.array([[(box2d[0] + box2d[2]) / 2, (box2d[1] + box2d[3]) / 2]])
    x, _, z = calibration.image_to_rect(centre, np.array([20.0]))[0]
    return float(np.arctan2(x, z))


def to_frustum_frame(points: NDArray[np.float32], angle: float) -> NDArray[np.float32]:
    """Turn points (N, >= 3) of the rectified camera frame about y so that the frustum's centre ray becomes z.

    A heading ry in the rectified camera frame is ry - angle in the frustum's frame.
    """
    turned = points.copy()
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    turned[:, 0] = cos * points[:, 0] - sin * points[:, 2]
    turned[:, 2] = sin * points[:, 0] + cos * points[:, 2]
    return turned


def from_frustum_frame(points: NDArray[np.float32], angle: float) -> NDArray[np.float32]:
    """The inverse of `to_frustum_frame`."""
    return to_frustum_frame(points, -angle)


def points_in_box3d(points: NDArray[np.float32], box3d: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points (N, >= 3) of the rectified camera frame lie in a box (7,) x y z h w l ry (y at the bottom face)."""
    x, y, z, height, width, length, ry = box3d
    offset = points[:, :3] - np.array([x, y, z], dtype=np.float32)
    cos, sin = np.float32(np.cos(ry)), np.float32(np.sin(ry))
    along = cos * offset[:, 0] - sin * offset[:, 2]
    across = sin * offset[:, 0] + cos * offset[:, 2]
    inside: NDArray[np.bool_] = (np.abs(along) <= length / 2) & (np.abs(across) <= width / 2)
    return inside & (offset[:, 1] <= 0) & (offset[:, 1] >= -height)


def sample_indices(count: int, wanted: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """`wanted` of `count` indices: without repetition if there are enough, else each at least once."""
    if count >= wanted:
        return generator.choice(count, wanted, replace=False, shuffle=False).astype(np.int64)
    return np.concatenate([np.arange(count), generator.integers(0, count, wanted - count)])
