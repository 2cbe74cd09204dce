"""A 64-beam LiDAR over the sector that the cameras see: beams, range noise, lost returns."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kitti import Calibration
from pseudolidar.synthetic import shading
from pseudolidar.synthetic.scene import Scene

# The HDL-64E: 32 beams a third of a degree apart from +2 degrees down, 32 more half a degree apart; 0.1728 degrees of
# azimuth between firings at 10 Hz (Velodyne's manual). The town is swept where KITTI's cameras look, and a margin.
_ELEVATION_DEG = np.concatenate([2.0 - np.arange(32) / 3, -8.83 - 0.5 * np.arange(32)])
_AZIMUTH_STEP_DEG, _HALF_SECTOR_DEG = 0.1728, 45.0
_RANGE_M, _RANGE_NOISE_M, _LOST = 120.0, 0.02, 0.03


@cache
def _beams() -> NDArray[np.float64]:
    """Unit directions (N, 3) of all firings in the velodyne frame, beam by beam from the highest."""
    azimuth = np.radians(np.arange(-_HALF_SECTOR_DEG, _HALF_SECTOR_DEG, _AZIMUTH_STEP_DEG))
    beam, turn = np.meshgrid(np.radians(_ELEVATION_DEG), azimuth, indexing="ij")
    rays = np.stack([np.cos(beam) * np.cos(turn), -np.cos(beam) * np.sin(turn), np.sin(beam)], -1)
    return rays.reshape(-1, 3)


def sweep(scene: Scene, calibration: Calibration, rng: np.random.Generator) -> NDArray[np.float32]:
    """Points (N, 4): x, y, z in the velodyne frame (m) and intensity in [0, 1]."""
    in_velodyne = _beams()
    pose = calibration.R0_rect @ calibration.Tr_velo_to_cam
    origin = pose[:, 3].copy()
    rays = (in_velodyne @ pose[:, :3].T).astype(np.float32)
    hits = scene.trace(origin, rays, shadows=False)
    values, mirrors = np.zeros(len(rays), np.float32), np.zeros(len(rays), np.float32)
    shading.reflectance(
        origin, rays, hits.distance, hits.prims, hits.normals, scene.material_of, scene.thing_of, scene.table,
        scene.street.row(), values, mirrors,
    )  # fmt: skip
    range_m = hits.distance.astype(np.float64)
    # Returns get lost on glass, on dark and distant surfaces, and a few anywhere.
    lost = _LOST + 0.75 * mirrors + 0.5 * np.clip(range_m / _RANGE_M - values, 0, 1)
    chance, noise = rng.random(len(rays)), _RANGE_NOISE_M * rng.standard_normal(len(rays), np.float32)
    kept = (hits.prims >= 0) & (range_m < _RANGE_M) & (range_m > 0.9) & (chance > lost)
    points = in_velodyne[kept] * (range_m + noise)[kept, None]
    intensity = np.clip(values + 0.02 * rng.standard_normal(len(values), np.float32), 0, 1)[kept]
    return np.concatenate([points, intensity[:, None]], 1).astype(np.float32)
