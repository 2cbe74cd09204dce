"""Calibrations and disparity maps for the tests of clouds."""

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kitti import CANONICAL_VELO_TO_CAM, Calibration


def make_calibration(focal: float = 240.0, offset: float = 15.0, baseline: float = 0.54) -> Calibration:
    P2 = np.array([[focal, 0, 31.5, offset], [0, focal, 10.25, 0.1], [0, 0, 1, 0]])
    P3 = P2.copy()
    P3[0, 3] -= focal * baseline
    angle = 0.02
    R0_rect = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    Tr_velo_to_cam = CANONICAL_VELO_TO_CAM.copy()
    Tr_velo_to_cam[:, 3] = [0.01, -0.08, -0.27]
    return Calibration(P2, P3, R0_rect, Tr_velo_to_cam)


def ragged_disparity(seed: int, height: int, width: int, farthest_m: float = 90.0) -> NDArray[np.float32]:
    """Depths of 1 m to `farthest_m`, a third of the pixels unknown, and all that is no disparity in the first row."""
    rng = np.random.default_rng(seed)
    constant = make_calibration().camera_constant_px_m
    disparity = (constant / rng.uniform(1, farthest_m, (height, width))).astype(np.float32)
    disparity[rng.random(disparity.shape) < 0.3] = 0
    nothing = np.array([0, -0.0, -3, np.nan, np.inf, -np.inf, 1e-45, 1e-37], np.float32)
    disparity[0, : min(width, len(nothing))] = nothing[:width]
    return disparity
