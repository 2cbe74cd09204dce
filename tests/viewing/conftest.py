"""A made-up camera, boxes and a small scene that the tests of this room share."""

import numpy as np
import pytest

from pseudolidar.kitti import CANONICAL_VELO_TO_CAM, Calibration, Objects

IMAGE_SIZE = (128, 416)


def make_objects(box3d: list[list[float]], scores: list[float] | None = None, class_name: str = "Car") -> Objects:
    """Objects with these boxes (x y z h w l ry) and otherwise nothing of interest."""
    count = len(box3d)
    return Objects(
        class_name=np.array([class_name] * count, dtype=np.str_),
        truncation=np.zeros(count),
        occlusion=np.zeros(count, dtype=np.int64),
        alpha=np.zeros(count),
        box2d=np.tile([10.0, 20.0, 60.0, 70.0], (count, 1)),
        box3d=np.array(box3d, dtype=np.float64).reshape(count, 7),
        score=None if scores is None else np.array(scores),
    )


@pytest.fixture
def calibration() -> Calibration:
    """KITTI's geometry at 416 x 128, the LiDAR at the camera's place."""
    focal, cx, cy = 241.6, 203.9, 59.0
    P2 = np.array([[focal, 0, cx, 15.0], [0, focal, cy, 0.1], [0, 0, 1, 0.003]])
    P3 = P2.copy()
    P3[0, 3] -= focal * 0.5327
    return Calibration(P2, P3, np.eye(3), CANONICAL_VELO_TO_CAM)
