"""The detectors v and w, and the 2D boxes that frustums start from (`boxes2d`)."""

from pseudolidar.detectors.congruence import Congruence
from pseudolidar.detectors.detection import (
    DetectionTally,
    detect,
    load_detector,
    log_tallies,
    require_initial_weights,
    train_detector,
)
from pseudolidar.detectors.detector import Detector, frame_seed

__all__ = [
    "Congruence",
    "DetectionTally",
    "Detector",
    "detect",
    "frame_seed",
    "load_detector",
    "log_tallies",
    "require_initial_weights",
    "train_detector",
]
