"""The script that prints a disparity model's errors by depth: data sets, one pair, mistakes."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pseudolidar.case_study import disparity_table
from pseudolidar.files import FormatError
from pseudolidar.kitti import ObjectDataset, read_disparity, read_image, write_disparity
from pseudolidar.stereo import KittiStereoPairs, SemiGlobalMatching, disparity_metrics, map_metrics, predict_disparities
from pseudolidar.tables import table_text
from tests.conftest import Done, RunHere
from tests.stereo.test_kitti_stereo import disparity_of, write_benchmark

Run = Callable[..., Done]


@pytest.fixture
def run(run_here: RunHere) -> Run:
    return partial(run_here, "evaluate_disparity")


def shift(scene: ObjectDataset, folder: Path, by_px: float) -> None:
    for frame in scene:
        write_disparity(folder / f"{frame.frame_id}.npy", frame.disparity() + by_px)


def test_a_data_set(scene: ObjectDataset, run: Run, tmp_path: Path) -> None:
    shift(scene, tmp_path / "maps", 0.25)
    (scene.root / "ImageSets" / "val.txt").write_text("000001\n000003\n")
    output = tmp_path / "errors.json"
    done = run(f"disparity={tmp_path / 'maps'}", f"data={scene.root}", "split=val", f"output={output}")
    assert done.status == 0, done.err
    lines = [line.split() for line in done.out.splitlines()]
    pixels, of_cars = 2 * 38 * 72, 2 * 20 * 24
    # A wall at 30 m and a car nearer than 20 m; a quarter of a pixel is no outlier.
    depth_m = abs(90 / 3.25 - 30)
    assert next(line for line in lines if line[:1] == ["20-40"]) == [
        "20-40", "0.250", f"{depth_m:.3f}", "0.000", str(pixels - of_cars),
    ]  # fmt: skip
    assert [line[:4] for line in lines if line[:1] == ["cars"]] == [["cars", "0-max", "0.250", line_depth(scene)]]
    assert "pedestrians" not in done.out
    metrics = disparity_metrics(tmp_path / "maps", ObjectDataset(scene.root, "val"))
    assert json.loads(output.read_text()) == metrics.to_dict()


def test_another_truth_for_some_frames(scene: ObjectDataset, run: Run, tmp_path: Path) -> None:
    shift(scene, tmp_path / "maps", 0.25)
    benchmark = tmp_path / "disp_occ_0"
    benchmark.mkdir()
    write_disparity(benchmark / "000001.png", scene.frame("000001").disparity() + 1.25)
    done = run(f"disparity={tmp_path / 'maps'}", f"data={scene.root}", f"truth={benchmark}")
    assert done.status == 0, done.err
    everywhere = next(line.split() for line in done.out.splitlines() if "0-max" in line)
    assert everywhere[:4] == ["all", "pixels", "0-max", "1.000"] and everywhere[-1] == str(40 * 72)
    assert "1 frames" in done.out
    done = run(f"disparity={tmp_path / 'maps'}", f"data={scene.root}", f"truth={tmp_path / 'nowhere'}")
    assert done.status == 2 and "no frames" in done.err


def line_depth(scene: ObjectDataset) -> str:
    """The mean depth error of the cars of frames 1 and 3, at 7 and 9 px, when they are found 0.25 px too near."""
    return f"{np.mean([90 / px - 90 / (px + 0.25) for px in (7, 9)]):.3f}"


def test_a_benchmark_without_labels(run: Run, tmp_path: Path) -> None:
    """KITTI 2015: `all` rows alone; D1 as it ranks by."""
    root = write_benchmark(tmp_path / "kitti", 2015, 3)
    pairs = KittiStereoPairs(root, 2015, "all")
    predict_disparities(SemiGlobalMatching(16), pairs, tmp_path / "maps", "sgm")
    found = (root / "training" / "image_2" / "000002_10.png", root / "training" / "image_3" / "000002_10.png")
    expected = SemiGlobalMatching(16).predict(*(read_image(path) for path in found))
    np.testing.assert_array_equal(read_disparity(tmp_path / "maps" / "000002_10.npy"), expected)
    wrong = 0
    for frame in range(3):
        # Right but for the upper half of the rows, which is 10 px off.
        disparity = disparity_of(frame)
        predicted = disparity + np.where(np.arange(20)[:, None] < 12, np.float32(10), np.float32(0))
        write_disparity(tmp_path / "maps" / f"{frame:06d}_10.npy", predicted)
        wrong += int((disparity[:12] > 0).sum())
    done = run(f"disparity={tmp_path / 'maps'}", "pairs=kitti_2015", f"data={root}", "split=all")
    assert done.status == 0, done.err
    rows = [line.split() for line in done.out.splitlines()]
    total = 3 * 12 * 48
    overall = next(row for row in rows if row[:3] == ["all", "pixels", "0-max"])
    assert overall[3] == f"{10 * wrong / total:.3f}"
    assert overall[5:] == [f"{100 * wrong / total:.3f}", str(total)]
    assert not any(row[:1] in (["cars"], ["pedestrians"]) for row in rows)
    bare = KittiStereoPairs(write_benchmark(tmp_path / "bare", 2015, 1, calibrated=False), 2015, "all")
    with pytest.raises(FormatError, match=r"000000_10\.png: camera constant: found no record"):
        disparity_metrics(tmp_path / "maps", bare)


def test_one_map_against_a_lidar_sweep(scene: ObjectDataset, run: Run, tmp_path: Path) -> None:
    frame = scene[0]
    write_disparity(tmp_path / "map.npy", np.full((40, 72), 3.5, np.float32))
    given = (f"disparity={tmp_path / 'map.npy'}", f"calib={frame.path('calib')}", f"velodyne={frame.path('velodyne')}")
    done = run(*given)
    assert done.status == 0, done.err
    # Points at 30 m (3 px) and at 15 m (6 px).
    lines = [line.split() for line in done.out.splitlines()]
    assert next(line for line in lines if line[:1] == ["20-40"])[1] == "0.500"
    assert next(line for line in lines if line[:1] == ["0-20"])[1] == "2.500"
    frame.path("velodyne").write_bytes(np.array([[-5.0, 0, 0, 1]], np.float32).tobytes())
    done = run(*given)
    assert done.status == 2
    assert "nothing in the image" in done.err and len(done.err.splitlines()) == 1


def test_without_labels_only_the_rows_of_all_pixels_are_left(scene: ObjectDataset, tmp_path: Path) -> None:
    shift(scene, tmp_path / "maps", 4)
    shutil.rmtree(scene.folder / "label_2")
    table = disparity_table(disparity_metrics(tmp_path / "maps", scene), "maps")
    assert [row.cells[0] for row in table.rows] == ["all pixels", "", "", ""]
    assert table.rows[0].cells[4] == 100.0, "4 px are more than 3 px and 5 %"


def test_ranges_without_a_pixel_have_a_dash() -> None:
    truth = np.full((4, 6), 3, np.float32)
    metrics = map_metrics(truth, truth, 90, "000000")
    lines = str(table_text(disparity_table(metrics, "nothing"))).splitlines()
    assert next(line.split() for line in lines if "40-max" in line) == ["40-max", "–", "–", "–", "0"]
