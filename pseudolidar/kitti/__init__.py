"""KITTI's object format, which every part reads and writes: calibration, objects, frames, splits, files."""

from pseudolidar.kitti.arrays import (
    DISPARITY_SUFFIXES,
    disparity_path,
    read_disparity,
    read_disparity_size,
    read_pfm,
    read_points,
    write_disparity,
    write_points,
)
from pseudolidar.kitti.calibration import CANONICAL_VELO_TO_CAM, Calibration
from pseudolidar.kitti.export import export_dataset
from pseudolidar.kitti.frames import Frame, ObjectDataset, find_frame, read_split
from pseudolidar.kitti.images import image_names, image_path, read_image, read_image_size, write_image
from pseudolidar.kitti.objects import CLASSES, Objects, box3d_corners, read_objects, write_objects
from pseudolidar.kitti.raw import RawDrive, RawFrame

__all__ = [
    "CANONICAL_VELO_TO_CAM",
    "CLASSES",
    "DISPARITY_SUFFIXES",
    "Calibration",
    "Frame",
    "ObjectDataset",
    "Objects",
    "RawDrive",
    "RawFrame",
    "box3d_corners",
    "disparity_path",
    "export_dataset",
    "find_frame",
    "image_names",
    "image_path",
    "read_disparity",
    "read_disparity_size",
    "read_image",
    "read_image_size",
    "read_objects",
    "read_pfm",
    "read_points",
    "read_split",
    "write_disparity",
    "write_image",
    "write_objects",
    "write_points",
]
