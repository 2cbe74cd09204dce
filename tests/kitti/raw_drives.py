"""Drives in the layout of KITTI's raw data, written from frames."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import write_file
from pseudolidar.kitti import Calibration, Frame, RawDrive, RawFrame


def write_raw_drive(frames: Sequence[Frame], root: Path, date: str, drive: str) -> RawDrive:
    """Frames of one calibration as a drive, numbered from 0, ten a second; sweeps where there are any."""
    day = root / date
    folder = day / f"{date}_drive_{drive}_sync"
    calibration = frames[0].calibration
    for number, frame in enumerate(frames):
        written = RawFrame(folder, f"{number:010d}", calibration)
        for kind in ("image_2", "image_3", "velodyne"):
            source = frame.path(kind)
            if source.is_file():
                write_file(written.path(kind).with_suffix(source.suffix), source.read_bytes())
    _write_calibration(day, calibration, frames[0].image_size())
    start = datetime.strptime(date, "%Y_%m_%d") + timedelta(hours=12)
    times = "".join(
        f"{start + timedelta(seconds=0.1 * number):%Y-%m-%d %H:%M:%S.%f}000\n" for number in range(len(frames))
    )
    for sensor in ("image_02", "image_03", "velodyne_points", "oxts"):
        write_file(folder / sensor / "timestamps.txt", times)
    return RawDrive(root, date, drive)


def _write_calibration(day: Path, calibration: Calibration, size: tuple[int, int]) -> None:
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
    for name, matrices in (("cam_to_cam", cameras), ("velo_to_cam", velodyne), ("imu_to_velo", imu)):
        lines = [f"{key}: {' '.join(f'{value:.12e}' for value in matrix.ravel())}" for key, matrix in matrices.items()]
        write_file(day / f"calib_{name}.txt", "\n".join(["calib_time: 01-Jan-2011 12:00:00", *lines]) + "\n")
