"""Layers of PointNets on rows of a matrix, one row a point."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

_BATCH_NORM_MOMENTUM = 0.1


class PointLayers(nn.Module):
    """Layers that see one point at a time: linear, batch norm, ReLU, on (points, channels).

    Rows of a matrix rather than 1 x 1 convolutions: the same numbers, and several times as fast on a CPU.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(channels))
        # Batch norm takes the mean away again, so the linear layers need no bias.
        self.linears = nn.ModuleList([nn.Linear(inner, outer, bias=False) for inner, outer in pairs])
        self.norms = nn.ModuleList([nn.BatchNorm1d(outer) for _, outer in pairs])

    def forward(self, rows: Tensor) -> Tensor:
        """(rows, in) -> (rows, out)."""
        for linear, norm in zip(self.linears, self.norms, strict=True):
            rows = torch.relu_(norm(linear(rows)))
        return rows


class CoordinateLayer(PointLayers):
    """The layer that reads coordinates: in float32 under autocast too, since bfloat16 resolves 40 m to 0.25 m."""

    def forward(self, rows: Tensor) -> Tensor:
        """(rows, in) coordinates -> (rows, out)."""
        with torch.autocast(rows.device.type, enabled=False):
            return super().forward(rows.float())


class PooledLayer(nn.Module):
    """The layer before a global maximum, and the maximum: linear, batch norm, ReLU, maximum over each cloud's points.

    The wide layer makes most of a PointNet's work, yet only one point a cloud and channel comes through. Batch norm is
    increasing (decreasing where its weight is negative), so the point is found before it; the batch's mean and
    variance follow from those of the input; and gradients go through the chosen points and these two only, never
    through a (points, channels) matrix. The result is that of the layers one after the other.
    """

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inner, outer, bias=False)
        self.norm = nn.BatchNorm1d(outer, momentum=_BATCH_NORM_MOMENTUM)

    def forward(self, rows: Tensor, batch: int) -> Tensor:
        """(batch * points, in) -> float32 (batch, out)."""
        weight, norm = self.linear.weight, self.norm
        with torch.no_grad():
            rising = torch.where(norm.weight < 0, -1.0, 1.0)
            products = (weight * rising[:, None]) @ rows.T
            chosen = products.view(len(weight), batch, -1).max(dim=2).indices.T
            chosen += torch.arange(batch, device=rows.device)[:, None] * (len(rows) // batch)
        picked = rows[chosen.reshape(-1)].view(batch, len(weight), -1)
        with torch.autocast(rows.device.type, enabled=False):
            value = (picked.float() * weight).sum(dim=2)
            mean, variance = self._statistics(rows)
            return torch.relu((value - mean) * torch.rsqrt(variance + norm.eps) * norm.weight + norm.bias)

    def _statistics(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance (out,) of the linear layer's outputs: the batch's in training, else the running ones."""
        count = len(rows)
        running_mean, running_var = self.norm.get_buffer("running_mean"), self.norm.get_buffer("running_var")
        if not self.training:
            return running_mean, running_var
        mean_row = rows.mean(dim=0, dtype=torch.float32)
        # In float32: a covariance rounded to bfloat16 gives some outputs a negative variance.
        centred = rows.float() - mean_row
        covariance = (centred.T @ centred) / count
        mean = self.linear.weight @ mean_row
        variance = ((self.linear.weight @ covariance) * self.linear.weight).sum(dim=1).clamp(min=0)
        with torch.no_grad():
            running_mean.lerp_(mean, _BATCH_NORM_MOMENTUM)
            running_var.lerp_(variance * (count / (count - 1)), _BATCH_NORM_MOMENTUM)
            self.norm.get_buffer("num_batches_tracked").add_(1)
        return mean, variance


def scaled(channels: int, width: float) -> int:
    """A layer's channels times `width`, in whole eighths (8, 16, ...)."""
    return max(8, round(channels * width / 8) * 8)
