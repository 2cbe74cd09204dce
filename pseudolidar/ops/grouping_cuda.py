"""Features by index on an NVIDIA GPU: PyTorch's own gathering and adding of whole rows, many times as fast as indexing.

Rows are added in any order, and so are rounded, unless `torch.use_deterministic_algorithms` asks for one.
"""

import torch
from torch import Tensor


def group(features: Tensor, index: Tensor) -> Tensor:
    """Rows (B, K, C) of features (B, N, C); index int64 (B, K)."""
    _, points, channels = features.shape
    return features.flatten(0, 1).index_select(0, _rows(index, points)).view(*index.shape, channels)


def group_backward(gradient: Tensor, index: Tensor, points: int) -> Tensor:
    """Gradient (B, N, C) of the features from that of their rows (B, K, C)."""
    scenes, _, channels = gradient.shape
    wide = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
    summed = wide.new_zeros(scenes * points, channels).index_add_(0, _rows(index, points), wide.flatten(0, 1))
    return summed.view(scenes, points, channels).to(gradient.dtype)


def interpolate(features: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums (B, N, C) of three rows of features (B, M, C) each; index and weight (B, N, 3)."""
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    first, second, third = (group(wide, index[..., k]) * weight[..., k, None].to(wide.dtype) for k in range(3))
    return first.add_(second).add_(third).to(features.dtype)


def interpolate_backward(gradient: Tensor, index: Tensor, weight: Tensor, points: int) -> Tensor:
    """Gradient (B, M, C) of the features from that of the sums (B, N, C)."""
    scenes, _, channels = gradient.shape
    wide = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
    summed = wide.new_zeros(scenes * points, channels)
    for k in range(3):
        weighted = wide * weight[..., k, None].to(wide.dtype)
        summed.index_add_(0, _rows(index[..., k], points), weighted.flatten(0, 1))
    return summed.view(scenes, points, channels).to(gradient.dtype)


def _rows(index: Tensor, points: int) -> Tensor:
    """Of an index int64 (B, K) into each scene's points the rows (B K,) of all scenes' points, one after the other."""
    return (index + points * torch.arange(len(index), device=index.device)[:, None]).flatten()
