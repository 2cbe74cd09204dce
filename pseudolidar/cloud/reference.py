"""Clouds in plain PyTorch, on any device with float64: what the kernels must equal, and their stand-in on a GPU."""

import torch
from torch import Tensor

from pseudolidar.cloud.grid import Cells
from pseudolidar.cloud.projection import FLOAT32_MAX, Projection


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
