"""PointRCNN's first stage: features of points, which of them are objects', and the box that each says."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from pseudolidar.detectors.pointnet2 import FeaturePropagation, PointLayer, SetAbstraction


@dataclass(frozen=True)
class BackboneShape:
    """The first stage's PointNet++ with several scales; the defaults are the published ones.

    Attributes:
        centres: of each level.
        radii: m, of each scale of each level.
        neighbours: of each scale of each level.
        channels: of each layer of each scale of each level.
        propagation: channels of each level on the way back to the points, the points' own first.
        head: channels of the hidden layer of segmentation and regression.
        dropout: in both.
    """

    centres: Sequence[int] = (4096, 1024, 256, 64)
    radii: Sequence[Sequence[float]] = ((0.1, 0.5), (0.5, 1.0), (1.0, 2.0), (2.0, 4.0))
    neighbours: Sequence[Sequence[int]] = ((16, 32), (16, 32), (16, 32), (16, 32))
    channels: Sequence[Sequence[Sequence[int]]] = (
        ((16, 16, 32), (32, 32, 64)),
        ((64, 64, 128), (64, 96, 128)),
        ((128, 196, 256), (128, 196, 256)),
        ((256, 256, 512), (256, 384, 512)),
    )
    propagation: Sequence[Sequence[int]] = ((128, 128), (256, 256), (512, 512), (512, 512))
    head: int = 128
    dropout: float = 0.5


@dataclass(frozen=True)
class FirstStage:
    """What the first stage says of B scenes with N points.

    Attributes:
        features: (B, N, C) of each point.
        rpn_cls: float32 (B, N, 1), foreground logits.
        rpn_reg: float32 (B, N, 76), box regression of each point.
    """

    features: Tensor
    rpn_cls: Tensor
    rpn_reg: Tensor


class RegionProposalNetwork(nn.Module):
    """The first stage: point features, foreground segmentation, a box regression of each point."""

    def __init__(self, shape: BackboneShape, regression_channels: int) -> None:
        super().__init__()
        self.backbone_net = Backbone(shape)
        self.rpn_cls_layer = _point_head(shape, 1)
        self.rpn_reg_layer = _point_head(shape, regression_channels)
        # Points of objects are rare: start where they have a probability of 1 % (Lin et al., ICCV 2017, section 3.3).
        output, regression = self.rpn_cls_layer[2], self.rpn_reg_layer[2]
        assert isinstance(output, PointLayer) and isinstance(regression, PointLayer)
        output.start_at_bias(-4.595)
        regression.start_small()

    def forward(self, points: Tensor) -> FirstStage:
        """Foreground scores and coded boxes of points float32 (B, N, 3), rectified camera frame, m."""
        features = self.backbone_net(points)
        return FirstStage(features, self.rpn_cls_layer(features).float(), self.rpn_reg_layer(features).float())


class Backbone(nn.Module):
    """PointNet++ with several scales: levels of set abstraction, and feature propagation back to the points."""

    def __init__(self, shape: BackboneShape) -> None:
        super().__init__()
        self.SA_modules = nn.ModuleList()
        channels = [0]
        for centres, radii, neighbours, scales in zip(
            shape.centres, shape.radii, shape.neighbours, shape.channels, strict=True
        ):
            self.SA_modules.append(SetAbstraction(centres, radii, neighbours, channels[-1], scales))
            channels.append(sum(layers[-1] for layers in scales))
        self.FP_modules = nn.ModuleList()
        for level, layers in enumerate(shape.propagation):
            is_last = level + 1 == len(shape.propagation)
            known = channels[-1] if is_last else shape.propagation[level + 1][-1]
            self.FP_modules.append(FeaturePropagation(known, channels[level], layers))

    def forward(self, points: Tensor) -> Tensor:
        """Points float32 (B, N, 3) -> features (B, N, C)."""
        levels: list[tuple[Tensor, Tensor | None]] = [(points, None)]
        for abstraction in self.SA_modules:
            levels.append(abstraction(*levels[-1]))
        known, features = levels.pop()
        for propagation in reversed(self.FP_modules):
            finer, own = levels.pop()
            features = propagation(finer, known, own, features)
            known = finer
        assert features is not None
        return features


def _point_head(shape: BackboneShape, outputs: int) -> nn.Sequential:
    inner = shape.propagation[0][-1]
    return nn.Sequential(
        PointLayer(inner, shape.head, dims=1),
        nn.Dropout(shape.dropout),
        PointLayer(shape.head, outputs, batch_norm=False, relu=False, dims=1),
    )
