"""PointRCNN's second stage: the points in and around a region, in its own frame, to confidence and refinement."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pseudolidar.detectors.pointnet2 import PointLayer, PointLayers, SetAbstraction
from pseudolidar.detectors.pointrcnn.coding import to_region_frame
from pseudolidar.detectors.pointrcnn.first_stage import FirstStage
from pseudolidar.ops import group, roi_pool_points

# The region's own features of a point: coordinates in its frame, whether the first stage takes it for the object's,
# and its distance.
_REGION_CHANNELS = 5
_DISTANCE_SCALE_M = 70.0
# Regions whose points go through the network together: see `pointnet2`.
_REGIONS_AT_ONCE = {"cpu": 16, "cuda": 512}


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
        if not shape.batch_norm:
            for layer in self.modules():
                if isinstance(layer, PointLayer):
                    layer.start_as_xavier()
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
        own, features, _ = self.pooled(points, first, regions)
        # A few regions at a time: the memory of all of them together is many times that of the first stage.
        at_once = _REGIONS_AT_ONCE.get(own.device.type, _REGIONS_AT_ONCE["cuda"])
        parts = zip(own.flatten(0, 1).split(at_once), features.flatten(0, 1).split(at_once), strict=True)
        judged = [self.judge(*part) for part in parts]
        rcnn_cls, rcnn_reg = (torch.cat(column).view(batch, count, -1) for column in zip(*judged, strict=True))
        return rcnn_cls, rcnn_reg

    def pooled(self, points: Tensor, first: FirstStage, regions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What lies in and around regions (B, R, 7).

        Returns:
            own features (B, R, P, 5), those of the first stage (B, R, P, C), and whether a region has a point at all,
            bool (B, R); as published, those without get zeros, before the change of frame.
        """
        batch, count, _ = regions.shape
        margin = regions.new_tensor([0, self.shape.margin_m, 0, *3 * [2 * self.shape.margin_m], 0])
        index, found = roi_pool_points(points, regions + margin, self.shape.points)
        has_points = found > 0
        there = has_points[:, :, None, None]
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
        return own, group(first.features, index) * there, has_points

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


def _region_head(inner: int, shape: RegionShape, outputs: int) -> nn.Sequential:
    first, second = shape.head
    return nn.Sequential(
        PointLayer(inner, first, shape.batch_norm, dims=1),
        nn.Identity(),  # where published checkpoints have a dropout of nothing
        PointLayer(first, second, shape.batch_norm, dims=1),
        PointLayer(second, outputs, batch_norm=False, relu=False, dims=1),
    )
