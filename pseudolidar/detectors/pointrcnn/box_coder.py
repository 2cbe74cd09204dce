"""PointRCNN's box coder: bin-based regression of place and heading, residuals of size (the paper's section 3.2)."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

# Keeps clamped offsets inside of the last bin (published code).
_MARGIN = 1e-3


class BoxCode(NamedTuple):
    """The codes of R boxes.

    As targets, bins are indices int64 (R,), and residuals float32 (R,). In the network's output, bins are logits (R,
    bins), and residuals (R, bins) have a value for each bin. Location residuals are from the bin's middle in bins,
    those of the heading in half bins; `y_offset` (R,) is in m; `size_residual` (R, 3), h w l, is (size - mean) / mean.
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
class BoxCoder:
    """Codes of boxes relative to a point (RPN) or to an RoI (RCNN head).

    Attributes:
        scope_m, bin_m: the largest distance along x and z that has a code, and the width of a location bin.
        heading_bins: over the whole circle, bin k centred on k times their width; with `quarter` over the quarter
            circle about the RoI's own heading (and its opposite, which is not told apart).
        quarter: true in the RCNN head.
    """

    scope_m: float
    bin_m: float
    heading_bins: int
    quarter: bool

    @property
    def location_bins(self) -> int:
        """Bins along x; there are as many along z."""
        return 2 * int(self.scope_m / self.bin_m)

    @property
    def channels(self) -> int:
        """Regression outputs of a point or RoI: 76 and 46 in the published car model."""
        return 4 * self.location_bins + 1 + 2 * self.heading_bins + 3

    @property
    def heading_bin_width(self) -> float:
        """Width of a heading bin, rad."""
        return (math.pi / 2 if self.quarter else 2 * math.pi) / self.heading_bins

    def split(self, regression: Tensor) -> BoxCode:
        """The network's output (R, `channels`), in the published order, as logits and residuals."""
        location, heading = self.location_bins, self.heading_bins
        code = BoxCode(*regression.split([*4 * [location], 1, heading, heading, 3], dim=1))
        return code._replace(y_offset=code.y_offset[:, 0])

    def encode(self, offsets: Tensor, sizes: Tensor, headings: Tensor, mean_size: Tensor) -> BoxCode:
        """Targets for boxes in the frame of their point or RoI.

        Args:
            offsets: (R, 3) x y z m of the box's reference point; x and z are clamped to the scope.
            sizes, mean_size: (R, 3) and (3,), h w l m.
            headings: (R,) rad; with `quarter` those farther than pi/4 from the RoI's are clamped.
        """
        x_bin, x_residual = self._location_bin(offsets[:, 0])
        z_bin, z_residual = self._location_bin(offsets[:, 2])
        size_residual = (sizes - mean_size) / mean_size
        return BoxCode(x_bin, z_bin, x_residual, z_residual, offsets[:, 1], *self._heading_bin(headings), size_residual)

    def decode(self, regression: Tensor, mean_size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Offsets (R, 3) x y z m, sizes (R, 3) h w l m and headings (R,) rad of a network's output (R, `channels`)."""
        code = self.split(regression)
        x = self._location(code.x_bin, code.x_residual)
        z = self._location(code.z_bin, code.z_residual)
        heading_bin = code.heading_bin.argmax(dim=1, keepdim=True)
        residual = code.heading_residual.gather(1, heading_bin)[:, 0] * (self.heading_bin_width / 2)
        heading = heading_bin[:, 0] * self.heading_bin_width + residual
        if self.quarter:
            heading = heading + (self.heading_bin_width / 2 - math.pi / 4)
        else:
            heading = torch.remainder(heading + math.pi, 2 * math.pi) - math.pi
        sizes = code.size_residual * mean_size + mean_size
        return torch.stack([x, code.y_offset, z], dim=1), sizes, heading

    def _location_bin(self, offset: Tensor) -> tuple[Tensor, Tensor]:
        shifted = (offset + self.scope_m).clamp(0, 2 * self.scope_m - _MARGIN)
        index = (shifted / self.bin_m).floor()
        return index.long(), shifted / self.bin_m - index - 0.5

    def _location(self, logits: Tensor, residuals: Tensor) -> Tensor:
        index = logits.argmax(dim=1, keepdim=True)
        place = (index + 0.5) * self.bin_m - self.scope_m + residuals.gather(1, index) * self.bin_m
        return place[:, 0]

    def _heading_bin(self, heading: Tensor) -> tuple[Tensor, Tensor]:
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


def canonical(points: Tensor, rois: Tensor) -> Tensor:
    """Points (R, P, 3) of the rectified camera frame in the canonical coordinates of their RoIs (R, 7) (section 3.3).

    The origin is the middle of the RoI's bottom face, x points along the RoI, z across.
    """
    return _turned(points - rois[:, None, :3], rois[:, 6])


def _turned(points: Tensor, angle: Tensor) -> Tensor:
    """Points (R, P, 3) turned about y by -angle (R,): what points along (cos angle, -sin angle) in (x, z) becomes x."""
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    x, y, z = points.unbind(dim=2)
    return torch.stack([cos * x - sin * z, y, sin * x + cos * z], dim=2)


def decode_at_points(coder: BoxCoder, points: Tensor, regression: Tensor, mean_size: Tensor) -> Tensor:
    """Boxes (R, 7) x y z h w l ry that the RPN finds at points (R, 3); the coded y is the middle of the box."""
    offsets, sizes, headings = coder.decode(regression, mean_size)
    centres = points + offsets
    bottom = centres[:, 1] + sizes[:, 0] / 2
    return torch.cat([torch.stack([centres[:, 0], bottom, centres[:, 2]], dim=1), sizes, headings[:, None]], dim=1)


def decode_in_rois(coder: BoxCoder, rois: Tensor, regression: Tensor, mean_size: Tensor) -> Tensor:
    """RoIs (R, 7) refined by the RCNN head's regression; the coded y is the bottom face."""
    offsets, sizes, headings = coder.decode(regression, mean_size)
    shift = _turned(offsets[:, None], -rois[:, 6])[:, 0]
    return torch.cat([rois[:, :3] + shift, sizes, (headings + rois[:, 6])[:, None]], dim=1)
