"""PointRCNN (Shi et al., CVPR 2019): boxes from points in two stages, proposals and their refinement."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pseudolidar.detectors.pointnet2 import FeaturePropagation, PointLayer, PointLayers, SetAbstraction
from pseudolidar.detectors.pointrcnn.coding import BoxCoding, boxes_at_points, boxes_in_regions, to_region_frame
from pseudolidar.detectors.pointrcnn.proposals import ProposalSettings, propose
from pseudolidar.ops import group, region_points

CAR_MEAN_SIZE_M = (1.52563191462, 1.62856739989, 3.88311640418)
"""Height, width, length of KITTI's cars (PointRCNN, published configuration)."""

# The region's own features of a point: coordinates in its frame, whether the first stage takes it for the object's,
# and its distance.
_REGION_CHANNELS = 5
_DISTANCE_SCALE_M = 70.0
_REGIONS_AT_ONCE = 16


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
class RegionShape:
    """The second stage's PointNet++ with one scale; the defaults are the published ones.

    Attributes:
        points: of each region.
        margin_m: by which a region is larger on each side than its box, to see what is around.
        mask_threshold: foreground probability above which a point counts as the object's.
        up: channels of the layers on a point's own features.
        centres: of each level but the last, which is one group of all.
        radii: m.
        neighbours: of each centre.
        channels: of each layer of each level.
        head: channels of the hidden layers of confidence and refinement.
        batch_norm: in all layers; the published network has none here. Short schedules learn several times as much
            with it.
    """

    points: int = 512
    margin_m: float = 1.0
    mask_threshold: float = 0.3
    up: Sequence[int] = (128, 128)
    centres: Sequence[int] = (128, 32)
    radii: Sequence[float] = (0.2, 0.4)
    neighbours: Sequence[int] = (64, 64)
    channels: Sequence[Sequence[int]] = ((128, 128, 128), (128, 128, 256), (256, 256, 512))
    head: Sequence[int] = (256, 256)
    batch_norm: bool = False


PUBLISHED_BACKBONE = BackboneShape()
PUBLISHED_REGION = RegionShape()
PUBLISHED_PROPOSALS = ProposalSettings()


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


@dataclass(frozen=True)
class PointRCNNOutput:
    """What both stages say of B scenes, also by name (`output["rois"]`) under the published names.

    Attributes:
        rpn_cls: (B, N, 1), foreground logits of the points.
        rpn_reg: (B, N, 76), their box regression.
        rois: (B, R, 7), regions: x y z h w l ry, rectified camera frame, y at the bottom face; zeros fill up.
        rcnn_cls: (B, R, 1), confidence logits of the regions.
        rcnn_reg: (B, R, 46), their refinement.
        boxes: (B, R, 7), the regions refined.
        scores: (B, R), confidence in (0, 1); 0 for the zeros that fill up.
    """

    rpn_cls: Tensor
    rpn_reg: Tensor
    rois: Tensor
    rcnn_cls: Tensor
    rcnn_reg: Tensor
    boxes: Tensor
    scores: Tensor

    def __getitem__(self, name: str) -> Tensor:
        if name not in {entry.name for entry in fields(self)}:
            raise KeyError(name)
        value: Tensor = getattr(self, name)
        return value


class PointRCNN(nn.Module):
    """PointRCNN for one class; the defaults are the published car model with 3,887,452 parameters.

    Parameters have the published names: published checkpoints load as they are (`load_pointrcnn`).

    Args:
        mean_size_m: height, width, length of the class.
        backbone: shape of the first stage.
        region: shape of the second stage.
        proposals: how regions are chosen in evaluation.
    """

    mean_size_m: Tensor
    rpn_coding = BoxCoding(scope_m=3.0, bin_m=0.5, heading_bins=12, quarter=False)
    rcnn_coding = BoxCoding(scope_m=1.5, bin_m=0.5, heading_bins=9, quarter=True)

    def __init__(
        self,
        mean_size_m: Sequence[float] = CAR_MEAN_SIZE_M,
        backbone: BackboneShape = PUBLISHED_BACKBONE,
        region: RegionShape = PUBLISHED_REGION,
        proposals: ProposalSettings = PUBLISHED_PROPOSALS,
    ) -> None:
        super().__init__()
        self.proposals = proposals
        self.register_buffer("mean_size_m", torch.tensor(mean_size_m, dtype=torch.float32), persistent=False)
        self.rpn = RegionProposalNetwork(backbone, self.rpn_coding.channels)
        self.rcnn_net = RegionNetwork(region, backbone.propagation[0][-1], self.rcnn_coding.channels)

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> "PointRCNN":
        """The network that `dataclasses.asdict` of its shapes describes, as checkpoints keep them."""
        return cls(
            arguments["mean_size_m"],
            BackboneShape(**arguments["backbone"]),
            RegionShape(**arguments["region"]),
            ProposalSettings(**arguments["proposals"]),
        )

    def forward(self, points: Tensor) -> PointRCNNOutput:
        """Find the boxes of B scenes.

        Args:
            points: float32 (B, N, 3), rectified camera frame, m; N at least 1.

        Raises:
            ValueError: another shape, no points, or coordinates that are not finite.
        """
        require_points(points)
        first = self.rpn(points)
        regions = propose(self.boxes_of_points(points, first), first.rpn_cls[..., 0], self.proposals)
        rcnn_cls, rcnn_reg = self.rcnn_net(points, first, regions)
        boxes = boxes_in_regions(self.rcnn_coding, regions.flatten(0, 1), rcnn_reg.flatten(0, 1), self.mean_size_m)
        scores = rcnn_cls[..., 0].sigmoid() * (regions[..., 3] > 0)
        return PointRCNNOutput(
            first.rpn_cls, first.rpn_reg, regions, rcnn_cls, rcnn_reg, boxes.view(regions.shape), scores
        )

    def boxes_of_points(self, points: Tensor, first: FirstStage) -> Tensor:
        """The box (B, N, 7) that each point says."""
        flat = boxes_at_points(self.rpn_coding, points.flatten(0, 1), first.rpn_reg.flatten(0, 1), self.mean_size_m)
        return flat.view(*points.shape[:2], 7)


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
        """Points float32 (B, N, 3)."""
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


class RegionNetwork(nn.Module):
    """The second stage: the points in and around each region, in its own frame, to confidence and refinement."""

    def __init__(self, shape: RegionShape, feature_channels: int, regression_channels: int) -> None:
        super().__init__()
        self.shape = shape
        self.xyz_up_layer = PointLayers((_REGION_CHANNELS, *shape.up), shape.batch_norm)
        merged = shape.up[-1]
        self.merge_down_layer = PointLayers((merged + feature_channels, merged), shape.batch_norm)
        self.SA_modules = nn.ModuleList()
        levels: list[tuple[int | None, tuple[float, ...], tuple[int, ...]]] = [
            (centres, (radius,), (neighbours,))
            for centres, radius, neighbours in zip(shape.centres, shape.radii, shape.neighbours, strict=True)
        ]
        channels = merged
        for (centres, radii, neighbours), layers in zip([*levels, (None, (), ())], shape.channels, strict=True):
            self.SA_modules.append(SetAbstraction(centres, radii, neighbours, channels, (layers,), shape.batch_norm))
            channels = layers[-1]
        self.cls_layer = _region_head(channels, shape, 1)
        self.reg_layer = _region_head(channels, shape, regression_channels)
        regression = self.reg_layer[-1]
        assert isinstance(regression, PointLayer)
        regression.start_small()

    def forward(self, points: Tensor, first: FirstStage, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Judge and refine regions.

        Args:
            points: float32 (B, N, 3).
            first: what the first stage says of them.
            regions: float32 (B, R, 7).

        Returns:
            float32 confidence logits (B, R, 1) and refinement (B, R, channels).
        """
        batch, count, _ = regions.shape
        own, features = self.pooled(points, first, regions)
        # A few regions at a time: the memory of all of them together is many times that of the first stage.
        parts = zip(
            own.flatten(0, 1).split(_REGIONS_AT_ONCE), features.flatten(0, 1).split(_REGIONS_AT_ONCE), strict=True
        )
        judged = [self.judge(*part) for part in parts]
        rcnn_cls, rcnn_reg = (torch.cat(column).view(batch, count, -1) for column in zip(*judged, strict=True))
        return rcnn_cls, rcnn_reg

    def pooled(self, points: Tensor, first: FirstStage, regions: Tensor) -> tuple[Tensor, Tensor]:
        """What lies in and around the regions: own features (B, R, P, 5) and those of the first stage (B, R, P, C).

        As published, regions without a point get zeros, before the change of frame.
        """
        batch, count, _ = regions.shape
        margin = regions.new_tensor([0, self.shape.margin_m, 0, *3 * [2 * self.shape.margin_m], 0])
        index, found = region_points(points, regions + margin, self.shape.points)
        there = (found > 0)[:, :, None, None]
        own = torch.cat(
            [
                points,
                (first.rpn_cls.detach().sigmoid() > self.shape.mask_threshold).to(points.dtype),
                torch.linalg.vector_norm(points, dim=2, keepdim=True) / _DISTANCE_SCALE_M - 0.5,
            ],
            dim=2,
        )
        own = group(own, index) * there
        coordinates = to_region_frame(own[..., :3].flatten(0, 1), regions.flatten(0, 1))
        own = torch.cat([coordinates.view(batch, count, -1, 3), own[..., 3:]], dim=3)
        return own, group(first.features, index) * there

    def judge(self, own: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Confidence (R, 1) and refinement (R, channels): own features (R, P, 5), first stage's (R, P, C)."""
        coordinates = own[..., :3].contiguous()
        # Metres and centimetres: bfloat16 would not tell them apart.
        with torch.autocast(own.device.type, enabled=False):
            product = functional.linear(own.flatten(0, 1), *self.xyz_up_layer.first.affine())
        raised = self.xyz_up_layer.after_first_product(product).view(*own.shape[:2], -1)
        merged = self.merge_down_layer(torch.cat([raised, features.to(raised.dtype)], dim=2))
        for abstraction in self.SA_modules:
            coordinates, merged = abstraction(coordinates, merged)
        region = merged[:, 0]
        return self.cls_layer(region).float(), self.reg_layer(region).float()


def require_points(points: Tensor) -> None:
    """Raise a ValueError unless `points` are finite (B, N, 3) with N at least 1."""
    if points.ndim != 3 or points.shape[2] != 3 or points.shape[1] < 1:
        raise ValueError(f"points: found shape {tuple(points.shape)}, expected (scenes, points, 3), at least one point")
    if not bool(torch.isfinite(points).all()):
        scene, point, _ = torch.nonzero(~torch.isfinite(points))[0].tolist()
        raise ValueError(
            f"points: found {points[scene, point].tolist()} at scene {scene}, point {point}, expected finite numbers"
        )


def _point_head(shape: BackboneShape, outputs: int) -> nn.Sequential:
    inner = shape.propagation[0][-1]
    return nn.Sequential(
        PointLayer(inner, shape.head, dims=1),
        nn.Dropout(shape.dropout),
        PointLayer(shape.head, outputs, batch_norm=False, relu=False, dims=1),
    )


def _region_head(inner: int, shape: RegionShape, outputs: int) -> nn.Sequential:
    first, second = shape.head
    return nn.Sequential(
        PointLayer(inner, first, shape.batch_norm, dims=1),
        nn.Identity(),  # where published checkpoints have a dropout of nothing
        PointLayer(first, second, shape.batch_norm, dims=1),
        PointLayer(second, outputs, batch_norm=False, relu=False, dims=1),
    )
