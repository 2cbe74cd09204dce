"""How a LiDAR point falls on a pixel of the left image: what processor and GPU compute alike."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kitti import Calibration

# Points nearer than this along velodyne x lie on the car that carries the sensors, or beside the camera; the published
# code of Pseudo-LiDAR (Wang et al., CVPR 2019) leaves out the same.
MIN_RANGE_M = 2.0


class LidarProjection(NamedTuple):
    """A point (x, y, z) in the velodyne frame -> u, v, w: rows 0 to 2; depth in the rectified camera frame: row 3.

    A row of `matrix`, float64 (4, 4), gives ((r0 x + r1 y) + r2 z) + r3; the pixel is (u / w, v / w), rounded half to
    even. All of it in float64, in this order, so that every backend finds the same pixel.

    `camera_constant` is focal length x baseline, px m; `height` and `width` are the image's, px.
    """

    matrix: NDArray[np.float64]
    camera_constant: float
    height: int
    width: int


def lidar_projection(calibration: Calibration, image_size: tuple[int, int]) -> LidarProjection:
    """The projection into the left colour image of a calibration, of (height, width) px."""
    to_rect = np.eye(4)
    to_rect[:3] = calibration.R0_rect @ calibration.Tr_velo_to_cam
    matrix = np.vstack([calibration.P2 @ to_rect, to_rect[2]])
    return LidarProjection(matrix, calibration.camera_constant_px_m, *map(int, image_size))
