"""PointRCNN (Shi et al., CVPR 2019): boxes from points in two stages, proposals and their refinement."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from pseudolidar.detectors.pointrcnn.coding import BoxCoding, boxes_at_points, boxes_in_regions
from pseudolidar.detectors.pointrcnn.first_stage import BackboneShape, FirstStage, RegionProposalNetwork
from pseudolidar.detectors.pointrcnn.proposals import ProposalSettings, propose
from pseudolidar.detectors.pointrcnn.second_stage import RegionNetwork, RegionShape

MEAN_SIZES_M = {
    "Car": (1.52563191462, 1.62856739989, 3.88311640418),
    "Pedestrian": (1.763, 0.661, 0.844),
    "Cyclist": (1.737, 0.597, 1.763),
}
"""Mean height, width, length in m of KITTI's classes; the car's as in PointRCNN's published configuration."""

PUBLISHED_BACKBONE = BackboneShape()
PUBLISHED_REGION = RegionShape()
PUBLISHED_PROPOSALS = ProposalSettings()


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
        mean_size_m: Sequence[float] = MEAN_SIZES_M["Car"],
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


def require_points(points: Tensor) -> None:
    """Raise a ValueError unless `points` are finite (B, N, 3) with N at least 1."""
    if points.ndim != 3 or points.shape[2] != 3 or points.shape[1] < 1:
        raise ValueError(f"points: found shape {tuple(points.shape)}, expected (scenes, points, 3), at least one point")
    if not bool(torch.isfinite(points).all()):
        scene, point, _ = torch.nonzero(~torch.isfinite(points))[0].tolist()
        raise ValueError(
            f"points: found {points[scene, point].tolist()} at scene {scene}, point {point}, expected finite numbers"
        )
