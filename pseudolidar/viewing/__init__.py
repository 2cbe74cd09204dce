"""Pictures, interactive scenes and reports from plain data, independent of models and studies."""

from pseudolidar.viewing.birds_eye import birds_eye_figure
from pseudolidar.viewing.canvas import figure_to_rgb, require_figure_path, save_figure
from pseudolidar.viewing.curves import DepthCurve, depth_curve_figure, precision_recall_figure, range_figure
from pseudolidar.viewing.detections import Detections, detections_figure, write_detections
from pseudolidar.viewing.disparity import disparity_figure
from pseudolidar.viewing.flips import FATE_COLOURS, FlippedFrame, flips_figure
from pseudolidar.viewing.frame import frame_figure
from pseudolidar.viewing.report import Block, Picture, Report, Section, tables_of, write_report
from pseudolidar.viewing.scene import SceneError, show_scene
from pseudolidar.viewing.training import TrainingCurves, training_figure

__all__ = [
    "FATE_COLOURS",
    "Block",
    "DepthCurve",
    "Detections",
    "FlippedFrame",
    "Picture",
    "Report",
    "SceneError",
    "Section",
    "TrainingCurves",
    "birds_eye_figure",
    "depth_curve_figure",
    "detections_figure",
    "disparity_figure",
    "figure_to_rgb",
    "flips_figure",
    "frame_figure",
    "precision_recall_figure",
    "range_figure",
    "require_figure_path",
    "save_figure",
    "show_scene",
    "tables_of",
    "training_figure",
    "write_detections",
    "write_report",
]
