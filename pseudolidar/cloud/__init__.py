"""r, the fixed generator between a disparity model and the detectors: disparity maps to point clouds."""

from pseudolidar.cloud.files import CLOUD_FORMATS, clouds_digest, write_cloud, write_clouds, write_lidar_clouds
from pseudolidar.cloud.grid import LIDAR_GRID, AngularGrid
from pseudolidar.cloud.points import crop_sweep, disparity_to_points, sparsify_points
from pseudolidar.cloud.tally import CloudTally

__all__ = [
    "CLOUD_FORMATS",
    "LIDAR_GRID",
    "AngularGrid",
    "CloudTally",
    "clouds_digest",
    "crop_sweep",
    "disparity_to_points",
    "sparsify_points",
    "write_cloud",
    "write_clouds",
    "write_lidar_clouds",
]
