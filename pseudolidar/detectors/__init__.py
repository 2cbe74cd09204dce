"""v and w, the detectors behind the point clouds, and the 2D boxes that start a frustum (`boxes2d`)."""

from pseudolidar.detectors.detection import DetectionTally, detect, load_detector, log_tallies, train_detector
from pseudolidar.detectors.detector import Detector, frame_seed

__all__ = ["DetectionTally", "Detector", "detect", "frame_seed", "load_detector", "log_tallies", "train_detector"]
