"""The networks of Frustum PointNet v1, plain PointNets: instance segmentation; T-Net and box network of one shape."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pseudolidar.detectors.frustum_pointnet.coding import ONE_HOT_CLASSES
from pseudolidar.detectors.frustum_pointnet.layers import CoordinateLayer, PointLayers, PooledLayer, scaled

INPUT_CHANNELS = 4  # x y z and intensity


class SegmentationNet(nn.Module):
    """The instance segmentation PointNet: per-point features 64, 64, 64, 128, 1024, global maximum, decoder.

    The decoder's first layer sees each point's 64 features, the 1024 global ones and the one-hot vector. The global
    part of its product is the same for all points of a cloud and is computed once per cloud.
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
