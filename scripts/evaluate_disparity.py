"""Errors of disparity maps by depth: python scripts/evaluate_disparity.py disparity=DIR data=DIR split=val."""

import json
from pathlib import Path

import hydra
from omegaconf import DictConfig

from pseudolidar.command_line import clear_errors, instantiate
from pseudolidar.files import FormatError, InputError, replacing, require_output_file
from pseudolidar.kitti import Calibration, ObjectDataset, read_disparity, read_points
from pseudolidar.stereo import StereoMetrics, disparity_metrics, lidar_disparity, map_metrics
from pseudolidar.study import disparity_table
from pseudolidar.viewing import print_table


@hydra.main(version_base="1.3", config_path="../configs", config_name="evaluate_disparity")
def main(config: DictConfig) -> None:
    """Compare with the truth of a data set, or with one LiDAR sweep; print the table, write the JSON file."""
    with clear_errors():
        if (config.data is None) == (config.calib is None or config.velodyne is None):
            raise InputError("expected data=DIR, or calib=FILE velodyne=FILE")
        if config.output is not None:
            require_output_file(config.output, (".json",), "a table")
        disparity = Path(config.disparity)
        if config.data is not None:
            if config.get("pairs") is None:
                data = ObjectDataset(config.data, config.split)
            else:
                data = instantiate(config.pairs, root=config.data, split=config.split)
            metrics = disparity_metrics(disparity, data)
            name = f"{disparity}, {len(metrics.frame_ids)} frames"
        else:
            metrics = _against_lidar(disparity, Path(config.calib), Path(config.velodyne))
            name = str(disparity)
        if not metrics.pixels.any():
            truth = config.velodyne if config.data is None else config.data
            raise FormatError(truth, "truth", "nothing in the image", "pixels whose disparity is known")
        print_table(disparity_table(metrics, name))
        if config.output is not None:
            with replacing(config.output) as temporary:
                temporary.write_text(json.dumps(metrics.to_dict(), indent=1) + "\n")
            print(f"written to {config.output}")


def _against_lidar(disparity: Path, calib: Path, velodyne: Path) -> StereoMetrics:
    predicted, calibration = read_disparity(disparity), Calibration.from_file(calib)
    truth = lidar_disparity(read_points(velodyne), calibration, (predicted.shape[0], predicted.shape[1]))
    return map_metrics(predicted, truth, calibration.camera_constant_px_m, disparity.stem)


if __name__ == "__main__":
    main()
