"""The frustum's own frame, and the random choice of points."""

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kitti import Calibration


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
    """Turn points (N, >= 3) back into the rectified camera frame: the inverse of `to_frustum_frame`."""
    return to_frustum_frame(points, -angle)


def sample_indices(count: int, wanted: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """`wanted` of `count` indices: without repetition if there are enough, else each at least once."""
    if count >= wanted:
        return generator.choice(count, wanted, replace=False, shuffle=False).astype(np.int64)
    return np.concatenate([np.arange(count), generator.integers(0, count, wanted - count)])
