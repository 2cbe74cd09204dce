"""KITTI average precision: IoU, matching, precision and recall, intervals. `average_precision` says what it is."""

from pseudolidar.evaluation.average_precision import METRICS, PrecisionCurve, average_precision, tally_scenes
from pseudolidar.evaluation.evaluator import (
    Evaluation,
    Outcome,
    evaluate,
    evaluate_folders,
    evaluate_scenes,
    left_out,
    object_outcomes,
)
from pseudolidar.evaluation.intervals import Comparison, ap_intervals, compare
from pseudolidar.evaluation.iou import bbox_iou, bev_iou, iou_3d
from pseudolidar.evaluation.protocol import CLASSES, DIFFICULTIES, LOOSE_OVERLAP, NEUTRAL, STANDARD_OVERLAP, VIEWS
from pseudolidar.evaluation.reading import StackedObjects, read_folders, read_frames, starts_of
from pseudolidar.evaluation.scenes import Scenes, build_scenes
from pseudolidar.evaluation.tables import comparison_tables, evaluation_table, interval_table, precision_panels
from pseudolidar.evaluation.writing import (
    require_table_paths,
    write_comparison_csv,
    write_comparison_json,
    write_csv,
    write_json,
    write_outcomes,
)

__all__ = [
    "CLASSES",
    "DIFFICULTIES",
    "LOOSE_OVERLAP",
    "METRICS",
    "NEUTRAL",
    "STANDARD_OVERLAP",
    "VIEWS",
    "Comparison",
    "Evaluation",
    "Outcome",
    "PrecisionCurve",
    "Scenes",
    "StackedObjects",
    "ap_intervals",
    "average_precision",
    "bbox_iou",
    "bev_iou",
    "build_scenes",
    "compare",
    "comparison_tables",
    "evaluate",
    "evaluate_folders",
    "evaluate_scenes",
    "evaluation_table",
    "interval_table",
    "iou_3d",
    "left_out",
    "object_outcomes",
    "precision_panels",
    "read_folders",
    "read_frames",
    "require_table_paths",
    "starts_of",
    "tally_scenes",
    "write_comparison_csv",
    "write_comparison_json",
    "write_csv",
    "write_json",
    "write_outcomes",
]
