"""KITTI average precision: overlaps, matching, precision and recall, intervals."""

from pseudolidar.evaluation.average_precision import (
    METRICS,
    Evaluation,
    PrecisionCurve,
    evaluate,
    evaluate_scenes,
    precision_curves,
)
from pseudolidar.evaluation.folders import evaluate_folders, left_out, read_folders
from pseudolidar.evaluation.intervals import Comparison, ap_intervals, compare
from pseudolidar.evaluation.outcomes import Outcome, object_outcomes
from pseudolidar.evaluation.overlap import bbox_iou, bev_iou, iou_3d
from pseudolidar.evaluation.protocol import CLASSES, DIFFICULTIES, LOOSE_OVERLAP, OVERLAP_SETS, STANDARD_OVERLAP, VIEWS
from pseudolidar.evaluation.reading import read_frames
from pseudolidar.evaluation.scenes import Scenes, build_scenes
from pseudolidar.evaluation.stacked import StackedObjects
from pseudolidar.evaluation.tables import (
    comparison_note,
    comparison_table,
    evaluation_table,
    interval_table,
    precision_panels,
)
from pseudolidar.evaluation.tally import recall_thresholds
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
    "OVERLAP_SETS",
    "STANDARD_OVERLAP",
    "VIEWS",
    "Comparison",
    "Evaluation",
    "Outcome",
    "PrecisionCurve",
    "Scenes",
    "StackedObjects",
    "ap_intervals",
    "bbox_iou",
    "bev_iou",
    "build_scenes",
    "compare",
    "comparison_note",
    "comparison_table",
    "evaluate",
    "evaluate_folders",
    "evaluate_scenes",
    "evaluation_table",
    "interval_table",
    "iou_3d",
    "left_out",
    "object_outcomes",
    "precision_curves",
    "precision_panels",
    "read_folders",
    "read_frames",
    "recall_thresholds",
    "require_table_paths",
    "write_comparison_csv",
    "write_comparison_json",
    "write_csv",
    "write_json",
    "write_outcomes",
]
