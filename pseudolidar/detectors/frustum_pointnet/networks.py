"""Frustum PointNet's networks, v1 on PointNet, v2 on PointNet++; layers see matrices with a row for each point."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pseudolidar.detectors.frustum_pointnet.box_coder import ONE_HOT_CLASSES
from pseudolidar.detectors.pointnet2 import FeaturePropagation, SetAbstraction, SharedMLP
from pseudolidar.training import FusedBatchNorm

_BATCH_NORM_MOMENTUM = 0.1


class RowMLP(nn.Module):
    """A shared MLP like `SharedMLP`, on rows of a matrix only: linear, batch norm, ReLU."""

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


class CoordinateMLP(RowMLP):
    """A `RowMLP` that reads coordinates, in float32 under autocast too: bfloat16 resolves 40 m to 0.25 m."""

    def forward(self, rows: Tensor) -> Tensor:
        """(rows, in) coordinates -> (rows, out)."""
        with torch.autocast(rows.device.type, enabled=False):
            return super().forward(rows.float())


class PooledLayer(FusedBatchNorm):
    """The layer before a global maximum, and the maximum: linear, batch norm, ReLU, maximum over each cloud's points.

    This wide layer is most of a PointNet's work, but only one point for each cloud and channel comes through. Batch
    norm is increasing (decreasing where its weight is negative), so the point is found before it; the batch's mean and
    variance follow from those of the input; and gradients go through the chosen points and these two only, never
    through a (points, channels) matrix. The result is that of the layers one after the other.
    """

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inner, outer, bias=False)
        self.norm = nn.BatchNorm1d(outer, momentum=_BATCH_NORM_MOMENTUM)

    def forward(self, rows: Tensor, batch: int) -> Tensor:
        """(batch * points, in) -> float32 (batch, out)."""
        if self.layer_by_layer:
            with torch.autocast(rows.device.type, enabled=False):
                activations = torch.relu(self.norm(self.linear(rows.float())))
            return activations.view(batch, -1, activations.shape[1]).max(dim=1).values
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


class SegmentationNet(nn.Module):
    """v1's instance segmentation: per-point features 64, 64, 64, 128, 1024, global maximum, decoder.

    The decoder's first layer sees each point's 64 features, the 1024 global ones and the one-hot vector; the product
    with the global part is computed once per cloud.
    """

    def __init__(self, width: float, dropout: float) -> None:
        super().__init__()
        c64, c128, c256, c512, c1024 = _scaled((64, 128, 256, 512, 1024), width)
        self.coordinates = CoordinateMLP((4, c64))  # and intensity
        self.local = RowMLP((c64, c64, c64))
        self.lift = RowMLP((c64, c128))
        self.pool = PooledLayer(c128, c1024)
        self.decoder_local = nn.Linear(c64, c512, bias=False)
        self.decoder_global = nn.Linear(c1024 + len(ONE_HOT_CLASSES), c512, bias=False)
        self.decoder_norm = nn.BatchNorm1d(c512)
        self.decoder = RowMLP((c512, c256, c128, c128))
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Linear(c128, 2)

    def forward(self, points: Tensor, one_hot: Tensor) -> Tensor:
        """Points (B, N, 4) and one-hot vectors (B, 3) -> float32 logits (B, N, 2)."""
        batch, count, _ = points.shape
        local = self.local(self.coordinates(points.reshape(batch * count, -1)))
        pooled = self.pool(self.lift(local), batch)
        once_a_cloud = self.decoder_global(torch.cat([pooled, one_hot], dim=1))
        rows = self.decoder_local(local).view(batch, count, -1) + once_a_cloud[:, None]
        rows = torch.relu_(self.decoder_norm(rows.view(batch * count, -1)))
        rows = self.dropout(self.decoder(rows))
        return self.logits(rows).float().view(batch, count, 2)


class SegmentationNetV2(nn.Module):
    """v2's instance segmentation: set abstraction at three scales (128 centres, 32, one group), and propagation back.

    The one-hot vector joins the feature of the one group.
    """

    def __init__(self, width: float, density: float, dropout: float) -> None:
        super().__init__()
        c32, c64, c96, c128, c256, c1024 = _scaled((32, 64, 96, 128, 256, 1024), width)
        n32, n64, n128 = _scaled((32, 64, 128), density)
        near = ((c32, c32, c64), (c64, c64, c128), (c64, c96, c128))
        far = ((c64, c64, c128), (c128, c128, c256), (c128, c128, c256))
        self.abstraction1 = SetAbstraction(n128, (0.2, 0.4, 0.8), (n32, n64, n128), 1, near)
        first = self.abstraction1.out_channels
        self.abstraction2 = SetAbstraction(n32, (0.4, 0.8, 1.6), (n64, n64, n128), first, far)
        second = self.abstraction2.out_channels
        self.abstraction3 = SetAbstraction(None, (), (), second, ((c128, c256, c1024),))
        self.propagation1 = FeaturePropagation(c1024 + len(ONE_HOT_CLASSES), second, (c128, c128))
        self.propagation2 = FeaturePropagation(c128, first, (c128, c128))
        self.propagation3 = FeaturePropagation(c128, 4, (c128, c128))
        self.decoder = SharedMLP((c128, c128))
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Linear(c128, 2)

    def forward(self, points: Tensor, one_hot: Tensor) -> Tensor:
        """Points (B, N, 4) and one-hot vectors (B, 3) -> float32 logits (B, N, 2)."""
        coordinates, intensity = points[:, :, :3].contiguous(), points[:, :, 3:]
        centres1, features1 = self.abstraction1(coordinates, intensity)
        centres2, features2 = self.abstraction2(centres1, features1)
        origin, everything = self.abstraction3(centres2, features2)
        everything = torch.cat([everything, one_hot[:, None].to(everything.dtype)], dim=2)
        features2 = self.propagation1(centres2, origin, features2, everything)
        features1 = self.propagation2(centres1, centres2, features1, features2)
        features = self.propagation3(coordinates, centres1, points, features1)
        logits: Tensor = self.logits(self.dropout(self.decoder(features)))
        return logits.float()


class PooledPointNet(nn.Module):
    """Per-point layers, global maximum, one-hot vector, fully connected layers: the T-Net, and v1's box estimation."""

    def __init__(self, point_channels: Sequence[int], head_channels: Sequence[int], outputs: int, width: float) -> None:
        super().__init__()
        points, heads = _scaled(point_channels, width), _scaled(head_channels, width)
        self.coordinates = CoordinateMLP((3, points[0]))
        self.points = RowMLP(points[:-1])
        self.pool = PooledLayer(*points[-2:])
        self.head = RowMLP([points[-1] + len(ONE_HOT_CLASSES), *heads])
        self.output = nn.Linear(heads[-1], outputs)

    def forward(self, points: Tensor, one_hot: Tensor) -> Tensor:
        """Points (B, M, 3) and one-hot vectors (B, 3) -> float32 (B, outputs)."""
        rows = self.points(self.coordinates(points.reshape(-1, 3)))
        return _fully_connected(self.head, self.output, self.pool(rows, len(points)), one_hot)


class BoxNetV2(nn.Module):
    """v2's box estimation: set abstraction at one scale (128 centres, 32, one group), fully connected layers."""

    def __init__(self, outputs: int, width: float, density: float) -> None:
        super().__init__()
        c64, c128, c256, c512 = _scaled((64, 128, 256, 512), width)
        n32, n64, n128 = _scaled((32, 64, 128), density)
        self.abstraction1 = SetAbstraction(n128, (0.2,), (n64,), 0, ((c64, c64, c128),))
        self.abstraction2 = SetAbstraction(n32, (0.4,), (n64,), c128, ((c128, c128, c256),))
        self.abstraction3 = SetAbstraction(None, (), (), c256, ((c256, c256, c512),))
        self.head = RowMLP((c512 + len(ONE_HOT_CLASSES), c512, c256))
        self.output = nn.Linear(c256, outputs)

    def forward(self, points: Tensor, one_hot: Tensor) -> Tensor:
        """Points (B, M, 3) and one-hot vectors (B, 3) -> float32 (B, outputs)."""
        centres, features = self.abstraction1(points, None)
        centres, features = self.abstraction2(centres, features)
        _, everything = self.abstraction3(centres, features)
        return _fully_connected(self.head, self.output, everything[:, 0], one_hot)


def _fully_connected(head: nn.Module, output: nn.Module, features: Tensor, one_hot: Tensor) -> Tensor:
    # One row an object: full precision costs nothing here.
    with torch.autocast(features.device.type, enabled=False):
        result: Tensor = output(head(torch.cat([features.float(), one_hot], dim=1)))
    return result


def _scaled(counts: Sequence[int], factor: float) -> list[int]:
    """Channels or points times a factor, rounded to multiples of 8, at least 8."""
    return [max(8, round(count * factor / 8) * 8) for count in counts]
