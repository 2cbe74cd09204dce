"""Frustum PointNet's box coder: heading bins and residuals, size clusters and size residuals (section 4.3)."""

import math

import torch
from torch import Tensor

HEADING_BINS = 12
HEADING_BIN_WIDTH = 2 * math.pi / HEADING_BINS

MEAN_SIZES_M: dict[str, tuple[float, float, float]] = {
    "Car": (3.883, 1.629, 1.526),
    "Van": (5.068, 1.901, 2.205),
    "Truck": (10.136, 2.585, 3.252),
    "Pedestrian": (0.844, 0.661, 1.763),
    "Person_sitting": (0.801, 0.598, 1.275),
    "Cyclist": (1.763, 0.597, 1.737),
    "Tram": (16.172, 2.532, 3.531),
    "Misc": (3.643, 1.543, 1.923),
}
"""Mean length, width, height in m of KITTI's classes, the 8 size clusters (Frustum PointNets, published code)."""

SIZE_CLUSTERS = tuple(MEAN_SIZES_M)
ONE_HOT_CLASSES = ("Car", "Pedestrian", "Cyclist")
"""Classes that the one-hot vector tells apart."""


def encode_heading(heading: Tensor) -> tuple[Tensor, Tensor]:
    """Heading (N,) rad -> bin (N,) int64 and residual (N,) in [-pi/12, pi/12), bin k being centred on k * pi/6."""
    shifted = torch.remainder(heading + HEADING_BIN_WIDTH / 2, 2 * math.pi)
    # remainder of a tiny negative number rounds up to 2 pi itself.
    index = (shifted / HEADING_BIN_WIDTH).long().clamp(max=HEADING_BINS - 1)
    return index, shifted - (index + 0.5) * HEADING_BIN_WIDTH


def decode_heading(index: Tensor, residual: Tensor) -> Tensor:
    """Bin (N,) and residual (N,) rad -> heading (N,) in [-pi, pi)."""
    return torch.remainder(index * HEADING_BIN_WIDTH + residual + math.pi, 2 * math.pi) - math.pi


def encode_size(size: Tensor, cluster: Tensor, mean_sizes: Tensor) -> Tensor:
    """Size (N, 3) l w h m of the clusters (N,) -> normalised residual (N, 3): (size - mean) / mean."""
    mean = mean_sizes[cluster]
    return (size - mean) / mean


def decode_size(residual: Tensor, cluster: Tensor, mean_sizes: Tensor) -> Tensor:
    """Normalised residual (N, 3) of the clusters (N,) -> size (N, 3) l w h m."""
    return (1 + residual) * mean_sizes[cluster]


def box_corners(centre: Tensor, size: Tensor, heading: Tensor) -> Tensor:
    """Corners (N, 8, 3) of boxes in a camera frame (x right, y down, z forward), in the order of `kitti.box3d_corners`.

    `centre` (N, 3) m is the middle of the box, not of its bottom face; `size` (N, 3) l w h m; `heading` (N,) rad.
    """
    signs = torch.tensor(
        [[1, 1, 1], [1, 1, -1], [-1, 1, -1], [-1, 1, 1], [1, -1, 1], [1, -1, -1], [-1, -1, -1], [-1, -1, 1]],
        dtype=centre.dtype,
        device=centre.device,
    )
    length, width, height = size.unbind(-1)
    along, down, across = (signs * torch.stack([length, height, width], -1)[:, None, :] / 2).unbind(-1)
    cos, sin = heading.cos()[:, None], heading.sin()[:, None]
    corners = torch.stack([cos * along + sin * across, down, -sin * along + cos * across], dim=-1)
    return corners + centre[:, None, :]
