"""r, the fixed generator between a disparity model and the detectors: disparity maps to point clouds."""

from pseudolidar.cloud.files import clouds_digest, write_clouds, write_lidar_clouds
from pseudolidar.cloud.formats import CLOUD_FORMATS, read_cloud, write_cloud
from pseudolidar.cloud.grid import LIDAR_GRID, AngularGrid
from pseudolidar.cloud.points import crop_sweep, disparity_to_points, sparsify_points
from pseudolidar.cloud.tally import CloudTally
from pseudolidar.stereo.targets import lidar_disparity

__all__ = [
    "CLOUD_FORMATS",
    "LIDAR_GRID",
    "AngularGrid",
    "CloudTally",
    "clouds_digest",
    "crop_sweep",
    "disparity_to_points",
    "lidar_disparity",
    "read_cloud",
    "sparsify_points",
    "write_cloud",
    "write_clouds",
    "write_lidar_clouds",
]
