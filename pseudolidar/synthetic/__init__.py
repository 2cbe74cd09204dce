"""A procedural town, ray cast and written as a KITTI object data set with exact disparity."""

from pseudolidar.synthetic.preset import PRESETS, TownPreset
from pseudolidar.synthetic.town import RENDERER_VERSION, TownData, TownTask, write_town

__all__ = ["PRESETS", "RENDERER_VERSION", "TownData", "TownPreset", "TownTask", "write_town"]
