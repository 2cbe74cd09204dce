"""u, r and v in a row: a rectified stereo pair in, a KITTI result file and a picture out."""

from pseudolidar.pipeline.detection import (
    GivenBoxes,
    PairFrame,
    Summary,
    detect_frames,
    detection_record,
    outputs_of,
    raw_drive,
)
from pseudolidar.pipeline.models import DetectorKind, Models
from pseudolidar.pipeline.pictures import Drawing

__all__ = [
    "DetectorKind",
    "Drawing",
    "GivenBoxes",
    "Models",
    "PairFrame",
    "Summary",
    "detect_frames",
    "detection_record",
    "outputs_of",
    "raw_drive",
]
