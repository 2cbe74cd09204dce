"""PointRCNN (Shi et al., CVPR 2019): a point cloud in, 3D boxes out, in two stages."""

from pseudolidar.detectors.pointrcnn.model import BackboneShape, PointRCNN, PointRCNNOutput, RegionShape
from pseudolidar.detectors.pointrcnn.proposals import ProposalSettings

__all__ = ["BackboneShape", "PointRCNN", "PointRCNNOutput", "ProposalSettings", "RegionShape"]
