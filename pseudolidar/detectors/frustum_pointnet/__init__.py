"""Frustum PointNet (Qi et al., CVPR 2018): a 2D box and a point cloud in, a 3D box out."""

from pseudolidar.detectors.frustum_pointnet.inference import FrustumDetector
from pseudolidar.detectors.frustum_pointnet.model import FrustumOutput, FrustumPointNet
from pseudolidar.detectors.frustum_pointnet.samples import FrustumTraining
from pseudolidar.detectors.frustum_pointnet.training import train_frustum_pointnet

__all__ = ["FrustumDetector", "FrustumOutput", "FrustumPointNet", "FrustumTraining", "train_frustum_pointnet"]
