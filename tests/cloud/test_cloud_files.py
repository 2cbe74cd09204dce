"""Folders of disparity maps to folders of clouds: same points, resumable, clear errors, nothing half written."""

import importlib
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pseudolidar.cloud import LIDAR_GRID, disparity_to_points, write_cloud, write_clouds, write_lidar_clouds
from pseudolidar.files import FileError, FormatError
from pseudolidar.kitti import CANONICAL_VELO_TO_CAM, Calibration, read_points, write_disparity, write_points
from tests.conftest import RunHere

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
    assert sorted(path.name for path in output_dir.iterdir()) == [
        ".record.lock",
        *(f"{i}.bin" for i in FRAMES),
        "record.json",
    ]
    disparity = np.load(disparity_dir / "000007.npy")
    expected = disparity_to_points(disparity, Calibration.from_file(calib_dir / "000007.txt"), 0.5, 20.0)
    np.testing.assert_array_equal(read_points(output_dir / "000007.bin"), expected)


@pytest.mark.parametrize(
    ("settings", "shift", "message"),
    [
        # A camera 30 m over the LiDAR; a LiDAR 500 m ahead; a near limit before everything; a grid elsewhere.
        ({}, (0, 30, 0), r"[\d,]+ at max_height or above; is max_height.*right"),
        ({}, (0, 0, -500), r"1,536 behind the LiDAR \(x < 0\); is Tr_velo_to_cam this LiDAR's"),
        ({"max_depth": 2.0}, (0, 0, 0), r"at max_depth or beyond, .*; are the disparities in px"),
        ({"grid": replace(LIDAR_GRID, x_m=(0.0, 1.0))}, (0, 0, 0), r"outside of the grid, .*does the grid's crop fit"),
    ],
)
def test_a_run_that_drops_nearly_everything_says_so_once(
    folders: tuple[Path, Path, Path],
    calibration: Calibration,
    caplog: pytest.LogCaptureFixture,
    settings: dict,
    shift: tuple[float, float, float],
    message: str,
) -> None:
    disparity_dir, calib_dir, output_dir = folders
    write_clouds(disparity_dir, calib_dir, output_dir / "good", FRAMES)
    assert not caplog.messages
    moved = calibration.Tr_velo_to_cam.copy()
    moved[:, 3] = np.negative(shift) * [1, -1, 1]
    for frame_id in FRAMES:
        Calibration(calibration.P2, calibration.P3, calibration.R0_rect, moved).to_file(calib_dir / f"{frame_id}.txt")
    write_clouds(disparity_dir, calib_dir, output_dir / "bad", FRAMES, **settings)
    (said,) = caplog.messages
    assert re.search(rf"in 3 of 3 frames under 5 %.*of 1,536 in all.*{message}", said), said
    # What is there is not made again, and nothing is said of it.
    write_clouds(disparity_dir, calib_dir, output_dir / "bad", FRAMES, **settings)
    assert len(caplog.messages) == 1


def test_maps_and_sweeps_with_next_to_nothing(
    folders: tuple[Path, Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    disparity_dir, calib_dir, output_dir = folders
    empty = np.zeros((16, 32), np.float32)
    empty[8, 8] = 10
    write_disparity(disparity_dir / "000000.npy", empty)
    write_clouds(disparity_dir, calib_dir, output_dir, FRAMES)
    assert "1 of 3 disparity maps have a disparity in under 0.5 % of the pixels" in caplog.messages[0]
    caplog.clear()
    sweep = np.tile(np.array([[5, 0, -1, 0.5], [-5, 0, -1, 0.5], [5, 0, 3, 0.5]], np.float32), (50, 1))
    write_points(disparity_dir / "000000.bin", sweep)
    write_lidar_clouds(disparity_dir, output_dir / "sweeps", ["000000"])
    assert not caplog.messages
    write_lidar_clouds(disparity_dir, output_dir / "none", ["000000"], max_height=-2.0)
    assert "100 at max_height or above, 50 behind the LiDAR (x < 0)" in caplog.messages[0]


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


def test_clouds_of_two_kinds_are_never_mixed(folders: tuple[Path, Path, Path]) -> None:
    disparity_dir, calib_dir, output_dir = folders
    write_clouds(disparity_dir, calib_dir, output_dir, FRAMES[:1])
    with pytest.raises(FormatError, match=r"record\.json: record: found max_depth=None, expected max_depth=20\.0"):
        write_clouds(disparity_dir, calib_dir, output_dir, FRAMES, max_depth=20.0)
    with pytest.raises(FormatError, match="record: found grid=None"):
        write_clouds(disparity_dir, calib_dir, output_dir, FRAMES, grid=LIDAR_GRID)
    with pytest.raises(FormatError, match=r"record: found source=disparity"):
        write_lidar_clouds(disparity_dir, output_dir, FRAMES)
    assert not (output_dir / "000003.bin").exists()
    # The same settings go on, whatever the format.
    write_clouds(disparity_dir, calib_dir, output_dir, FRAMES, format="npy")
    np.testing.assert_array_equal(read_cloud(output_dir / "000000.npy"), read_points(output_dir / "000000.bin"))
    (output_dir / "record.json").write_text("[]")
    with pytest.raises(FormatError, match=r"record\.json: file"):
        write_clouds(disparity_dir, calib_dir, output_dir, FRAMES)


def test_sparse_and_published_settings_reach_the_clouds(folders: tuple[Path, Path, Path]) -> None:
    disparity_dir, calib_dir, output_dir = folders
    for _ in range(2):  # resumed: the same settings, read back from the file
        write_clouds(
            disparity_dir,
            calib_dir,
            output_dir,
            FRAMES,
            baseline=0.54,
            grid=LIDAR_GRID,
            quantization=1 / 256,
            workers=1,
        )
    calibration = Calibration.from_file(calib_dir / "000000.txt")
    disparity = np.load(disparity_dir / "000000.npy")
    expected = disparity_to_points(disparity, calibration, baseline=0.54, grid=LIDAR_GRID, quantization=1 / 256)
    np.testing.assert_array_equal(read_points(output_dir / "000000.bin"), expected)


def read_cloud(path: Path) -> NDArray[np.float32]:
    """What other people's programs find in a cloud's file."""
    if path.suffix == ".bin":
        return np.fromfile(path, np.float32).reshape(-1, 4)
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".npz":
        return np.load(path)["points"]
    cloud = importlib.import_module("open3d").t.io.read_point_cloud(str(path))
    return np.concatenate([cloud.point.positions.numpy(), cloud.point.intensity.numpy()], axis=1)


def open3d_loads() -> bool:
    # In a process of its own: this one must not pay for it.
    return subprocess.run([sys.executable, "-c", "import open3d"], capture_output=True, check=False).returncode == 0


def test_without_open3d_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(FileError, match=r"pip install 'pseudolidar\[open3d\]'"):
        write_cloud(tmp_path / "cloud.ply", np.ones((1, 4), np.float32))


@pytest.mark.parametrize("suffix", ["bin", "npy", "npz", "ply", "pcd"])
def test_formats_keep_every_bit(tmp_path: Path, suffix: str) -> None:
    if suffix in ("ply", "pcd") and not open3d_loads():
        pytest.skip("Open3D does not load: apt-get install libusb-1.0-0 libgl1 libgomp1")
    points = np.random.default_rng(0).normal(0, 30, (50, 4)).astype(np.float32)
    path = tmp_path / f"cloud.{suffix}"
    write_cloud(path, points[::2])
    np.testing.assert_array_equal(read_cloud(path), points[::2])
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    if suffix in ("bin", "npy", "npz"):
        write_cloud(path, points[:0])
        assert read_cloud(path).shape == (0, 4)
    else:
        with pytest.raises(ValueError, match="found no points"):
            write_cloud(path, points[:0])
    with pytest.raises(ValueError, match=r"\(50, 3\)"):
        write_cloud(path, points[:, :3])


def test_what_a_cloud_file_can_not_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"found suffix \.txt, expected a point cloud"):
        write_cloud(tmp_path / "cloud.txt", np.zeros((1, 4), np.float32))


def test_the_command_and_its_variants(folders: tuple[Path, Path, Path], run_here: RunHere) -> None:
    disparity_dir, calib_dir, output_dir = folders
    inputs = [f"disparity={disparity_dir}", f"calib={calib_dir}"]
    calibration, disparity = Calibration.from_file(calib_dir / "000000.txt"), np.load(disparity_dir / "000000.npy")
    done = run_here("make_clouds", *inputs, f"output={output_dir}/sparse", "cloud=sparse", "format=npz")
    assert done.status == 0, done.err
    expected = disparity_to_points(disparity, calibration, grid=LIDAR_GRID)
    np.testing.assert_array_equal(read_cloud(output_dir / "sparse" / "000000.npz"), expected)
    wrong = run_here("make_clouds", *inputs, f"output={output_dir}/sparse", "cloud=near_only", "format=npz")
    assert wrong.status == 2
    assert "record.json: record: found max_depth=None" in wrong.err
    assert len(wrong.err.splitlines()) == 1


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
        write_lidar_clouds(tmp_path / "velodyne", tmp_path / "all", ["000001", "000002"], None, None)
