"""A folder of disparity maps, or of LiDAR sweeps -> a folder of point clouds."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pseudolidar.cloud.formats import require_format, write_cloud
from pseudolidar.cloud.grid import AngularGrid
from pseudolidar.cloud.points import crop_sweep, disparity_to_points
from pseudolidar.files import require_output_folder, require_same_settings, track
from pseudolidar.kitti import Calibration, disparity_path, read_disparity, read_points

SETTINGS_FILE = "clouds.json"
"""Beside the clouds: what they were made with, so that a folder never holds clouds of two kinds."""


def write_clouds(
    disparity_dir: str | Path,
    calib_dir: str | Path,
    output_dir: str | Path,
    frame_ids: Sequence[str],
    max_height: float | None = 1.0,
    max_depth: float | None = None,
    baseline: float | None = None,
    workers: int | None = None,
    grid: AngularGrid | None = None,
    quantization: float | None = None,
    format: str = "bin",
) -> None:
    """Write the cloud of every frame, `output_dir`/ID.bin (float32 x 4, velodyne frame); see `disparity_to_points`.

    Clouds that are there already are left alone, so that a broken run goes on where it stopped.

    Args:
        disparity_dir: disparity maps of the left colour image, see `disparity_path`.
        calib_dir: ID.txt, KITTI calibration files.
        output_dir: made if missing.
        frame_ids: which frames.
        max_height: m, winsorization.
        max_depth: m, near-only clouds.
        baseline: m, instead of the calibration's.
        workers: how many frames at once, a thread each; None takes one a processor, eight at most.
        grid: sparse clouds.
        quantization: px, disparities cut off to multiples of it.
        format: of the clouds' files, one of `CLOUD_FORMATS`; the detectors read bin.

    Raises:
        FormatError: a frame without disparity map or calibration, or a file that does not hold what it should, or a
            folder with clouds of other settings; no partial cloud is left behind.
        InputError: another format.
    """
    output = require_output_folder(output_dir, "clouds")
    require_format(format)
    settings = {
        "source": "disparity",
        "max_height": max_height,
        "max_depth": max_depth,
        "baseline": baseline,
        "grid": None if grid is None else json.loads(json.dumps(asdict(grid))),
        "quantization": quantization,
    }

    def write_one(frame_id: str) -> None:
        calibration = Calibration.from_file(Path(calib_dir) / f"{frame_id}.txt")
        disparity = read_disparity(disparity_path(disparity_dir, frame_id))
        points = disparity_to_points(
            disparity, calibration, max_height, max_depth, baseline, grid, quantization, threads=1
        )
        write_cloud(output / f"{frame_id}.{format}", points)

    missing = _missing(frame_ids, output, format)
    for frame_id in missing:
        disparity_path(disparity_dir, frame_id)
    _each_frame(write_one, missing, output, settings, workers)


def write_lidar_clouds(
    velodyne_dir: str | Path,
    output_dir: str | Path,
    frame_ids: Sequence[str],
    max_height: float | None = 1.0,
    max_depth: float | None = None,
    workers: int | None = None,
) -> None:
    """Write the LiDAR sweeps cropped as the clouds of `write_clouds` are: the oracle y where no exact map is known.

    Args:
        velodyne_dir: ID.bin, KITTI's LiDAR sweeps.
        output_dir, frame_ids, max_height, max_depth, workers: as for `write_clouds`; resumable as well.

    Raises:
        FormatError: a frame without a sweep, or a broken one, or a folder with clouds of other settings.
    """
    output = require_output_folder(output_dir, "clouds")
    settings = {"source": "LiDAR", "max_height": max_height, "max_depth": max_depth}

    def write_one(frame_id: str) -> None:
        sweep = read_points(Path(velodyne_dir) / f"{frame_id}.bin")
        write_cloud(output / f"{frame_id}.bin", crop_sweep(sweep, max_height, max_depth))

    _each_frame(write_one, _missing(frame_ids, output, "bin"), output, settings, workers)


def _missing(frame_ids: Sequence[str], output: Path, format: str) -> list[str]:
    return [frame_id for frame_id in frame_ids if not (output / f"{frame_id}.{format}").is_file()]


def _each_frame(
    write_one: Callable[[str], None],
    frame_ids: Sequence[str],
    output: Path,
    settings: Mapping[str, Any],
    workers: int | None,
) -> None:
    require_same_settings(output / SETTINGS_FILE, settings, "clouds")
    if not frame_ids:
        return
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        futures = [pool.submit(write_one, frame_id) for frame_id in frame_ids]
        try:
            for future in track(as_completed(futures), "point clouds", total=len(futures)):
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
