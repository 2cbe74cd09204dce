"""PointRCNN's first stage (section 3.1): the RPN finds foreground points and their boxes; the best are proposals."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pseudolidar.detectors.pointnet2 import FeaturePropagation, SetAbstraction, SharedLayer
from pseudolidar.ops import nms_best_first

# Distance-based proposals (published code): near and far boxes have numbers of their own, so that near ones, which have
# more points, don't take all places. Boxes behind the camera or beyond the far limit are left out.
_NEAR_M, _FAR_M = 40.0, 80.0
_NEAR_FRACTION = 0.7


@dataclass(frozen=True)
class BackboneShape:
    """The RPN's PointNet++ with multi-scale grouping.

    Attributes:
        centres, radii, neighbours, channels: of each level; all but the centres of each scale, the channels of each
            layer; radii in m.
        propagation: channels of each level on the way back to the points, the points' own first.
        head, dropout: channels and dropout of the hidden layer of segmentation and regression.
    """

    centres: Sequence[int]
    radii: Sequence[Sequence[float]]
    neighbours: Sequence[Sequence[int]]
    channels: Sequence[Sequence[Sequence[int]]]
    propagation: Sequence[Sequence[int]]
    head: int
    dropout: float


PUBLISHED_BACKBONE = BackboneShape(
    centres=(4096, 1024, 256, 64),
    radii=((0.1, 0.5), (0.5, 1.0), (1.0, 2.0), (2.0, 4.0)),
    neighbours=((16, 32), (16, 32), (16, 32), (16, 32)),
    channels=(
        ((16, 16, 32), (32, 32, 64)),
        ((64, 64, 128), (64, 96, 128)),
        ((128, 196, 256), (128, 196, 256)),
        ((256, 256, 512), (256, 384, 512)),
    ),
    propagation=((128, 128), (256, 256), (512, 512), (512, 512)),
    head=128,
    dropout=0.5,
)


@dataclass(frozen=True)
class RPNOutput:
    """Features (B, N, C), float32 foreground logits (B, N, 1) and coded boxes (B, N, 76) of B scenes with N points."""

    features: Tensor
    rpn_cls: Tensor
    rpn_reg: Tensor


class RPN(nn.Module):
    """The region proposal network: point features, foreground segmentation, box regression by bins for each point."""

    def __init__(self, shape: BackboneShape, regression_channels: int) -> None:
        super().__init__()
        self.backbone_net = Backbone(shape)
        self.rpn_cls_layer = _point_head(shape, 1)
        self.rpn_reg_layer = _point_head(shape, regression_channels)
        # Points of objects are rare: start where they have a probability of 1 % (Lin et al., ICCV 2017, section 3.3).
        nn.init.constant_(self.rpn_cls_layer.get_parameter("2.conv.bias"), -4.595)
        nn.init.normal_(self.rpn_reg_layer.get_parameter("2.conv.weight"), std=0.001)

    def forward(self, points: Tensor) -> RPNOutput:
        """Foreground scores and coded boxes of points float32 (B, N, 3), rectified camera frame, m."""
        features = self.backbone_net(points)
        return RPNOutput(features, self.rpn_cls_layer(features).float(), self.rpn_reg_layer(features).float())


class Backbone(nn.Module):
    """Levels of set abstraction, and feature propagation back to the points."""

    def __init__(self, shape: BackboneShape) -> None:
        super().__init__()
        self.SA_modules = nn.ModuleList()
        channels = [0]
        for centres, radii, neighbours, scales in zip(
            shape.centres, shape.radii, shape.neighbours, shape.channels, strict=True
        ):
            self.SA_modules.append(SetAbstraction(centres, radii, neighbours, channels[-1], scales))
            channels.append(sum(layers[-1] for layers in scales))
        # On the way back, the deepest level's features come from set abstraction itself.
        known = [layers[-1] for layers in shape.propagation[1:]] + [channels[-1]]
        self.FP_modules = nn.ModuleList(
            FeaturePropagation(*level) for level in zip(known, channels[:-1], shape.propagation, strict=True)
        )

    def forward(self, points: Tensor) -> Tensor:
        """Points float32 (B, N, 3) -> features (B, N, C)."""
        levels: list[tuple[Tensor, Tensor | None]] = [(points, None)]
        for abstraction in self.SA_modules:
            levels.append(abstraction(*levels[-1], in_sampling_order=len(levels) > 1))
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
        SharedLayer(inner, shape.head, dims=1),
        nn.Dropout(shape.dropout),
        SharedLayer(shape.head, outputs, batch_norm=False, relu=False, dims=1),
    )


@dataclass(frozen=True)
class ProposalSettings:
    """The proposal layer: how RoIs are chosen among the RPN's boxes, of which each point has one.

    Attributes:
        nms_pre, nms_post: the number of best boxes that go into non-maximum suppression, and of RoIs that come out.
        nms_threshold: BEV IoU above which the worse box goes.
        rotated: whether that IoU is the boxes' own; else, as published, that of boxes without their heading.
    """

    nms_pre: int
    nms_post: int
    nms_threshold: float
    rotated: bool


PUBLISHED_PROPOSALS = ProposalSettings(nms_pre=9000, nms_post=100, nms_threshold=0.8, rotated=False)


def propose(boxes: Tensor, scores: Tensor, settings: ProposalSettings) -> Tensor:
    """The RoIs (B, nms_post, 7) of each scene, near before far, each by falling score; zeros fill up.

    They are chosen among boxes (B, N, 7) x y z h w l ry, rectified camera frame, by scores (B, N).
    """
    depth = boxes[..., 2]
    is_near, is_far = (depth > 0) & (depth <= _NEAR_M), (depth > _NEAR_M) & (depth <= _FAR_M)
    order = ranked(scores, torch.where(is_near, 0, torch.where(is_far, 1, 2)))
    near, far = is_near.sum(dim=1), is_far.sum(dim=1)
    near_pre, near_post = int(settings.nms_pre * _NEAR_FRACTION), int(settings.nms_post * _NEAR_FRACTION)
    # As published: without far boxes their places go to the next best near ones.
    first_far, far = torch.where(far > 0, near, near_pre), torch.where(far > 0, far, near - near_pre)
    chosen = []
    for first, number, pre, post in (
        (torch.zeros_like(near), near, near_pre, near_post),
        (first_far, far, settings.nms_pre - near_pre, settings.nms_post - near_post),
    ):
        place = first[:, None] + torch.arange(max(1, min(pre, boxes.shape[1])), device=boxes.device)
        index = order.gather(1, place.clamp(max=boxes.shape[1] - 1))
        candidates = boxes.take_along_dim(index[..., None], dim=1)
        kept = nms_best_first(candidates, number.clamp(0, pre), settings.nms_threshold, settings.rotated, post)
        chosen.append(torch.where(kept < 0, -1, index.gather(1, kept.clamp(min=0))))
    kept = torch.cat(chosen, dim=1)
    # What fills up, to the end.
    kept = kept.gather(1, (kept < 0).to(torch.uint8).argsort(dim=1, stable=True))[..., None]
    return torch.where(kept < 0, 0, boxes.take_along_dim(kept.clamp(min=0), dim=1))


def ranked(scores: Tensor, group: Tensor) -> Tensor:
    """Indices (B, N) by ascending group (B, N), in a group by falling scores (B, N), of equal ones the first first."""
    order = torch.sort(-scores, dim=1, stable=True).indices
    return order.gather(1, group.gather(1, order).argsort(dim=1, stable=True))
