"""The written town: same bytes for the same seed, resuming, bad input, agreement of its files with each other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pseudolidar.files import FormatError
from pseudolidar.kitti import ObjectDataset
from pseudolidar.synthetic import PRESETS, write_town
from tests.conftest import RunHere

SPLITS = {"train": 2, "val": 1}
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("town")
    write_town(root, PRESETS["mini"], SPLITS, seed=5, workers=2)
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_same_seed_gives_the_same_bytes_with_any_number_of_workers(town: Path, tmp_path: Path) -> None:
    write_town(tmp_path, PRESETS["mini"], SPLITS, seed=5, workers=1)
    assert contents(tmp_path) == contents(town)


def test_other_seed_gives_other_pictures(town: Path, tmp_path: Path) -> None:
    write_town(tmp_path, PRESETS["mini"], {"train": 1}, seed=6, workers=1)
    first = Path("training/image_2/000000.png")
    assert (tmp_path / first).read_bytes() != (town / first).read_bytes()


def test_frames_are_whole_and_of_the_preset(town: Path) -> None:
    assert ObjectDataset(town, "train").frame_ids == ["000000", "000001"]
    assert ObjectDataset(town, "val").frame_ids == ["000002"]
    for frame in ObjectDataset(town, None):
        for picture in (frame.left_image(), frame.right_image()):
            assert picture.shape == (128, 416, 3)
            assert 40 < picture.mean() < 215
        disparity = frame.disparity()
        assert disparity.shape == (128, 416)
        assert 0.5 < (disparity > 0).mean() <= 1
        objects = frame.objects()
        assert len(objects) > 0
        real = objects[objects.class_name != "DontCare"]
        alpha = real.box3d[:, 6] - np.arctan2(real.box3d[:, 0], real.box3d[:, 2])
        assert np.allclose(np.cos(alpha), np.cos(real.alpha), atol=0.05)
        assert (objects.box2d[:, :2] >= 0).all() and (objects.box2d[:, 2:] <= [415, 127]).all()


def test_highway_is_written_and_written_again(tmp_path: Path) -> None:
    for folder in ("one", "again"):
        write_town(tmp_path / folder, PRESETS["highway"], {"val": 2}, seed=5, workers=1)
    assert contents(tmp_path / "one") == contents(tmp_path / "again")
    for frame in ObjectDataset(tmp_path / "one", "val"):
        assert frame.left_image().shape == (192, 832, 3)
        assert frame.calibration.focal_px == pytest.approx(721.5377)
        assert "Car" in frame.objects().class_name


def test_lidar_lies_on_the_disparity_map(town: Path) -> None:
    for frame in ObjectDataset(town, None):
        calibration, points, disparity = frame.calibration, frame.velodyne(), frame.disparity()
        assert 8000 < len(points) <= 64 * 521
        pixels, depth = calibration.rect_to_image(calibration.velodyne_to_rect(points[:, :3]))
        u, v = np.rint(pixels).astype(int).T
        inside = (depth > 1) & (u >= 0) & (u < 416) & (v >= 0) & (v < 128)
        u, v, depth = u[inside], v[inside], depth[inside]
        known = disparity[v, u] > 0
        expected = calibration.camera_constant_px_m / disparity[v, u][known]
        error = np.abs(depth[known] - expected) / expected
        # Pixels are coarse and the sensor sits elsewhere: edges differ, surfaces don't.
        assert np.median(error) < 0.012
        assert (error < 0.05).mean() > 0.80


def test_a_finished_frame_is_left_alone_and_a_lost_file_comes_back(town: Path) -> None:
    before, times = contents(town), {path: path.stat().st_mtime_ns for path in town.rglob("*.png")}
    (town / "training/label_2/000001.txt").unlink()
    write_town(town, PRESETS["mini"], SPLITS, seed=5, workers=1)
    assert contents(town) == before
    for path, changed in times.items():
        assert (path.stat().st_mtime_ns == changed) == (path.stem != "000001")


@pytest.mark.parametrize(
    ("preset", "splits", "seed", "place"),
    [("half", SPLITS, 5, "preset"), ("mini", SPLITS, 7, "seed"), ("mini", {"train": 4}, 5, "splits")],
)
def test_other_settings_on_a_town_are_an_error(
    town: Path, preset: str, splits: dict[str, int], seed: int, place: str
) -> None:
    before = contents(town)
    with pytest.raises(FormatError, match=place):
        write_town(town, PRESETS[preset], splits, seed, workers=1)
    assert contents(town) == before


def test_foreign_folders_and_broken_settings_are_errors(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    with pytest.raises(FormatError, match="make_town"):
        write_town(tmp_path, PRESETS["mini"], SPLITS, seed=0, workers=1)
    (tmp_path / "record.json").write_text('{"seed": 0')
    with pytest.raises(FormatError, match=r"record\.json"):
        write_town(tmp_path, PRESETS["mini"], SPLITS, seed=0, workers=1)


@pytest.mark.parametrize(
    ("splits", "seed", "workers"),
    [({}, 0, 1), ({"train": 0}, 0, 1), ({"train": -1}, 0, 1), ({"train": 1}, -1, 1), ({"train": 1}, 0, 0)],
)
def test_senseless_settings_are_errors(tmp_path: Path, splits: dict[str, int], seed: int, workers: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        write_town(tmp_path / "new", PRESETS["mini"], splits, seed, workers)
    assert not (tmp_path / "new").exists()


def children(process: int) -> list[int]:
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_workers_end_with_a_run_that_is_killed(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from pseudolidar.synthetic import PRESETS, write_town;"
    code += "write_town(Path(sys.argv[1]), PRESETS['mini'], {'train': 10000}, seed=0, workers=2)"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    run = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    # The first frame is rendered before there are workers.
    while len(list(tmp_path.glob("training/label_2/*.txt"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    workers = children(run.pid)
    run.send_signal(signal.SIGKILL)
    run.wait()
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(workers) >= 2
    assert not any(map(is_running, workers))


def test_the_script_writes_the_same_town(town: Path, run_here: RunHere, tmp_path: Path) -> None:
    done = run_here(
        "make_town", f"output={tmp_path / 'town'}", "preset=mini", "train=2", "val=1", "seed=5", "workers=1"
    )
    assert done.status == 0, done.err
    assert contents(tmp_path / "town") == contents(town)


def test_the_script_names_an_unknown_preset(run_here: RunHere, tmp_path: Path) -> None:
    done = run_here("make_town", f"output={tmp_path / 'town'}", "preset=huge")
    assert done.status == 2
    assert "preset" in done.err and "mini, half, full, highway" in done.err and "Traceback" not in done.err
