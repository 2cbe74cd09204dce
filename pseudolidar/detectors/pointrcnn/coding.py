"""How PointRCNN codes a box: bins and residuals of its place and heading, residuals of its size."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

# Keeps clamped offsets inside of the last bin (published code).
_MARGIN = 1e-3


class BoxTargets(NamedTuple):
    """R boxes as the regression should say them: bins int64 (R,), residuals float32 in units of their bin or mean.

    Attributes:
        x_bin, z_bin: int64 (R,).
        x_residual, z_residual: (R,), distance from the bin's middle in bins.
        y_offset: (R,) m.
        heading_bin: int64 (R,).
        heading_residual: (R,), angle from the bin's middle in half bins.
        size_residual: (R, 3), h w l: (size - mean) / mean.
    """

    x_bin: Tensor
    z_bin: Tensor
    x_residual: Tensor
    z_residual: Tensor
    y_offset: Tensor
    heading_bin: Tensor
    heading_residual: Tensor
    size_residual: Tensor


class BoxRegression(NamedTuple):
    """The channels of R regressions by what they mean.

    Attributes:
        x_bin, z_bin: (R, location bins) logits.
        x_residual, z_residual: (R, location bins), one for each bin.
        y_offset: (R,) m.
        heading_bin: (R, heading bins) logits.
        heading_residual: (R, heading bins), one for each bin.
        size_residual: (R, 3).
    """

    x_bin: Tensor
    z_bin: Tensor
    x_residual: Tensor
    z_residual: Tensor
    y_offset: Tensor
    heading_bin: Tensor
    heading_residual: Tensor
    size_residual: Tensor


@dataclass(frozen=True)
class BoxCoding:
    """Coding of a box relative to a point or a region (Shi et al., CVPR 2019, section 3.2).

    Attributes:
        scope_m: the largest distance from the origin, along x and along z, that can be coded.
        bin_m: width of a location bin.
        heading_bins: over the whole circle, bin k centred on k times their width; with `quarter` over the quarter
            circle about the region's own heading (and its opposite, which is not told apart).
        quarter: see `heading_bins`; true in the second stage.
    """

    scope_m: float
    bin_m: float
    heading_bins: int
    quarter: bool

    @property
    def location_bins(self) -> int:
        """Bins along x, and as many along z."""
        return 2 * int(self.scope_m / self.bin_m)

    @property
    def channels(self) -> int:
        """Regression outputs of a point or region: 76 and 46 in the published car model."""
        return 4 * self.location_bins + 1 + 2 * self.heading_bins + 3

    @property
    def heading_bin_width(self) -> float:
        """Width of a heading bin, rad."""
        return (math.pi / 2 if self.quarter else 2 * math.pi) / self.heading_bins

    def split(self, regression: Tensor) -> BoxRegression:
        """Channels (R, `channels`) by what they mean, in the published order."""
        location, heading = self.location_bins, self.heading_bins
        x_bin, z_bin, x_residual, z_residual, y_offset, heading_bin, heading_residual, size_residual = regression.split(
            [location, location, location, location, 1, heading, heading, 3], dim=1
        )
        return BoxRegression(
            x_bin, z_bin, x_residual, z_residual, y_offset[:, 0], heading_bin, heading_residual, size_residual
        )

    def encode(self, offsets: Tensor, sizes: Tensor, headings: Tensor, mean_size: Tensor) -> BoxTargets:
        """Targets for boxes in the frame of their point or region.

        Args:
            offsets: (R, 3) x y z m of the box's reference point; clamped to the scope.
            sizes: (R, 3) h w l m.
            headings: (R,) rad; with `quarter` those farther than pi/4 from the region's are clamped.
            mean_size: (3,) h w l m of the class.
        """
        x_bin, x_residual = self._bin_of(offsets[:, 0])
        z_bin, z_residual = self._bin_of(offsets[:, 2])
        heading_bin, heading_residual = self._heading_bin_of(headings)
        size_residual = (sizes - mean_size) / mean_size
        return BoxTargets(
            x_bin, z_bin, x_residual, z_residual, offsets[:, 1], heading_bin, heading_residual, size_residual
        )

    def decode(self, regression: Tensor, mean_size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Offsets (R, 3) x y z m, sizes (R, 3) h w l m and headings (R,) rad that a regression (R, channels) says."""
        said = self.split(regression)
        x = self._place_of(said.x_bin, said.x_residual)
        z = self._place_of(said.z_bin, said.z_residual)
        heading_bin = said.heading_bin.argmax(dim=1, keepdim=True)
        residual = said.heading_residual.gather(1, heading_bin)[:, 0] * (self.heading_bin_width / 2)
        heading = heading_bin[:, 0] * self.heading_bin_width + residual
        if self.quarter:
            heading = heading + (self.heading_bin_width / 2 - math.pi / 4)
        else:
            heading = torch.remainder(heading + math.pi, 2 * math.pi) - math.pi
        sizes = said.size_residual * mean_size + mean_size
        return torch.stack([x, said.y_offset, z], dim=1), sizes, heading

    def _bin_of(self, offset: Tensor) -> tuple[Tensor, Tensor]:
        shifted = (offset + self.scope_m).clamp(0, 2 * self.scope_m - _MARGIN)
        index = (shifted / self.bin_m).floor()
        return index.long(), shifted / self.bin_m - index - 0.5

    def _place_of(self, logits: Tensor, residuals: Tensor) -> Tensor:
        index = logits.argmax(dim=1, keepdim=True)
        place = (index + 0.5) * self.bin_m - self.scope_m + residuals.gather(1, index) * self.bin_m
        return place[:, 0]

    def _heading_bin_of(self, heading: Tensor) -> tuple[Tensor, Tensor]:
        width = self.heading_bin_width
        if self.quarter:
            # Turned by pi where that brings it into the half circle about 0.
            folded = torch.remainder(heading + math.pi / 2, math.pi) - math.pi / 4
            shifted = folded.clamp(_MARGIN, math.pi / 2 - _MARGIN)
        else:
            shifted = torch.remainder(heading + width / 2, 2 * math.pi)
        # The remainder of a tiny negative number is the whole circle itself.
        index = (shifted / width).floor().clamp(max=self.heading_bins - 1)
        return index.long(), (shifted / width - index - 0.5) * 2


def to_region_frame(points: Tensor, regions: Tensor) -> Tensor:
    """Points (R, P, 3) of the rectified camera frame in the frame of their region (R, 7): x along it, z across it.

    The origin is the middle of the region's bottom face.
    """
    return turned(points - regions[:, None, :3], regions[:, 6])


def turned(points: Tensor, angle: Tensor) -> Tensor:
    """Points (R, P, 3) turned about y by -angle (R,): what points along (cos angle, -sin angle) in (x, z) becomes x."""
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    x, y, z = points.unbind(dim=2)
    return torch.stack([cos * x - sin * z, y, sin * x + cos * z], dim=2)


def boxes_at_points(coding: BoxCoding, points: Tensor, regression: Tensor, mean_size: Tensor) -> Tensor:
    """First stage: boxes (R, 7) x y z h w l ry that points (R, 3) say, the coded y being the middle of the box."""
    offsets, sizes, headings = coding.decode(regression, mean_size)
    centres = points + offsets
    bottom = centres[:, 1] + sizes[:, 0] / 2
    return torch.cat([torch.stack([centres[:, 0], bottom, centres[:, 2]], dim=1), sizes, headings[:, None]], dim=1)


def boxes_in_regions(coding: BoxCoding, regions: Tensor, regression: Tensor, mean_size: Tensor) -> Tensor:
    """Second stage: boxes (R, 7) that regions (R, 7) are refined to, the coded y being the bottom face."""
    offsets, sizes, headings = coding.decode(regression, mean_size)
    shift = turned(offsets[:, None], -regions[:, 6])[:, 0]
    return torch.cat([regions[:, :3] + shift, sizes, (headings + regions[:, 6])[:, None]], dim=1)
