"""PointRCNN (Shi et al., CVPR 2019): boxes from points in two stages, the RPN's proposals and their refinement."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pseudolidar.detectors.pointrcnn.box_coder import BoxCoder, decode_at_points, decode_in_rois
from pseudolidar.detectors.pointrcnn.rcnn import PUBLISHED_RCNN, RCNNHead, RCNNShape
from pseudolidar.detectors.pointrcnn.rpn import (
    PUBLISHED_BACKBONE,
    PUBLISHED_PROPOSALS,
    RPN,
    BackboneShape,
    ProposalSettings,
    RPNOutput,
    propose,
)

MEAN_SIZES_M = {
    "Car": (1.52563191462, 1.62856739989, 3.88311640418),
    "Pedestrian": (1.763, 0.661, 0.844),
    "Cyclist": (1.737, 0.597, 1.763),
}
"""Mean height, width, length in m of KITTI's classes; the car's as in PointRCNN's published configuration."""


@dataclass(frozen=True)
class PointRCNNOutput:
    """The output of both stages for B scenes, also by name (`output["rois"]`) under the published names.

    Attributes:
        rpn_cls, rpn_reg: (B, N, 1) foreground logits of the points, and (B, N, 76) their box regression.
        rois: (B, R, 7) x y z h w l ry, rectified camera frame, y at the bottom face; zeros fill up.
        rcnn_cls, rcnn_reg: (B, R, 1) confidence logits of the RoIs, and (B, R, 46) their refinement.
        boxes, scores: (B, R, 7) the RoIs refined, and (B, R) confidence in (0, 1); 0 for the zeros that fill up.
    """

    rpn_cls: Tensor
    rpn_reg: Tensor
    rois: Tensor
    rcnn_cls: Tensor
    rcnn_reg: Tensor
    boxes: Tensor
    scores: Tensor

    def __getitem__(self, name: str) -> Tensor:
        value: Tensor = vars(self)[name]
        return value


class PointRCNN(nn.Module):
    """PointRCNN for one class; the defaults are the published car model with 3,887,452 parameters.

    Parameters have the published names, so that published checkpoints load (`PointRCNNDetector.from_checkpoint`).
    `mean_size_m` is height, width, length of the class; `proposals` chooses RoIs in evaluation.
    """

    mean_size_m: Tensor
    rpn_coder = BoxCoder(scope_m=3.0, bin_m=0.5, heading_bins=12, quarter=False)
    rcnn_coder = BoxCoder(scope_m=1.5, bin_m=0.5, heading_bins=9, quarter=True)

    def __init__(
        self,
        mean_size_m: Sequence[float] = MEAN_SIZES_M["Car"],
        backbone: BackboneShape = PUBLISHED_BACKBONE,
        rcnn: RCNNShape = PUBLISHED_RCNN,
        proposals: ProposalSettings = PUBLISHED_PROPOSALS,
    ) -> None:
        super().__init__()
        self.proposals = proposals
        self.register_buffer("mean_size_m", torch.tensor(mean_size_m, dtype=torch.float32), persistent=False)
        self.rpn = RPN(backbone, self.rpn_coder.channels)
        self.rcnn_net = RCNNHead(rcnn, backbone.propagation[0][-1], self.rcnn_coder.channels)

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> "PointRCNN":
        """The network from its settings as checkpoints keep them (`dataclasses.asdict` of its shapes)."""
        return cls(
            arguments["mean_size_m"],
            BackboneShape(**arguments["backbone"]),
            RCNNShape(**arguments["rcnn"]),
            ProposalSettings(**arguments["proposals"]),
        )

    def forward(self, points: Tensor) -> PointRCNNOutput:
        """Find the boxes of B scenes of finite points float32 (B, N, 3), rectified camera frame, m; N at least 1."""
        if points.ndim != 3 or points.shape[2] != 3 or points.shape[1] < 1:
            expected = "(scenes, points, 3), at least one point"
            raise ValueError(f"points: found shape {tuple(points.shape)}, expected {expected}")
        if not bool(torch.isfinite(points).all()):
            scene, point, _ = torch.nonzero(~torch.isfinite(points))[0].tolist()
            found = f"{points[scene, point].tolist()} at scene {scene}, point {point}"
            raise ValueError(f"points: found {found}, expected finite numbers")
        return self.both_stages(points)

    def both_stages(self, points: Tensor) -> PointRCNNOutput:
        """`forward` for points that are known to be finite: the host never waits for the GPU."""
        rpn = self.rpn(points)
        rois = propose(self.boxes_of_points(points, rpn), rpn.rpn_cls[..., 0], self.proposals)
        rcnn_cls, rcnn_reg = self.rcnn_net(points, rpn, rois)
        boxes = decode_in_rois(self.rcnn_coder, rois.flatten(0, 1), rcnn_reg.flatten(0, 1), self.mean_size_m)
        scores = rcnn_cls[..., 0].sigmoid() * (rois[..., 3] > 0)
        return PointRCNNOutput(rpn.rpn_cls, rpn.rpn_reg, rois, rcnn_cls, rcnn_reg, boxes.view(rois.shape), scores)

    def boxes_of_points(self, points: Tensor, rpn: RPNOutput) -> Tensor:
        """The box (B, N, 7) that the RPN finds at each point."""
        flat = decode_at_points(self.rpn_coder, points.flatten(0, 1), rpn.rpn_reg.flatten(0, 1), self.mean_size_m)
        return flat.view(*points.shape[:2], 7)
