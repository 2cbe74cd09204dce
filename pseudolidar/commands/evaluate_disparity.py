"""Errors of disparity maps by depth.

pseudolidar evaluate_disparity disparity=DIR data=DIR split=val
"""

import json
from collections.abc import Callable
from pathlib import Path

from pseudolidar.case_study import disparity_table
from pseudolidar.files import FormatError, InputError, require_output_file, write_file
from pseudolidar.kitti import Calibration, ObjectDataset, read_disparity, read_points
from pseudolidar.stereo import StereoMetrics, disparity_metrics, lidar_disparity, map_metrics
from pseudolidar.stereo.pairs import StereoPairs
from pseudolidar.tables import print_tables


def main(
    *,
    disparity: Path,
    data: Path | None,
    pairs: Callable[..., StereoPairs] | None,
    split: str | None,
    truth: Path | None,
    calib: Path | None,
    velodyne: Path | None,
    output: Path | None,
) -> None:
    """Compare with the truth of a data set, or with one LiDAR sweep; print the table, write the JSON file."""
    if output is not None:
        require_output_file(output, (".json",), "a table")
    if data is not None and calib is None and velodyne is None:
        dataset = ObjectDataset(data, split) if pairs is None else pairs(root=data, split=split)
        if truth is not None and pairs is not None:
            raise InputError("truth: found a folder beside pairs, expected data in KITTI's object layout")
        metrics = disparity_metrics(disparity, dataset, truth_dir=truth)
        source, name = truth or data, f"{disparity}, {len(metrics.frame_ids)} frames"
    elif data is None and calib is not None and velodyne is not None:
        metrics = _against_lidar(disparity, calib, velodyne)
        source, name = velodyne, str(disparity)
    else:
        raise InputError("expected data=DIR, or calib=FILE velodyne=FILE")
    if not metrics.pixels.any():
        raise FormatError(source, "truth", "nothing in the image", "pixels whose disparity is known")
    print_tables([disparity_table(metrics, name)])
    if output is not None:
        write_file(output, json.dumps(metrics.to_dict(), indent=1) + "\n")
        print(f"written to {output}")


def _against_lidar(disparity: Path, calib: Path, velodyne: Path) -> StereoMetrics:
    predicted, calibration = read_disparity(disparity), Calibration.from_file(calib)
    truth = lidar_disparity(read_points(velodyne), calibration, (predicted.shape[0], predicted.shape[1]))
    return map_metrics(predicted, truth, calibration.camera_constant_px_m, disparity.stem)
