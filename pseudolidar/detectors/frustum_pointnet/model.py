"""Frustum PointNet (Qi et al., CVPR 2018): instance segmentation, T-Net (centre regression), amodal box estimation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from pseudolidar.detectors.frustum_pointnet.box_coder import HEADING_BIN_WIDTH, HEADING_BINS
from pseudolidar.detectors.frustum_pointnet.networks import BoxNetV2, PooledPointNet, SegmentationNet, SegmentationNetV2
from pseudolidar.files import InputError

Version = Literal[1, 2]
"""Version of Frustum PointNet: 1 on plain PointNets, 2 on PointNet++."""

NETWORK_SETTINGS = ("version", "width", "density", "object_points", "dropout", "centre_depth")
"""Settings of a training that the network's constructor takes too."""


@dataclass(frozen=True)
class FrustumOutput:
    """The output for B frusta, in the frustum's frame (rectified camera, turned to the frustum's centre ray).

    Attributes:
        mask_logits, mask: (B, N, 2), background and object, and bool (B, N), the points taken for the object's.
        stage1_centre, centre: (B, 3) m, the middle of the box after the T-Net, and in the end.
        heading_scores, heading_residuals: (B, 12) logits, and in units of half a bin (pi/12 rad).
        size_scores, size_residuals: (B, clusters) logits, and (B, clusters, 3) l w h in units of the mean size.
    """

    mask_logits: Tensor
    mask: Tensor
    stage1_centre: Tensor
    centre: Tensor
    heading_scores: Tensor
    heading_residuals: Tensor
    size_scores: Tensor
    size_residuals: Tensor

    @property
    def heading_residuals_rad(self) -> Tensor:
        """The heading residuals (B, 12) in rad."""
        return self.heading_residuals * (HEADING_BIN_WIDTH / 2)


class FrustumPointNet(nn.Module):
    """The networks, layer by layer as published.

    Args:
        mean_sizes_m: l w h of each size cluster.
        width, density: factors on the channels of hidden layers, and on v2's numbers of centres and neighbours.
        object_points: points of the object that go into T-Net and box network.
        dropout: after the segmentation network's decoder.
        centre_depth: subtract the frustum's median depth before segmentation, so that the network sees near and far
            objects at the same place; not in the published network.
    """

    mean_sizes_m: Tensor

    def __init__(
        self,
        version: Version,
        mean_sizes_m: Sequence[Sequence[float]],
        width: float = 1.0,
        density: float = 1.0,
        object_points: int = 512,
        dropout: float = 0.5,
        centre_depth: bool = False,
    ) -> None:
        super().__init__()
        self.object_points = object_points
        self.centre_depth = centre_depth
        self.register_buffer("mean_sizes_m", torch.tensor(mean_sizes_m, dtype=torch.float32))
        outputs = 3 + HEADING_BINS * 2 + len(mean_sizes_m) * 4
        self.t_net = PooledPointNet((128, 128, 256), (256, 128), 3, width)
        if version == 1:
            self.segmentation: nn.Module = SegmentationNet(width, dropout)
            self.box_net: nn.Module = PooledPointNet((128, 128, 256, 512), (512, 256), outputs, width)
        elif version == 2:
            self.segmentation = SegmentationNetV2(width, density, dropout)
            self.box_net = BoxNetV2(outputs, width, density)
        else:
            raise InputError(f"version: found {version!r}, expected 1 or 2")

    def forward(self, points: Tensor, one_hot: Tensor, keys: Tensor) -> FrustumOutput:
        """The box of one object in each frustum.

        Args:
            points: (B, N, 4) x y z m in the frustum's frame, and intensity.
            one_hot: (B, 3) class of the 2D box.
            keys: (B, N) random numbers in [0, 1): the object's points with the lowest keys are taken.
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

        clusters = len(self.mean_sizes_m)
        centre, heading_scores, heading_residuals, size_scores, size_residuals = box.split(
            [3, HEADING_BINS, HEADING_BINS, clusters, clusters * 3], dim=1
        )
        stage1_centre = mask_centre + offset + shift
        boxes = (heading_scores, heading_residuals, size_scores, size_residuals.view(len(points), clusters, 3))
        return FrustumOutput(mask_logits, mask, stage1_centre, stage1_centre + centre, *boxes)


def object_mask(mask_logits: Tensor) -> Tensor:
    """The points (B, N) that are more likely object than background; where there are none, the likeliest one."""
    margin = (mask_logits[..., 1] - mask_logits[..., 0]).detach()
    mask = margin > 0
    likeliest = torch.zeros_like(mask).scatter_(1, margin.argmax(dim=1, keepdim=True), True)
    return torch.where(mask.any(dim=1, keepdim=True), mask, likeliest)


def masked_points(points: Tensor, mask: Tensor, keys: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Sample (B, count, 3) of each cloud's masked points (B, N, 3), and the mean (B, 3) of all masked ones.

    They are taken in the order of their keys (B, N), again from the start if they run out; each cloud has at least one.
    """
    weights = mask.to(points.dtype)[..., None]
    centre = (points * weights).sum(dim=1) / weights.sum(dim=1)
    order = torch.where(mask, keys, keys + 1).argsort(dim=1, stable=True)
    position = torch.arange(count, device=points.device)[None] % mask.sum(dim=1, keepdim=True)
    index = order.gather(1, position)
    return points.gather(1, index[..., None].expand(-1, -1, 3)), centre
