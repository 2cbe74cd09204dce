"""Pairs of other cameras than a network was trained on: scaled to what it knows, and their maps scaled back."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pseudolidar.kitti import Calibration
from pseudolidar.stereo.inference import DisparityModel, disparity_tensor, require_pair

# No street comes nearer to the camera: what is this far away must not exceed the largest disparity, m.
_NEAREST_M = 3.0
# On the way back to the image's size, disparities of neighbours are mixed unless the mixture is further than this from
# the nearest one, px of the scaled map: then they belong to two surfaces.
_ONE_SURFACE_PX = 1.0


@dataclass(frozen=True)
class KnownCameras:
    """The cameras that a disparity network was trained on.

    Attributes:
        shortest_focal_px: the shortest focal length, px. There is no longest one: longer ones than any in training do
            no harm (a slim PSMNet of the town, at up to three times KITTI's), and images made smaller lose detail.
        max_disparity: the largest disparity that the network searches, px.
    """

    shortest_focal_px: float
    max_disparity: int

    def scale_of(self, calibration: Calibration) -> float:
        """The factor of the size in which the network is shown a pair: 1 for a camera that it knows.

        Images of a shorter focal length are made larger; images in which something near would have too large a
        disparity, since the baseline or the focal length is long, smaller.
        """
        known = max(1.0, self.shortest_focal_px / calibration.focal_px)
        return min(known, self.max_disparity / _largest_disparity(calibration))

    def notice_of(self, calibration: Calibration) -> str | None:
        """What a camera is like, what the network knows, and how its pairs are scaled; None if they are not."""
        scale = self.scale_of(calibration)
        if scale == 1:
            return None
        return (
            f"focal length {calibration.focal_px:.0f} px, baseline {calibration.baseline_m:.2f} m, so disparities up "
            f"to {_largest_disparity(calibration):.0f} px; the network knows focal lengths from "
            f"{self.shortest_focal_px:.0f} px and disparities up to {self.max_disparity} px: it is shown images of "
            f"{scale:.2f} times the size"
        )


def _largest_disparity(calibration: Calibration) -> float:
    return calibration.camera_constant_px_m / _NEAREST_M


def scaled_disparity(model: DisparityModel, left: NDArray[np.uint8], right: NDArray[np.uint8], scale: float) -> Tensor:
    """The disparity of a pair, float32 (H, W) px, from a model that is shown it at `scale` times its size.

    On the model's device, as `disparity_tensor`, whose bits it has at 1.
    """
    require_pair(left, right)
    height, width = left.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return disparity_tensor(model, left, right)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    pair = (np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8) for image in (left, right))
    disparity = disparity_tensor(model, *pair)[None, None]
    nearest = F.interpolate(disparity, (height, width), mode="nearest-exact")
    mixture = F.interpolate(disparity, (height, width), mode="bilinear", align_corners=False)
    of_one_surface = (mixture - nearest).abs() <= _ONE_SURFACE_PX
    # Rounded to pixels, the width is scaled by a little more or less than `scale`.
    return torch.where(of_one_surface, mixture, nearest)[0, 0] * (width / size[0])
