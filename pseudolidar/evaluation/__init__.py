"""KITTI average precision: overlaps, matching, precision and recall."""

from pseudolidar.evaluation.average_precision import (
    METRICS,
    Evaluation,
    PrecisionCurve,
    evaluate,
    precision_curves,
    recall_thresholds,
)
from pseudolidar.evaluation.folders import evaluate_folders, read_folders
from pseudolidar.evaluation.overlap import bbox_iou, bev_iou, iou_3d
from pseudolidar.evaluation.protocol import CLASSES, DIFFICULTIES, LOOSE_OVERLAP, OVERLAP_SETS, STANDARD_OVERLAP, VIEWS
from pseudolidar.evaluation.scenes import Scenes, build_scenes
from pseudolidar.evaluation.tables import evaluation_table, write_json

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
    "bbox_iou",
    "bev_iou",
    "build_scenes",
    "evaluate",
    "evaluate_folders",
    "evaluation_table",
    "iou_3d",
    "precision_curves",
    "read_folders",
    "recall_thresholds",
    "write_json",
]
