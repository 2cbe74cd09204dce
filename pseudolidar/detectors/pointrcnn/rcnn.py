"""PointRCNN's second stage (sections 3.3 and 3.4): RoI pooling in canonical coordinates, and the RCNN head."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pseudolidar.detectors.pointnet2 import SetAbstraction, SharedLayer, SharedMLP
from pseudolidar.detectors.pointrcnn.box_coder import canonical
from pseudolidar.detectors.pointrcnn.rpn import RPNOutput
from pseudolidar.ops import group, roi_pool_points

# Of a pooled point: canonical coordinates, whether the RPN takes it for foreground, and its distance.
_LOCAL_CHANNELS = 5
_DISTANCE_SCALE_M = 70.0
# RoIs whose points go through the network together: see `pointnet2`.
_ROIS_AT_ONCE = {"cpu": 16, "cuda": 512}


@dataclass(frozen=True)
class RCNNShape:
    """RoI pooling, and the RCNN head's PointNet++ with one scale.

    Attributes:
        points, margin_m: pooled from each RoI, which is enlarged on each side to include its surroundings.
        mask_threshold: foreground probability above which a point counts as the object's.
        up, head: channels of the shared MLP on local features, and of the hidden layers of confidence and refinement.
        centres, radii, neighbours: of each level but the last, which is one group of all points; radii in m.
        channels: of each layer of each level.
        batch_norm: in all layers; not in the published network. Short schedules learn several times as much with it.
    """

    points: int
    margin_m: float
    mask_threshold: float
    up: Sequence[int]
    centres: Sequence[int]
    radii: Sequence[float]
    neighbours: Sequence[int]
    channels: Sequence[Sequence[int]]
    head: Sequence[int]
    batch_norm: bool


PUBLISHED_RCNN = RCNNShape(
    points=512,
    margin_m=1.0,
    mask_threshold=0.3,
    up=(128, 128),
    centres=(128, 32),
    radii=(0.2, 0.4),
    neighbours=(64, 64),
    channels=((128, 128, 128), (128, 128, 256), (256, 256, 512)),
    head=(256, 256),
    batch_norm=False,
)


class RCNNHead(nn.Module):
    """The RCNN head: from the points pooled in each RoI, in canonical coordinates, to confidence and refinement."""

    margin: Tensor

    def __init__(self, shape: RCNNShape, feature_channels: int, regression_channels: int) -> None:
        super().__init__()
        self.shape = shape
        margin = torch.tensor([0, shape.margin_m, 0, *3 * [2 * shape.margin_m], 0], dtype=torch.float32)
        self.register_buffer("margin", margin, persistent=False)
        self.xyz_up_layer = SharedMLP((_LOCAL_CHANNELS, *shape.up), shape.batch_norm)
        merged = shape.up[-1]
        self.merge_down_layer = SharedMLP((merged + feature_channels, merged), shape.batch_norm)
        self.SA_modules = nn.ModuleList()
        levels: list[tuple[int | None, tuple[float, ...], tuple[int, ...]]] = [
            (centres, (radius,), (neighbours,))
            for centres, radius, neighbours in zip(shape.centres, shape.radii, shape.neighbours, strict=True)
        ]
        channels = merged
        for (centres, radii, neighbours), layers in zip([*levels, (None, (), ())], shape.channels, strict=True):
            self.SA_modules.append(SetAbstraction(centres, radii, neighbours, channels, (layers,), shape.batch_norm))
            channels = layers[-1]
        self.cls_layer = _roi_head(channels, shape, 1)
        self.reg_layer = _roi_head(channels, shape, regression_channels)
        if not shape.batch_norm:
            for layer in self.modules():
                if isinstance(layer, nn.Conv1d | nn.Conv2d):
                    nn.init.xavier_normal_(layer.weight)
                    if layer.bias is not None:
                        nn.init.zeros_(layer.bias)
        nn.init.normal_(self.reg_layer.get_parameter("3.conv.weight"), std=0.001)

    def forward(self, points: Tensor, rpn: RPNOutput, rois: Tensor) -> tuple[Tensor, Tensor]:
        """Confidence logits float32 (B, R, 1) and refinement (B, R, channels) of RoIs (B, R, 7) in points (B, N, 3)."""
        local, features, _ = self.pool(points, rpn, rois)
        # A few RoIs at a time: the memory of all of them together is many times that of the RPN.
        at_once = _ROIS_AT_ONCE.get(local.device.type, _ROIS_AT_ONCE["cuda"])
        parts = zip(local.flatten(0, 1).split(at_once), features.flatten(0, 1).split(at_once), strict=True)
        outputs = [self.score_and_refine(*part) for part in parts]
        rcnn_cls, rcnn_reg = (torch.cat(column).view(*rois.shape[:2], -1) for column in zip(*outputs, strict=True))
        return rcnn_cls, rcnn_reg

    def pool(self, points: Tensor, rpn: RPNOutput, rois: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """RoI pooling: local features (B, R, P, 5), RPN features (B, R, P, C), and bool (B, R): has the RoI any point?

        RoIs without a point get zeros before the change of frame, as published.
        """
        index, found = roi_pool_points(points, rois + self.margin, self.shape.points)
        has_points = found > 0
        there = has_points[:, :, None, None]
        is_foreground = (rpn.rpn_cls.detach().sigmoid() > self.shape.mask_threshold).to(points.dtype)
        distance = torch.linalg.vector_norm(points, dim=2, keepdim=True) / _DISTANCE_SCALE_M - 0.5
        local = group(torch.cat([points, is_foreground, distance], dim=2), index) * there
        coordinates = canonical(local[..., :3].flatten(0, 1), rois.flatten(0, 1))
        local = torch.cat([coordinates.view_as(local[..., :3]), local[..., 3:]], dim=3)
        return local, group(rpn.features, index) * there, has_points

    def score_and_refine(self, local: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Confidence (R, 1) and refinement (R, channels) from local features (R, P, 5) and the RPN's (R, P, C)."""
        coordinates = local[..., :3].contiguous()
        # Metres and centimetres: bfloat16 would not tell them apart.
        with torch.autocast(local.device.type, enabled=False):
            product = functional.linear(local.flatten(0, 1), *self.xyz_up_layer.first.affine())
        raised = self.xyz_up_layer.after_first_product(product).view(*local.shape[:2], -1)
        merged = self.merge_down_layer(torch.cat([raised, features.to(raised.dtype)], dim=2))
        for level, abstraction in enumerate(self.SA_modules):
            coordinates, merged = abstraction(coordinates, merged, in_sampling_order=level > 0)
        roi = merged[:, 0]
        return self.cls_layer(roi).float(), self.reg_layer(roi).float()


def _roi_head(inner: int, shape: RCNNShape, outputs: int) -> nn.Sequential:
    first, second = shape.head
    return nn.Sequential(
        SharedLayer(inner, first, shape.batch_norm, dims=1),
        nn.Identity(),  # where published checkpoints have a dropout of nothing
        SharedLayer(first, second, shape.batch_norm, dims=1),
        SharedLayer(second, outputs, batch_norm=False, relu=False, dims=1),
    )
