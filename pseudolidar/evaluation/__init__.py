"""KITTI average precision: overlaps, matching, precision and recall."""

from pseudolidar.evaluation.average_precision import (
    METRICS,
    Evaluation,
    PrecisionCurve,
    evaluate,
    precision_curves,
)
from pseudolidar.evaluation.folders import evaluate_folders, read_folders
from pseudolidar.evaluation.overlap import bbox_iou, bev_iou, iou_3d
from pseudolidar.evaluation.protocol import CLASSES, DIFFICULTIES, LOOSE_OVERLAP, OVERLAP_SETS, STANDARD_OVERLAP, VIEWS
from pseudolidar.evaluation.reading import read_frames
from pseudolidar.evaluation.scenes import Scenes, build_scenes
from pseudolidar.evaluation.stacked import StackedObjects
from pseudolidar.evaluation.tables import evaluation_table, write_json
from pseudolidar.evaluation.tally import recall_thresholds

__all__ = [
    "CLASSES",
    "DIFFICULTIES",
    "LOOSE_OVERLAP",
    "METRICS",
    "OVERLAP_SETS",
    "STANDARD_OVERLAP",
    "VIEWS",
    "Evaluation",
    "PrecisionCurve",
    "Scenes",
    "StackedObjects",
    "bbox_iou",
    "bev_iou",
    "build_scenes",
    "evaluate",
    "evaluate_folders",
    "evaluation_table",
    "iou_3d",
    "precision_curves",
    "read_folders",
    "read_frames",
    "recall_thresholds",
    "write_json",
]
