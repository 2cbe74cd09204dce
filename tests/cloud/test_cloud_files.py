"""Folders of disparity maps to folders of clouds: same points, resumable, clear errors, nothing half written."""

from pathlib import Path

import numpy as np
import pytest

from pseudolidar.cloud import disparity_to_points, write_clouds, write_lidar_clouds
from pseudolidar.kitti import (
    CANONICAL_VELO_TO_CAM,
    Calibration,
    FormatError,
    read_points,
    write_disparity,
    write_points,
)

FRAMES = ["000000", "000003", "000007"]


@pytest.fixture
def calibration() -> Calibration:
    P2 = np.array([[200.0, 0, 16, 10], [0, 200.0, 8, 0], [0, 0, 1, 0]])
    P3 = P2 - np.array([[0, 0, 0, 110.0], [0, 0, 0, 0], [0, 0, 0, 0]])
    return Calibration(P2, P3, np.eye(3), CANONICAL_VELO_TO_CAM)


@pytest.fixture
def folders(tmp_path: Path, calibration: Calibration) -> tuple[Path, Path, Path]:
    disparity_dir, calib_dir, output_dir = (tmp_path / name for name in ("disparity", "calib", "clouds"))
    rng = np.random.default_rng(0)
    for frame_id, suffix in zip(FRAMES, (".npy", ".png", ".npy"), strict=True):
        write_disparity(disparity_dir / f"{frame_id}{suffix}", rng.uniform(1, 40, (16, 32)).astype(np.float32))
        calibration.to_file(calib_dir / f"{frame_id}.txt")
    return disparity_dir, calib_dir, output_dir


def test_clouds_of_a_folder(folders: tuple[Path, Path, Path], calibration: Calibration) -> None:
    disparity_dir, calib_dir, output_dir = folders
    write_clouds(disparity_dir, calib_dir, output_dir, FRAMES, max_height=0.5, max_depth=20.0)
    assert sorted(path.name for path in output_dir.iterdir()) == [f"{frame_id}.bin" for frame_id in FRAMES]
    disparity = np.load(disparity_dir / "000007.npy")
    expected = disparity_to_points(disparity, Calibration.from_file(calib_dir / "000007.txt"), 0.5, 20.0)
    np.testing.assert_array_equal(read_points(output_dir / "000007.bin"), expected)


def test_finished_clouds_are_left_alone(folders: tuple[Path, Path, Path]) -> None:
    disparity_dir, calib_dir, output_dir = folders
    write_clouds(disparity_dir, calib_dir, output_dir, FRAMES[:2], max_height=1.0, max_depth=None)
    before = (output_dir / "000000.bin").stat().st_mtime_ns
    write_clouds(disparity_dir, calib_dir, output_dir, FRAMES, max_height=1.0, max_depth=None)
    assert (output_dir / "000000.bin").stat().st_mtime_ns == before
    assert (output_dir / "000007.bin").is_file()


def test_a_bad_map_is_named_and_leaves_nothing_behind(folders: tuple[Path, Path, Path]) -> None:
    disparity_dir, calib_dir, output_dir = folders
    disparity = np.load(disparity_dir / "000007.npy")
    disparity[3, 4] = np.nan
    np.save(disparity_dir / "000007.npy", disparity)
    with pytest.raises(FormatError, match=r"000007\.npy: row 3, column 4"):
        write_clouds(disparity_dir, calib_dir, output_dir, FRAMES, max_height=1.0, max_depth=None)
    assert not any("000007" in path.name for path in output_dir.iterdir())


def test_a_missing_map_is_named_before_any_work(folders: tuple[Path, Path, Path]) -> None:
    disparity_dir, calib_dir, output_dir = folders
    with pytest.raises(FormatError, match=r"000042\.npy: file: found nothing there"):
        write_clouds(disparity_dir, calib_dir, output_dir, [*FRAMES, "000042"], max_height=1.0, max_depth=None)
    assert not output_dir.exists()


def test_a_lidar_sweep_is_cropped_like_a_cloud(tmp_path: Path) -> None:
    sweep = np.array(
        [[5, 0, 0.99, 0.3], [5, 0, 1.0, 0.3], [-0.01, 0, 0, 0.3], [19.9, 2, -1, 0.4], [20.0, 2, -1, 0.5]], np.float32
    )
    write_points(tmp_path / "velodyne" / "000001.bin", sweep)
    write_lidar_clouds(tmp_path / "velodyne", tmp_path / "near", ["000001"], 1.0, 20.0)
    np.testing.assert_array_equal(read_points(tmp_path / "near" / "000001.bin"), sweep[[0, 3]])
    write_lidar_clouds(tmp_path / "velodyne", tmp_path / "all", ["000001"], None, None)
    np.testing.assert_array_equal(read_points(tmp_path / "all" / "000001.bin"), sweep[[0, 1, 3, 4]])
    with pytest.raises(FormatError, match=r"000002\.bin"):
        write_lidar_clouds(tmp_path / "velodyne", tmp_path / "all", ["000001", "000002"])
