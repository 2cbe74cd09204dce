"""v and w, the detectors behind the point clouds, and the 2D boxes that start a frustum."""

from pseudolidar.detectors.boxes2d import (
    Boxes2d,
    boxes_of_frames,
    ground_truth_boxes,
    jittered_box,
    read_detections_file,
    read_result_boxes,
    write_detections_file,
)
from pseudolidar.detectors.detection import DetectionTally, detect, load_detector, log_tallies, train_detector
from pseudolidar.detectors.detector import Detector, frame_seed

__all__ = [
    "Boxes2d",
    "DetectionTally",
    "Detector",
    "boxes_of_frames",
    "detect",
    "frame_seed",
    "ground_truth_boxes",
    "jittered_box",
    "load_detector",
    "log_tallies",
    "read_detections_file",
    "read_result_boxes",
    "train_detector",
    "write_detections_file",
]
