"""2D boxes that start a frustum: from labels, from files, from a trained detector."""

from pseudolidar.detectors.boxes2d.boxes import (
    Boxes2d,
    ground_truth_boxes,
    jitter_reach,
    jittered_box,
    read_detections_file,
    read_result_boxes,
)

__all__ = [
    "Boxes2d",
    "ground_truth_boxes",
    "jitter_reach",
    "jittered_box",
    "read_detections_file",
    "read_result_boxes",
]
