"""Disparity map -> points in the velodyne frame, with winsorization and near-only clouds."""

import math
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray

from pseudolidar.kitti import Calibration

INTENSITY = 1.0
"""What stands in the fourth column of every point: a disparity map knows no reflectance."""


@overload
def disparity_to_points(
    disparity: NDArray[np.floating],
    calibration: Calibration,
    max_height: float | None = ...,
    max_depth: float | None = ...,
    baseline: float | None = ...,
) -> NDArray[np.float32]: ...


@overload
def disparity_to_points(
    disparity: torch.Tensor,
    calibration: Calibration,
    max_height: float | None = ...,
    max_depth: float | None = ...,
    baseline: float | None = ...,
) -> torch.Tensor: ...


def disparity_to_points(
    disparity: NDArray[np.floating] | torch.Tensor,
    calibration: Calibration,
    max_height: float | None = 1.0,
    max_depth: float | None = None,
    baseline: float | None = None,
) -> NDArray[np.float32] | torch.Tensor:
    """Back-project every pixel of the left colour image that has a disparity (Pseudo-LiDAR, Wang et al., CVPR 2019).

    depth = C / d with C = focal length x baseline; the pixel and its depth go through P2 to the rectified camera
    frame, then through R0_rect and Tr_velo_to_cam to the velodyne frame. A pixel yields no point if its disparity is
    0, negative, NaN or infinite, if its depth overflows float32, or if its point has x_velo < 0 (behind the sensor).

    Args:
        disparity: (H, W) px of the left colour image.
        calibration: the frame's calibration, for an image of that size.
        max_height: m; only points with z_velo < max_height stay (the paper's winsorization); None keeps all heights.
            A point at exactly max_height is dropped.
        max_depth: m; only points with x_velo < max_depth stay (near-only clouds); None keeps all.
        baseline: m; by default the calibration's own, from P2 and P3; published clouds were made with 0.54.

    Returns:
        float32 (N, 4) x y z m in the velodyne frame and intensity 1, pixels in row-major order. A numpy array for a
        numpy array, for a tensor a tensor on its device.

    Raises:
        ValueError: a disparity that isn't (H, W), or a baseline or max_depth that isn't positive.
    """
    if disparity.ndim != 2:
        raise ValueError(f"disparity: found shape {tuple(disparity.shape)}, expected (H, W)")
    for name, value in (("baseline", baseline), ("max_depth", max_depth)):
        if value is not None and not value > 0:
            raise ValueError(f"{name}: found {value}, expected a positive number of metres")
    camera_constant = calibration.focal_px * (calibration.baseline_m if baseline is None else baseline)
    rays = _rays_in_velodyne(calibration, disparity.shape[0], disparity.shape[1])
    if isinstance(disparity, torch.Tensor) and disparity.device.type != "cpu":
        return _points(disparity.float(), camera_constant, rays, max_height, max_depth)
    # numpy's single-threaded loops are faster than torch's here: several maps are converted at once, a thread each.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        points = _points(np.asarray(disparity, dtype=np.float32), camera_constant, rays, max_height, max_depth)
    return torch.from_numpy(points) if isinstance(disparity, torch.Tensor) else points


def crop_sweep(
    points: NDArray[np.float32], max_height: float | None = 1.0, max_depth: float | None = None
) -> NDArray[np.float32]:
    """The points of a LiDAR sweep, (N, 4) in the velodyne frame, that `disparity_to_points` would keep, in their order.

    Points with x_velo >= 0, z_velo < max_height and x_velo < max_depth (m) stay.
    """
    kept = points[:, 0] >= 0
    if max_height is not None:
        kept &= points[:, 2] < max_height
    if max_depth is not None:
        kept &= points[:, 0] < max_depth
    return points[kept]


class _Rays(NamedTuple):
    """point_velo(u, v, depth) = (rows[:, v] + columns[:, u]) * depth + offset_m, velodyne frame."""

    rows: NDArray[np.float32]
    columns: NDArray[np.float32]
    offset_m: NDArray[np.float64]


def _points(
    disparity: Any, camera_constant: float, rays: _Rays, max_height: float | None, max_depth: float | None
) -> Any:
    """The same arithmetic for a numpy array and for a tensor on any device; float32 in and out."""
    depth = camera_constant / disparity
    valid = (disparity > 0) & (disparity < math.inf) & (depth < math.inf)
    # A point is linear in its depth, and its ray is a part of the row and one of the column.
    coordinates = []
    for axis in range(3):
        row_part: Any = rays.rows[axis, :, None]
        column_part: Any = rays.columns[axis, None, :]
        if isinstance(disparity, torch.Tensor):
            row_part, column_part = (torch.from_numpy(part).to(disparity.device) for part in (row_part, column_part))
        coordinate = row_part + column_part
        coordinate *= depth
        coordinate += float(rays.offset_m[axis])
        coordinates.append(coordinate.reshape(-1))
    x, _, z = (coordinate.reshape(disparity.shape) for coordinate in coordinates)

    valid &= x >= 0
    if max_height is not None:
        valid &= z < max_height
    if max_depth is not None:
        valid &= x < max_depth
    index: Any
    points: Any
    if isinstance(disparity, torch.Tensor):
        index = valid.reshape(-1).nonzero().squeeze(1)
        points = torch.full((len(index), 4), INTENSITY, dtype=torch.float32, device=disparity.device)
    else:
        index = np.flatnonzero(valid)
        points = np.full((len(index), 4), INTENSITY, dtype=np.float32)
    for axis, coordinate in enumerate(coordinates):
        points[:, axis] = coordinate[index]
    return points


def _rays_in_velodyne(calibration: Calibration, height: int, width: int) -> _Rays:
    """Rays of the pixels of an image, computed in float64: rows (3, H), columns (3, W), offset (3,) m."""
    P2 = calibration.P2
    rotation, translation = calibration.rect_to_velodyne_transform()
    ray_x = (np.arange(width) - P2[0, 2]) / P2[0, 0]
    ray_y = (np.arange(height) - P2[1, 2]) / P2[1, 1]
    # P2's fourth column: camera 2 stands beside camera 0, in whose frame points are rectified.
    camera_2 = np.array([-P2[0, 3] / P2[0, 0], -P2[1, 3] / P2[1, 1], 0.0])
    columns = rotation[:, :1] * ray_x
    rows = rotation[:, 1:2] * ray_y + rotation[:, 2:]
    return _Rays(rows.astype(np.float32), columns.astype(np.float32), rotation @ camera_2 + translation)
