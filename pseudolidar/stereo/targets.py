"""Disparity targets from LiDAR: a sweep projected into the left image."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kitti import Calibration

# Points nearer than this along velodyne x lie on the car that carries the sensors, or beside the camera (SPEC 2).
MIN_RANGE_M = 2.0


def lidar_disparity(
    points: NDArray[np.floating],
    calibration: Calibration,
    image_size: tuple[int, int],
    overlap: Literal["nearest", "last"] = "nearest",
) -> NDArray[np.float32]:
    """Disparity of each pixel that a LiDAR point falls on.

    A point with x > 2 m is projected into the left image and rounded to a pixel; its disparity is focal length x
    baseline over its depth in the rectified camera frame.

    Args:
        points: (N, >= 3) x y z in the velodyne frame, metres.
        calibration: of the frame.
        image_size: (height, width) in pixels.
        overlap: which of several points on one pixel counts: the `nearest`, which is the one that the camera sees, or
            the `last` in the order of `points`, as in targets made by published code (Wang et al., Pseudo-LiDAR, 2019).

    Returns:
        float32 (height, width) in pixels, 0 where no point falls.

    Raises:
        ValueError: `points` is not (N, >= 3), or holds a coordinate that is not finite.
    """
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] < 3:
        raise ValueError(f"points: found shape {points.shape}, expected (N, 3) or more columns")
    if not np.isfinite(points[:, :3]).all():
        row = int(np.flatnonzero(~np.isfinite(points[:, :3]).all(axis=1))[0])
        raise ValueError(f"points: row {row} is {points[row, :3]}, expected finite coordinates")
    height, width = image_size
    ahead = points[points[:, 0] > MIN_RANGE_M, :3].astype(np.float64)
    rect = calibration.velodyne_to_rect(ahead)
    rect = rect[rect[:, 2] > 0]
    pixels, depth_m = calibration.rect_to_image(rect)
    # Bounds are checked before the cast: a point close to the image plane can project beyond what an integer holds.
    rounded = np.rint(pixels)
    inside = (rounded >= 0).all(axis=1) & (rounded[:, 0] < width) & (rounded[:, 1] < height) & (depth_m > 0)
    column, row = rounded[inside].astype(np.int64).T
    disparity = (calibration.camera_constant_px_m / depth_m[inside]).astype(np.float32)
    target = np.zeros((height, width), np.float32)
    if overlap == "nearest":
        np.maximum.at(target, (row, column), disparity)
    elif overlap == "last":
        # An assignment through indices that repeat keeps the last one, so the file's order decides.
        target[row, column] = disparity
    else:
        raise ValueError(f"overlap: found {overlap!r}, expected 'nearest' or 'last'")
    return target
