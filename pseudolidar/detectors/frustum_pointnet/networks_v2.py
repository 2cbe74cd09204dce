"""The networks of Frustum PointNet v2, on PointNet++: instance segmentation and box network; the T-Net is v1's."""

import torch
from torch import Tensor, nn

from pseudolidar.detectors.frustum_pointnet.coding import ONE_HOT_CLASSES
from pseudolidar.detectors.frustum_pointnet.layers import PointLayers, scaled
from pseudolidar.detectors.pointnet2 import FeaturePropagation, SetAbstraction, SharedMLP


class SegmentationNetV2(nn.Module):
    """Instance segmentation: set abstraction at three scales (128 centres, 32, one group), and the way back.

    The one-hot vector joins the feature of the one group.

    Args:
        width: multiplies the channels.
        density: multiplies the numbers of centres and of neighbours.
        dropout: before the logits.
    """

    def __init__(self, width: float, density: float, dropout: float) -> None:
        super().__init__()
        c32, c64, c96, c128, c256, c1024 = (scaled(channels, width) for channels in (32, 64, 96, 128, 256, 1024))
        n32, n64, n128 = (scaled(count, density) for count in (32, 64, 128))
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


class BoxNetV2(nn.Module):
    """Box estimation: set abstraction at one scale (128 centres, 32, one group), fully connected layers.

    Args:
        outputs: numbers that code a box.
        width: multiplies the channels.
        density: multiplies the numbers of centres and of neighbours.
    """

    def __init__(self, outputs: int, width: float, density: float) -> None:
        super().__init__()
        c64, c128, c256, c512 = (scaled(channels, width) for channels in (64, 128, 256, 512))
        n32, n64, n128 = (scaled(count, density) for count in (32, 64, 128))
        self.abstraction1 = SetAbstraction(n128, (0.2,), (n64,), 0, ((c64, c64, c128),))
        self.abstraction2 = SetAbstraction(n32, (0.4,), (n64,), c128, ((c128, c128, c256),))
        self.abstraction3 = SetAbstraction(None, (), (), c256, ((c256, c256, c512),))
        self.head = PointLayers((c512 + len(ONE_HOT_CLASSES), c512, c256))
        self.output = nn.Linear(c256, outputs)

    def forward(self, points: Tensor, one_hot: Tensor) -> Tensor:
        """Points (B, M, 3) and one-hot vectors (B, 3) -> float32 (B, outputs)."""
        centres, features = self.abstraction1(points, None)
        centres, features = self.abstraction2(centres, features)
        _, everything = self.abstraction3(centres, features)
        # The head has one row an object: full precision costs nothing there.
        with torch.autocast(points.device.type, enabled=False):
            output: Tensor = self.output(self.head(torch.cat([everything[:, 0].float(), one_hot], dim=1)))
        return output
