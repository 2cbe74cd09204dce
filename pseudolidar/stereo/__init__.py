"""u: disparity from stereo pairs, by PSMNet or, without training, by semi-global matching; errors by depth."""

from pseudolidar.stereo.augmentation import Crops
from pseudolidar.stereo.checkpoints import PSMNetWeights, load_psmnet, save_psmnet
from pseudolidar.stereo.data import StereoBatch, StereoBatches
from pseudolidar.stereo.frozen import FrozenPSMNet
from pseudolidar.stereo.inference import DisparityModel, TrainedPSMNet, disparity_tensor, predict_disparities
from pseudolidar.stereo.metrics import (
    RANGES_M,
    REGIONS,
    StereoMetrics,
    disparity_metrics,
    frame_metrics,
    map_metrics,
    mean_disparity_of,
    range_name,
)
from pseudolidar.stereo.pairs import KittiStereoPairs, ObjectPairs, SceneFlowPairs, StereoPair, StereoPairs
from pseudolidar.stereo.psmnet import PSMNet
from pseudolidar.stereo.rectification import require_rectified
from pseudolidar.stereo.scaling import KnownCameras, scaled_disparity
from pseudolidar.stereo.semi_global_matching import SemiGlobalMatching
from pseudolidar.stereo.targets import lidar_disparity, target_disparity
from pseudolidar.stereo.train import StereoTraining, disparity_loss, train_stereo

__all__ = [
    "RANGES_M",
    "REGIONS",
    "Crops",
    "DisparityModel",
    "FrozenPSMNet",
    "KittiStereoPairs",
    "KnownCameras",
    "ObjectPairs",
    "PSMNet",
    "PSMNetWeights",
    "SceneFlowPairs",
    "SemiGlobalMatching",
    "StereoBatch",
    "StereoBatches",
    "StereoMetrics",
    "StereoPair",
    "StereoPairs",
    "StereoTraining",
    "TrainedPSMNet",
    "disparity_loss",
    "disparity_metrics",
    "disparity_tensor",
    "frame_metrics",
    "lidar_disparity",
    "load_psmnet",
    "map_metrics",
    "mean_disparity_of",
    "predict_disparities",
    "range_name",
    "require_rectified",
    "save_psmnet",
    "scaled_disparity",
    "target_disparity",
    "train_stereo",
]
