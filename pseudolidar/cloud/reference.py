"""Clouds in plain PyTorch, on any device with float64: the reference for kernels, and the input of every backend."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudolidar.cloud.grid import Cells
from pseudolidar.files import InputError
from pseudolidar.kitti import Calibration
from pseudolidar.kitti.calibration import MAX_BASELINE_M, MIN_BASELINE_M

FLOAT32_MAX = float(np.finfo(np.float32).max)


class Projection(NamedTuple):
    """Pixel (u, v) with disparity d -> (rows[:, v] + columns[:, u]) * camera_constant / d + offset, velodyne frame, m.

    All backends compute it in float64, in this order of operations, and round once, to float32. So they agree to the
    last bit, and a point far away is where float64 code has it.

    Attributes:
        rows, columns: float64 (3, H) and (3, W), the parts of a pixel's ray that its row and its column add.
        offset: float64 (3,), the left colour camera in the velodyne frame, m.
        camera_constant: focal length x baseline, px m.
        quantization: disparities are cut off to multiples of this, px; 0 leaves them unchanged.
        max_depth, max_height: points with x_velo, z_velo below stay, m; decided in float64.
        x_highest, z_highest: float32 numbers just below those limits: rounding takes no point onto a limit.
    """

    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    offset: NDArray[np.float64]
    camera_constant: float
    quantization: float
    max_depth: float
    max_height: float
    x_highest: float
    z_highest: float
    intensity: float


def make_projection(
    calibration: Calibration,
    image_size: Sequence[int],
    max_height: float | None,
    max_depth: float | None,
    baseline: float | None,
    quantization: float | None,
    intensity: float,
) -> Projection:
    """The projection of an image of (height, width) px; the other arguments are those of `disparity_to_points`."""
    for name, value in (("baseline", baseline), ("max_depth", max_depth), ("quantization", quantization)):
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name}: found {value}, expected a positive number")
    if baseline is not None and not MIN_BASELINE_M <= baseline <= MAX_BASELINE_M:
        expected = f"{MIN_BASELINE_M:g} to {MAX_BASELINE_M:g} m; in which unit is it?"
        raise InputError(f"baseline: found {baseline}, expected {expected}")
    if max_height is not None and not math.isfinite(max_height):
        raise InputError(f"max_height: found {max_height}, expected a finite number of metres")
    height, width = image_size
    P2 = calibration.P2
    rotation, translation = calibration.rect_to_velodyne_transform()
    ray_x = (np.arange(width) - P2[0, 2]) / P2[0, 0]
    ray_y = (np.arange(height) - P2[1, 2]) / P2[1, 1]
    # P2's fourth column: camera 2 stands beside camera 0, in whose frame points are rectified.
    camera_2 = np.array([-P2[0, 3] / P2[0, 0], -P2[1, 3] / P2[1, 1], 0.0])
    x_limit = FLOAT32_MAX if max_depth is None else float(max_depth)
    z_limit = FLOAT32_MAX if max_height is None else float(max_height)
    # The float32 before the one next to a limit: below the limit, and below the limit rounded to float32.
    x_highest, z_highest = np.nextafter(np.array([x_limit, z_limit], np.float32), np.float32(-np.inf)).tolist()
    return Projection(
        rotation[:, 1:2] * ray_y + rotation[:, 2:],
        rotation[:, :1] * ray_x,
        rotation @ camera_2 + translation,
        calibration.focal_px * (calibration.baseline_m if baseline is None else float(baseline)),
        0.0 if quantization is None else float(quantization),
        x_limit,
        z_limit,
        x_highest,
        z_highest,
        float(intensity),
    )


def dense_points(disparity: Tensor, projection: Projection) -> Tensor:
    """Every pixel's point within the limits, (N, 4); disparity (H, W)."""
    d = disparity.double()
    if projection.quantization > 0:
        d = torch.floor(d / projection.quantization) * projection.quantization
    depth = projection.camera_constant / d
    rows, columns = (torch.from_numpy(part).to(d.device) for part in (projection.rows, projection.columns))
    x, y, z = ((rows[k, :, None] + columns[k]) * depth + float(projection.offset[k]) for k in range(3))

    keep = (d > 0) & (d < torch.inf)
    keep &= (x >= 0) & (x < projection.max_depth)
    keep &= (z > -FLOAT32_MAX) & (z < projection.max_height) & (y.abs() < FLOAT32_MAX)

    x = x.clamp(max=projection.x_highest)
    z = z.clamp(max=projection.z_highest)
    return torch.stack([x, y, z, torch.full_like(x, projection.intensity)], dim=-1)[keep].float()


def last_of_each_cell(points: Tensor, cells: Cells) -> Tensor:
    """Indices of the points (N, >= 3) that are the last of their cell, int64, increasing."""
    low, high = (torch.from_numpy(limit).to(points.device) for limit in (cells.low, cells.high))
    inside = ((points[:, :3] >= low) & (points[:, :3] < high)).all(dim=1).nonzero().squeeze(1)
    x, y, z = points[inside, :3].double().unbind(dim=1)
    across = x * x + y * y
    row, column = torch.zeros_like(inside), torch.zeros_like(inside)
    for edge in cells.elevation.edge[1:-1].tolist():
        row += z * z.abs() <= edge * across
    for edge in cells.azimuth.edge[1:-1].tolist():
        column += y <= edge * x
    last = torch.full((cells.rows * cells.columns,), -1, device=points.device)
    last.scatter_reduce_(0, row * cells.columns + column, inside, "amax")
    return last[last >= 0].sort().values


def sparse_points(disparity: Tensor, projection: Projection, cells: Cells) -> Tensor:
    """The last point of each cell, of those that `dense_points` gives, in their order."""
    points = dense_points(disparity, projection)
    return points[last_of_each_cell(points, cells)]
