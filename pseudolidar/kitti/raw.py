"""Drives of KITTI's raw data, read into the same frames, and written in that layout."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import FormatError, InputError, replacing
from pseudolidar.kitti.arrays import read_points, write_points
from pseudolidar.kitti.calibration import Calibration, read_camera_matrices, read_matrices, require_matrices
from pseudolidar.kitti.frames import Frame, ObjectDataset
from pseudolidar.kitti.images import image_names, image_path

_IMAGE_FOLDERS = {"image_2": "image_02", "image_3": "image_03"}
_CAMERAS_FILE = "calib_cam_to_cam.txt"
_VELODYNE_FILE = "calib_velo_to_cam.txt"
_IMU_FILE = "calib_imu_to_velo.txt"


@dataclass(frozen=True)
class RawFrame(Frame):
    """One frame of a raw drive: `folder` is the drive's, `frame_id` has ten digits."""

    drive_calibration: Calibration

    def path(self, kind: str) -> Path:
        """The file of one kind; a raw drive has label_2 and disparity only if someone put them there."""
        if kind == "calib":
            return self.folder.parent / _CAMERAS_FILE
        if kind in _IMAGE_FOLDERS:
            return image_path(self.folder / _IMAGE_FOLDERS[kind] / "data", self.frame_id)
        if kind == "velodyne":
            return self.folder / "velodyne_points" / "data" / f"{self.frame_id}.bin"
        return super().path(kind)

    @property
    def calibration_files(self) -> Sequence[Path]:
        """Two of the drive's day: the cameras', the LiDAR's."""
        return [self.folder.parent / name for name in (_CAMERAS_FILE, _VELODYNE_FILE)]

    @property
    def calibration(self) -> Calibration:
        """The calibration of the drive's day."""
        return self.drive_calibration


class RawDrive(ObjectDataset):
    """The frames of one synchronised and rectified drive that have a left image.

    A frame is known by its number, not by its place in a list: in some of KITTI's drives a few LiDAR sweeps are
    missing, and lists of files then run out of step.

    Args:
        root: the folder that holds the days.
        date: the day, e.g. "2011_09_26".
        drive: the drive's number, e.g. "0001".

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

    def frame(self, frame_id: str) -> RawFrame:
        """The frame of a number with ten digits."""
        return RawFrame(self.folder, frame_id, self.calibration)


def _calibration(day: Path) -> Calibration:
    # Nothing here needs the third file of a day, the way from the IMU to the LiDAR, nor the IMU's data.
    cameras, velodyne = day / _CAMERAS_FILE, day / _VELODYNE_FILE
    matrices = read_camera_matrices(cameras, ("P2", "P3", "R0_rect"))
    pose, _ = read_matrices(velodyne, {"R": (3, 3), "T": (3, 1)}, {})
    require_matrices(velodyne, pose, ("R", "T"), {})
    calibration = Calibration(
        matrices["P2"], matrices["P3"], matrices["R0_rect"], np.concatenate([pose["R"], pose["T"]], axis=1)
    )
    calibration.require_valid(day)
    return calibration


def write_raw_drive(frames: Sequence[Frame], root: str | Path, date: str, drive: str) -> RawDrive:
    """Write frames as a drive of KITTI's raw data, numbered from 0, ten a second.

    Args:
        frames: of one calibration; images are copied, LiDAR sweeps where there are any.
        root: the folder that holds the days.
        date, drive: as for `RawDrive`.

    Raises:
        FormatError: a frame without a pair of images of one size, or with another calibration than the first.
        InputError: no frames.
    """
    if not frames:
        raise InputError("frames: found none, expected at least one")
    day = Path(root) / date
    folder = day / f"{date}_drive_{drive}_sync"
    calibration = frames[0].calibration
    size = frames[0].left_image().shape[:2]
    for number, frame in enumerate(frames):
        _require_same(frame, calibration, frames[0])
        frame.stereo_pair()
        written = RawFrame(folder, f"{number:010d}", calibration)
        for kind in ("image_2", "image_3"):
            source = frame.path(kind)
            with replacing(written.path(kind).with_suffix(source.suffix)) as temporary:
                shutil.copyfile(source, temporary)
        if frame.path("velodyne").is_file():
            write_points(written.path("velodyne"), read_points(frame.path("velodyne")))
    _write_calibration(day, calibration, size)
    start = datetime.strptime(date, "%Y_%m_%d") + timedelta(hours=12)
    times = "".join(
        f"{start + timedelta(seconds=0.1 * number):%Y-%m-%d %H:%M:%S.%f}000\n" for number in range(len(frames))
    )
    for sensor in ("image_02", "image_03", "velodyne_points", "oxts"):
        with replacing(folder / sensor / "timestamps.txt") as temporary:
            temporary.write_text(times)
    return RawDrive(root, date, drive)


def _require_same(frame: Frame, calibration: Calibration, first: Frame) -> None:
    ours = frame.calibration
    for name in ("P2", "P3", "R0_rect", "Tr_velo_to_cam"):
        if not np.allclose(getattr(ours, name), getattr(calibration, name), rtol=1e-6, atol=1e-9):
            expected = f"the one of {first.path('calib')}: a drive has a single calibration"
            raise FormatError(frame.path("calib"), f"matrix {name}", "another one", expected)


def _write_calibration(day: Path, calibration: Calibration, size: tuple[int, ...]) -> None:
    """The three calibration files of a day; the grey cameras stand where the rectified frame has its origin."""
    grey = calibration.P2.copy()
    grey[:, 3] = 0.0
    cameras: dict[str, NDArray[np.float64]] = {}
    for camera, projection in enumerate((grey, grey, calibration.P2, calibration.P3)):
        image_size = np.array([size[1], size[0]], dtype=np.float64)
        offset = np.array([projection[0, 3] / projection[0, 0], 0.0, 0.0])
        cameras |= {
            f"S_{camera:02d}": image_size,
            f"K_{camera:02d}": projection[:, :3],
            f"D_{camera:02d}": np.zeros(5),
            f"R_{camera:02d}": np.eye(3),
            f"T_{camera:02d}": offset,
            f"S_rect_{camera:02d}": image_size,
            f"R_rect_{camera:02d}": calibration.R0_rect,
            f"P_rect_{camera:02d}": projection,
        }
    velodyne = {"R": calibration.Tr_velo_to_cam[:, :3], "T": calibration.Tr_velo_to_cam[:, 3]}
    imu = {"R": np.eye(3), "T": np.zeros(3)}
    for name, matrices in ((_CAMERAS_FILE, cameras), (_VELODYNE_FILE, velodyne), (_IMU_FILE, imu)):
        lines = [f"{key}: {' '.join(f'{value:.12e}' for value in matrix.ravel())}" for key, matrix in matrices.items()]
        with replacing(day / name) as temporary:
            temporary.write_text("\n".join(["calib_time: 01-Jan-2011 12:00:00", *lines]) + "\n")
