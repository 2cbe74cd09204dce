"""u, r and v in a row: a rectified stereo pair in, a KITTI result file and a picture out."""

from pseudolidar.pipeline.detection import (
    OUTPUTS,
    Drawing,
    GivenBoxes,
    PairFrame,
    Summary,
    detect_frames,
    detection_record,
    raw_drive,
)
from pseudolidar.pipeline.models import DetectorKind, Models

__all__ = [
    "OUTPUTS",
    "DetectorKind",
    "Drawing",
    "GivenBoxes",
    "Models",
    "PairFrame",
    "Summary",
    "detect_frames",
    "detection_record",
    "raw_drive",
]
