"""PointRCNN (Shi et al., CVPR 2019): a point cloud in, 3D boxes out, in two stages."""

from pseudolidar.detectors.pointrcnn.augmentation import SceneAugmentation
from pseudolidar.detectors.pointrcnn.checkpoints import TrainedPointRCNN, load_pointrcnn
from pseudolidar.detectors.pointrcnn.first_stage import BackboneShape
from pseudolidar.detectors.pointrcnn.inference import PointRCNNDetector
from pseudolidar.detectors.pointrcnn.model import PointRCNN, PointRCNNOutput
from pseudolidar.detectors.pointrcnn.proposals import ProposalSettings
from pseudolidar.detectors.pointrcnn.second_stage import RegionShape
from pseudolidar.detectors.pointrcnn.targets import RegionSampling
from pseudolidar.detectors.pointrcnn.training import PointRCNNTraining, train_pointrcnn

__all__ = [
    "BackboneShape",
    "PointRCNN",
    "PointRCNNDetector",
    "PointRCNNOutput",
    "PointRCNNTraining",
    "ProposalSettings",
    "RegionSampling",
    "RegionShape",
    "SceneAugmentation",
    "TrainedPointRCNN",
    "load_pointrcnn",
    "train_pointrcnn",
]
