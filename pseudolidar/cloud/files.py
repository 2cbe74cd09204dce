"""Clouds in files: one in any of five formats; a folder of them from disparity maps or LiDAR sweeps."""

import importlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pseudolidar.cloud.grid import AngularGrid
from pseudolidar.cloud.points import crop_sweep, disparity_to_points
from pseudolidar.cloud.tally import CloudTally
from pseudolidar.files import (
    FileError,
    InputError,
    Record,
    claimed,
    combined_digest,
    files_digest,
    replacing,
    require_output_folder,
    require_suffix,
    track,
    write_npy,
)  # fmt: skip
from pseudolidar.kitti import Calibration, disparity_path, read_disparity, read_points, write_points

logger = logging.getLogger(__name__)

CLOUD_FORMATS = ("bin", "npy", "npz", "ply", "pcd")
_POINT_BYTES = 16


def write_cloud(path: str | Path, points: NDArray[np.float32]) -> None:
    """Write float32 (N, 4), x y z m in the velodyne frame and intensity; the suffix says the format.

    `.bin` is KITTI's; `.npz` is compressed, with an array "points"; `.ply` and `.pcd` are binary, with "intensity".

    Raises:
        FormatError: another suffix.
        InputError: no points for .ply and .pcd, in which Open3D writes no empty cloud.
        FileError: the file can't be written, or Open3D is not installed or doesn't load.
    """
    path = Path(path)
    suffixes = [f".{name}" for name in CLOUD_FORMATS]
    suffix = require_suffix(path, suffixes, "a point cloud").removeprefix(".")
    if suffix == "bin":
        write_points(path, points)
        return
    if points.ndim != 2 or points.shape[1] != 4:
        raise ValueError(f"points: found shape {points.shape}, expected (N, 4): x y z intensity")
    points = np.ascontiguousarray(points, dtype=np.float32)
    if suffix == "npy":
        write_npy(path, points)
        return
    if suffix == "npz":
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, points=points)
        return
    if not len(points):
        raise InputError(f"{path}: found no points, which a .{suffix} can't hold; .bin, .npy and .npz can")
    # Imported only here: it takes seconds, and needs libraries of the system that a server may lack.
    try:
        open3d: Any = importlib.import_module("open3d")
    except ModuleNotFoundError as error:
        raise FileError(f"{path}: Open3D writes it: pip install 'pseudolidar[open3d]'") from error
    except (ImportError, OSError) as error:
        raise FileError(f"{path}: Open3D, which writes it, does not load: {error}") from error
    cloud = open3d.t.geometry.PointCloud(open3d.core.Tensor(np.ascontiguousarray(points[:, :3])))
    cloud.point["intensity"] = open3d.core.Tensor(np.ascontiguousarray(points[:, 3:]))
    with replacing(path) as temporary:
        # Of a full disk Open3D says nothing; both formats end with the last point.
        written = open3d.t.io.write_point_cloud(str(temporary), cloud)
        if not written or temporary.read_bytes()[-_POINT_BYTES:] != points[-1].tobytes():
            raise OSError("Open3D could not write the cloud")


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
    overwrite: bool = False,
) -> None:
    """Write the cloud of every frame, `output_dir`/ID.bin (float32 x 4, velodyne frame); see `disparity_to_points`.

    Clouds that exist are kept: a broken run goes on where it stopped. Those of other settings or maps are refused.

    Args:
        disparity_dir, calib_dir: maps of the left colour image (`disparity_path`); KITTI calibration files ID.txt.
        workers: threads, each with a frame of its own; None: one per processor, at most eight.
        format: of the clouds' files, one of `CLOUD_FORMATS`; the detectors read bin.
        overwrite: clouds made otherwise are replaced.

    Raises:
        FormatError: a frame without disparity map or calibration, a broken file, or a folder with clouds of other
            settings or maps, unless `overwrite`; no partial cloud is left behind.
        InputError: another format.
    """
    output = require_output_folder(output_dir, "clouds")
    if format not in CLOUD_FORMATS:
        raise InputError(f"format: found {format!r}, expected one of {', '.join(CLOUD_FORMATS)}")
    settings = {
        "source": "disparity",
        "max_height": max_height,
        "max_depth": max_depth,
        "baseline": baseline,
        "grid": None if grid is None else asdict(grid),
        "quantization": quantization,
    }
    sources = {
        frame_id: [disparity_path(disparity_dir, frame_id), Path(calib_dir) / f"{frame_id}.txt"]
        for frame_id in frame_ids
    }

    def write_one(frame_id: str) -> CloudTally:
        disparity_file, calib_file = sources[frame_id]
        calibration = Calibration.from_file(calib_file)
        disparity = read_disparity(disparity_file)
        points = disparity_to_points(
            disparity, calibration, max_height, max_depth, baseline, grid, quantization, threads=1
        )
        write_cloud(output / f"{frame_id}.{format}", points)
        return CloudTally.of_map(disparity, len(points), calibration, max_height, max_depth, baseline, grid)

    _write_each(write_one, sources, output, format, settings, workers, overwrite)


def write_lidar_clouds(
    velodyne_dir: str | Path,
    output_dir: str | Path,
    frame_ids: Sequence[str],
    max_height: float | None = 1.0,
    max_depth: float | None = None,
    workers: int | None = None,
) -> None:
    """Write LiDAR sweeps ID.bin cropped like the clouds of `write_clouds`: the oracle y where no exact map is known.

    `output_dir`, limits and workers are as for `write_clouds`; a broken run goes on where it stopped.

    Raises:
        FormatError: a frame without a sweep, or a broken one, or a folder with clouds of other settings.
    """
    output = require_output_folder(output_dir, "clouds")
    settings = {"source": "LiDAR", "max_height": max_height, "max_depth": max_depth}
    sources = {frame_id: [Path(velodyne_dir) / f"{frame_id}.bin"] for frame_id in frame_ids}

    def write_one(frame_id: str) -> CloudTally:
        sweep = read_points(*sources[frame_id])
        points = crop_sweep(sweep, max_height, max_depth)
        write_cloud(output / f"{frame_id}.bin", points)
        return CloudTally.of_sweep(sweep, len(points), max_height, max_depth)

    _write_each(write_one, sources, output, "bin", settings, workers)


def _write_each(
    write_one: Callable[[str], CloudTally],
    sources: Mapping[str, Sequence[Path]],
    output: Path,
    format: str,
    settings: Mapping[str, Any],
    workers: int | None,
    overwrite: bool = False,
) -> None:
    """Write the missing clouds, several at once, from each frame's `sources`; log a line if nearly all is dropped."""
    tally = CloudTally()
    record = Record("clouds", settings, {})
    digests = {frame_id: files_digest(files) for frame_id, files in sources.items()}
    with (
        claimed(output, record, digests, [f"{{}}.{format}"], overwrite),
        ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool,
    ):
        missing = [frame_id for frame_id in sources if not (output / f"{frame_id}.{format}").is_file()]
        futures = [pool.submit(write_one, frame_id) for frame_id in missing]
        if not futures:
            return
        try:
            for future in track(as_completed(futures), "point clouds", total=len(futures)):
                tally += future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if tally.notice is not None:
        logger.warning(tally.notice)


def clouds_digest(clouds_dir: str | Path, frame_ids: Sequence[str]) -> str:
    """One digest of the clouds ID.bin of these frames, for the record of what is trained on them."""
    return combined_digest({frame_id: files_digest([Path(clouds_dir) / f"{frame_id}.bin"]) for frame_id in frame_ids})
