"""r, the fixed generator between a disparity model and the detectors: disparity maps to point clouds."""

from pseudolidar.cloud.files import write_clouds, write_lidar_clouds
from pseudolidar.cloud.grid import LIDAR_GRID, AngularGrid
from pseudolidar.cloud.points import crop_sweep, disparity_to_points, sparsify_points

__all__ = [
    "LIDAR_GRID",
    "AngularGrid",
    "crop_sweep",
    "disparity_to_points",
    "sparsify_points",
    "write_clouds",
    "write_lidar_clouds",
]
