"""Pictures, interactive scenes and reports from plain data, independent of models and studies."""

from pseudolidar.viewing.birds_eye import birds_eye_figure
from pseudolidar.viewing.canvas import FIGURE_SUFFIXES, figure_to_rgb, require_figure_path, save_figure
from pseudolidar.viewing.curves import (
    DepthCurve,
    changes_figure,
    depth_curve_figure,
    precision_recall_figure,
    range_figure,
)
from pseudolidar.viewing.detections import Detections, detections_figure, write_detections
from pseudolidar.viewing.disparity import disparity_figure
from pseudolidar.viewing.flips import FATE_COLOURS, FlippedFrame, flips_figure
from pseudolidar.viewing.frame import frame_figure
from pseudolidar.viewing.recording import load_rerun, write_recording
from pseudolidar.viewing.report import Block, Picture, Report, Section, tables_of, write_report
from pseudolidar.viewing.scene import Scene, Scenes
from pseudolidar.viewing.training import TrainingCurves, training_figure

__all__ = [
    "FATE_COLOURS",
    "FIGURE_SUFFIXES",
    "Block",
    "DepthCurve",
    "Detections",
    "FlippedFrame",
    "Picture",
    "Report",
    "Scene",
    "Scenes",
    "Section",
    "TrainingCurves",
    "birds_eye_figure",
    "changes_figure",
    "depth_curve_figure",
    "detections_figure",
    "disparity_figure",
    "figure_to_rgb",
    "flips_figure",
    "frame_figure",
    "load_rerun",
    "precision_recall_figure",
    "range_figure",
    "require_figure_path",
    "save_figure",
    "tables_of",
    "training_figure",
    "write_detections",
    "write_recording",
    "write_report",
]
