"""Drives of KITTI's raw data as frames of the object layout."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from typing_extensions import override

from pseudolidar.files import FormatError
from pseudolidar.kitti.calibration import Calibration, read_matrices
from pseudolidar.kitti.frames import Frame, ObjectDataset
from pseudolidar.kitti.images import image_names, image_path

_IMAGE_FOLDERS = {"image_2": "image_02", "image_3": "image_03"}
_CAMERAS_FILE = "calib_cam_to_cam.txt"
_VELODYNE_FILE = "calib_velo_to_cam.txt"


@dataclass(frozen=True)
class RawFrame(Frame):
    """One frame of a raw drive: `folder` is the drive's, `frame_id` has ten digits."""

    drive_calibration: Calibration

    @override
    def path(self, kind: str) -> Path:
        if kind == "calib":
            return self.folder.parent / _CAMERAS_FILE
        if kind in _IMAGE_FOLDERS:
            return image_path(self.folder / _IMAGE_FOLDERS[kind] / "data", self.frame_id)
        if kind == "velodyne":
            return self.folder / "velodyne_points" / "data" / f"{self.frame_id}.bin"
        # A drive has label_2 and disparity only if someone put them there.
        return super().path(kind)

    @property
    @override
    def calibration_files(self) -> Sequence[Path]:
        return [self.folder.parent / name for name in (_CAMERAS_FILE, _VELODYNE_FILE)]

    @property
    @override
    def calibration(self) -> Calibration:
        return self.drive_calibration


class RawDrive(ObjectDataset):
    """The frames of one synchronised and rectified drive, e.g. "2011_09_26" and "0001", that have a left image.

    `root` holds the days. A frame is known by its number, not by its place in a list: in some of KITTI's drives a few
    LiDAR sweeps are missing, and lists of files then run out of step.

    Raises:
        FormatError: no such drive, a calibration file that is missing or lacks a matrix, no left images.
    """

    def __init__(self, root: str | Path, date: str, drive: str) -> None:
        self.root = Path(root)
        self.split = None
        self.folder = self.root / date / f"{date}_drive_{drive}_sync"
        if not self.folder.is_dir():
            raise FormatError(self.folder, "folder", "nothing there", "a drive of KITTI's raw data (sync)")
        self.calibration = _calibration(self.folder.parent)
        images = self.folder / _IMAGE_FOLDERS["image_2"] / "data"
        self.frame_ids = image_names(images)
        if not self.frame_ids:
            raise FormatError(images, "folder", "no .png or .jpg files", "left colour images")

    @override
    def frame(self, frame_id: str) -> RawFrame:
        return RawFrame(self.folder, frame_id, self.calibration)


def _calibration(day: Path) -> Calibration:
    # Nothing here needs the third file of a day, the way from the IMU to the LiDAR, nor the IMU's data.
    cameras, velodyne = day / _CAMERAS_FILE, day / _VELODYNE_FILE
    matrices, _ = read_matrices(cameras, ("P2", "P3", "R0_rect"))
    pose, _ = read_matrices(velodyne, ("R", "T"), {"R": (3, 3), "T": (3, 1)})
    lidar = np.concatenate([pose["R"], pose["T"]], axis=1)
    calibration = Calibration(matrices["P2"], matrices["P3"], matrices["R0_rect"], lidar)
    calibration.require_valid(day)
    return calibration
