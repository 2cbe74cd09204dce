"""PointRCNN (Shi et al., CVPR 2019): a point cloud in, 3D boxes out, in two stages."""

from pseudolidar.detectors.pointrcnn.augmentation import SceneAugmentation
from pseudolidar.detectors.pointrcnn.inference import PointRCNNDetector
from pseudolidar.detectors.pointrcnn.model import PointRCNN, PointRCNNOutput
from pseudolidar.detectors.pointrcnn.rcnn import RCNNShape
from pseudolidar.detectors.pointrcnn.rpn import BackboneShape, ProposalSettings
from pseudolidar.detectors.pointrcnn.targets import RoISampling
from pseudolidar.detectors.pointrcnn.training import PointRCNNTraining, rpn_path, train_pointrcnn

__all__ = [
    "BackboneShape",
    "PointRCNN",
    "PointRCNNDetector",
    "PointRCNNOutput",
    "PointRCNNTraining",
    "ProposalSettings",
    "RCNNShape",
    "RoISampling",
    "SceneAugmentation",
    "rpn_path",
    "train_pointrcnn",
]
