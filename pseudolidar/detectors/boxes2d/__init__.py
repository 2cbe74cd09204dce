"""2D boxes that frustums start from: from labels, files or a trained detector."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pseudolidar.detectors.boxes2d.boxes import (
    Boxes2d,
    ScoreKind,
    boxes_of_frames,
    clipped_to_image,
    ground_truth_boxes,
    jitter_reach,
    jittered_box,
    read_boxes,
    read_detections_file,
    read_result_boxes,
    write_detections_file,
)
from pseudolidar.detectors.boxes2d.coco import read_coco_results, write_coco_annotations, write_coco_results

if TYPE_CHECKING:
    from pseudolidar.detectors.boxes2d.detector2d import Detector2d, detect_boxes2d
    from pseudolidar.detectors.boxes2d.training import train_detector2d
    from pseudolidar.detectors.boxes2d.training_data import Detector2dTraining

__all__ = [
    "Boxes2d",
    "Detector2d",
    "Detector2dTraining",
    "ScoreKind",
    "boxes_of_frames",
    "clipped_to_image",
    "detect_boxes2d",
    "ground_truth_boxes",
    "jitter_reach",
    "jittered_box",
    "read_boxes",
    "read_coco_results",
    "read_detections_file",
    "read_result_boxes",
    "train_detector2d",
    "write_coco_annotations",
    "write_coco_results",
    "write_detections_file",
]

# Imported when they are asked for: most programs start from boxes and do without torchvision, slow to import.
_MODULE_OF = {
    "Detector2d": "detector2d",
    "Detector2dTraining": "training_data",
    "detect_boxes2d": "detector2d",
    "train_detector2d": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
