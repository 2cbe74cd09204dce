"""The town's presets: what kind of road, and KITTI's cameras scaled or cropped."""

from dataclasses import KW_ONLY, dataclass
from typing import Literal

import numpy as np

from pseudolidar.kitti import Calibration

# P2 and P3 of the KITTI object benchmark's most common calibration, for images of 1242 x 375.
_KITTI_WIDTH, _KITTI_HEIGHT = 1242, 375
_FOCAL_PX, _CENTRE_U_PX, _CENTRE_V_PX = 721.5377, 609.5593, 172.854
_LEFT_SHIFT_PX_M, _RIGHT_SHIFT_PX_M = 44.85728, -339.5242
CAMERA_HEIGHT_M = 1.65
VELODYNE_BEHIND_M, VELODYNE_ABOVE_M = 0.27, 0.08


@dataclass(frozen=True)
class TownPreset:
    """Cameras and roads of a town.

    width_px, height_px: of the images. road: streets with all that a town has, or highways, where most cars are far.
    cropped: images are KITTI's with borders cut off, not made smaller.
    """

    name: str
    width_px: int
    height_px: int
    _: KW_ONLY
    road: Literal["street", "highway"] = "street"
    cropped: bool = False

    @property
    def detail(self) -> float:
        """The focal length as a share of KITTI's."""
        return 1.0 if self.cropped else self.width_px / _KITTI_WIDTH

    def calibration(self) -> Calibration:
        """KITTI's P2 and P3 for the image; the velodyne 1.73 m above the ground, with canonical axes."""
        scale = self.detail
        focal = _FOCAL_PX * scale
        centre_u = _CENTRE_U_PX * (self.width_px / _KITTI_WIDTH)
        centre_v = _CENTRE_V_PX * self.height_px / _KITTI_HEIGHT

        def projection(shift: float) -> np.ndarray:
            return np.array([[focal, 0, centre_u, shift * scale], [0, focal, centre_v, 0], [0, 0, 1, 0]], np.float64)

        velodyne = [[0, -1, 0, 0], [0, 0, -1, -VELODYNE_ABOVE_M], [1, 0, 0, -VELODYNE_BEHIND_M]]
        return Calibration(
            P2=projection(_LEFT_SHIFT_PX_M),
            P3=projection(_RIGHT_SHIFT_PX_M),
            R0_rect=np.eye(3),
            Tr_velo_to_cam=np.array(velodyne, np.float64),
        )


PRESETS: dict[str, TownPreset] = {
    preset.name: preset
    for preset in (
        TownPreset("mini", 416, 128),
        TownPreset("half", 624, 192),
        TownPreset("full", 1242, 375),
        TownPreset("highway", 832, 192, road="highway", cropped=True),
    )
}
