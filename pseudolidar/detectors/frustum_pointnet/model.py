"""Frustum PointNet v1: instance segmentation, T-Net and amodal box estimation on plain PointNets."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pseudolidar.detectors.frustum_pointnet.coding import HEADING_BIN_WIDTH, HEADING_BINS, ONE_HOT_CLASSES

INPUT_CHANNELS = 4  # x y z and intensity
BATCH_NORM_MOMENTUM = 0.1


@dataclass(frozen=True)
class FrustumOutput:
    """What the network says of B frusta, in the frustum's frame (rectified camera, turned to the frustum's centre ray).

    Attributes:
        mask_logits: (B, N, 2), background and object.
        mask: (B, N) bool, the points taken for the object's.
        stage1_centre: (B, 3) m, after the T-Net.
        centre: (B, 3) m, the middle of the box.
        heading_scores: (B, 12) logits.
        heading_residuals: (B, 12), in units of half a bin (pi/12 rad).
        size_scores: (B, clusters) logits.
        size_residuals: (B, clusters, 3), l w h in units of the cluster's mean size.
    """

    mask_logits: Tensor
    mask: Tensor
    stage1_centre: Tensor
    centre: Tensor
    heading_scores: Tensor
    heading_residuals: Tensor
    size_scores: Tensor
    size_residuals: Tensor


class FrustumPointNet(nn.Module):
    """Frustum PointNet v1 (Qi et al., CVPR 2018), layer by layer as published.

    Args:
        mean_sizes_m: l w h of each size cluster.
        width: multiplies the channels of all hidden layers; 1 is the published network.
        object_points: points of the object that go into T-Net and box network.
        dropout: after the segmentation network's decoder.
        centre_depth: subtract the frustum's median depth before segmentation, so that one network sees near and far
            objects at the same place; False is the published network.
    """

    mean_sizes_m: Tensor

    def __init__(
        self,
        mean_sizes_m: Sequence[Sequence[float]],
        width: float = 1.0,
        object_points: int = 512,
        dropout: float = 0.5,
        centre_depth: bool = False,
    ) -> None:
        super().__init__()
        self.object_points = object_points
        self.centre_depth = centre_depth
        self.register_buffer("mean_sizes_m", torch.tensor(mean_sizes_m, dtype=torch.float32))
        clusters = len(mean_sizes_m)
        self.segmentation = SegmentationNet(width, dropout)
        self.t_net = PooledPointNet((128, 128, 256), (256, 128), 3, width)
        self.box_net = PooledPointNet((128, 128, 256, 512), (512, 256), 3 + HEADING_BINS * 2 + clusters * 4, width)

    def forward(self, points: Tensor, one_hot: Tensor, keys: Tensor) -> FrustumOutput:
        """Estimate the box of one object a frustum.

        Args:
            points: (B, N, 4) x y z m in the frustum's frame, and intensity.
            one_hot: (B, 3) class of the 2D box.
            keys: (B, N) random numbers in [0, 1): among the object's points those with the lowest keys are taken.
        """
        offset = torch.zeros_like(points[:, 0, :3])
        if self.centre_depth:
            offset[:, 2] = points[:, :, 2].median(dim=1).values
        points = torch.cat([points[:, :, :3] - offset[:, None], points[:, :, 3:]], dim=2)
        mask_logits = self.segmentation(points, one_hot)
        mask = object_mask(mask_logits)
        object_points, mask_centre = masked_points(points[:, :, :3], mask, keys, self.object_points)

        centred = object_points - mask_centre[:, None]
        shift = self.t_net(centred, one_hot)
        box = self.box_net(centred - shift[:, None], one_hot)

        batch, clusters = len(points), len(self.mean_sizes_m)
        centre, heading_scores, heading_residuals, size_scores, size_residuals = box.split(
            [3, HEADING_BINS, HEADING_BINS, clusters, clusters * 3], dim=1
        )
        stage1_centre = mask_centre + offset + shift
        return FrustumOutput(
            mask_logits,
            mask,
            stage1_centre,
            stage1_centre + centre,
            heading_scores,
            heading_residuals,
            size_scores,
            size_residuals.view(batch, clusters, 3),
        )


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
        self.norm = nn.BatchNorm1d(outer, momentum=BATCH_NORM_MOMENTUM)

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
            running_mean.lerp_(mean, BATCH_NORM_MOMENTUM)
            running_var.lerp_(variance * (count / (count - 1)), BATCH_NORM_MOMENTUM)
            self.norm.get_buffer("num_batches_tracked").add_(1)
        return mean, variance


class SegmentationNet(nn.Module):
    """The instance segmentation PointNet: per-point features 64, 64, 64, 128, 1024, global maximum, decoder.

    The decoder's first layer sees each point's 64 features, the 1024 global ones and the one-hot vector. The global
    part of its product is the same for all points of a cloud and is computed once a cloud.
    """

    def __init__(self, width: float, dropout: float) -> None:
        super().__init__()
        c64, c128, c256, c512, c1024 = (scaled(channels, width) for channels in (64, 128, 256, 512, 1024))
        self.coordinates = CoordinateLayer((INPUT_CHANNELS, c64))
        self.local = PointLayers((c64, c64, c64))
        self.lift = PointLayers((c64, c128))
        self.pool = PooledLayer(c128, c1024)
        self.decoder_local = nn.Linear(c64, c512, bias=False)
        self.decoder_global = nn.Linear(c1024 + len(ONE_HOT_CLASSES), c512, bias=False)
        self.decoder_norm = nn.BatchNorm1d(c512)
        self.decoder = PointLayers((c512, c256, c128, c128))
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


class PooledPointNet(nn.Module):
    """Per-point layers, global maximum, one-hot vector, fully connected layers: the shape of T-Net and box network."""

    def __init__(self, point_channels: Sequence[int], head_channels: Sequence[int], outputs: int, width: float) -> None:
        super().__init__()
        points = [scaled(channels, width) for channels in point_channels]
        heads = [scaled(channels, width) for channels in head_channels]
        self.coordinates = CoordinateLayer((3, points[0]))
        self.points = PointLayers(points[:-1])
        self.pool = PooledLayer(*points[-2:])
        self.head = PointLayers([points[-1] + len(ONE_HOT_CLASSES), *heads])
        self.output = nn.Linear(heads[-1], outputs)

    def forward(self, points: Tensor, one_hot: Tensor) -> Tensor:
        """Points (B, M, 3) and one-hot vectors (B, 3) -> float32 (B, outputs)."""
        rows = self.points(self.coordinates(points.reshape(-1, 3)))
        pooled = self.pool(rows, len(points))
        # The head has one row an object: full precision costs nothing there.
        with torch.autocast(points.device.type, enabled=False):
            output: Tensor = self.output(self.head(torch.cat([pooled, one_hot], dim=1)))
        return output


def scaled(channels: int, width: float) -> int:
    """A layer's channels times `width`, in whole eighths (8, 16, ...)."""
    return max(8, round(channels * width / 8) * 8)


def object_mask(mask_logits: Tensor) -> Tensor:
    """Points (B, N) that are rather object than background; where there are none, the likeliest one."""
    margin = (mask_logits[..., 1] - mask_logits[..., 0]).detach()
    mask = margin > 0
    likeliest = torch.zeros_like(mask).scatter_(1, margin.argmax(dim=1, keepdim=True), True)
    return torch.where(mask.any(dim=1, keepdim=True), mask, likeliest)


def masked_points(points: Tensor, mask: Tensor, keys: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Sample `count` of each cloud's masked points, without repetition as long as there are enough.

    Args:
        points: (B, N, 3).
        mask: (B, N) bool, at least one True a row.
        keys: (B, N) in [0, 1); points are taken in the order of their keys, again from the start if they run out.
        count: how many.

    Returns:
        points (B, count, 3) and the mean of all masked points (B, 3).
    """
    weights = mask.to(points.dtype)[..., None]
    centre = (points * weights).sum(dim=1) / weights.sum(dim=1)
    order = torch.where(mask, keys, keys + 1).argsort(dim=1, stable=True)
    position = torch.arange(count, device=points.device)[None] % mask.sum(dim=1, keepdim=True)
    index = order.gather(1, position)
    return points.gather(1, index[..., None].expand(-1, -1, 3)), centre


def heading_residual_rad(output: FrustumOutput) -> Tensor:
    """Heading residuals (B, 12) in rad."""
    return output.heading_residuals * (HEADING_BIN_WIDTH / 2)
