"""Metrics by brute force over pixels, and their bad input."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from pseudolidar.files import FormatError
from pseudolidar.kitti import Calibration, ObjectDataset, Objects, box3d_corners, write_disparity
from pseudolidar.stereo import (
    RANGES_M,
    REGIONS,
    StereoMetrics,
    disparity_metrics,
    frame_metrics,
    map_metrics,
    mean_disparity_of,
)
from pseudolidar.stereo.metrics import FARTHEST_PREDICTION_M, object_pixels, range_name


def write_predictions(scene: ObjectDataset, folder: Path) -> None:
    folder.mkdir()
    random = np.random.default_rng(0)
    for frame in scene:
        noise = random.uniform(-2, 2, (40, 72)).astype(np.float32)
        write_disparity(folder / f"{frame.frame_id}.npy", frame.disparity() * 0.9 + 2 + noise)


def test_every_cell_by_brute_force(scene: ObjectDataset, tmp_path: Path) -> None:
    write_predictions(scene, tmp_path / "predicted")
    metrics = disparity_metrics(tmp_path / "predicted", scene, mean_disparity=4.5)
    sums: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    for frame in scene:
        truth = frame.disparity().astype(float)
        predicted = np.load(tmp_path / "predicted" / f"{frame.frame_id}.npy").astype(float)
        x1, y1, x2, y2 = frame.objects().box2d[0]
        for row in range(40):
            for column in range(72):
                if truth[row, column] == 0:
                    continue
                depth = 90 / truth[row, column]
                error = abs(predicted[row, column] - truth[row, column])
                cell = (
                    error,
                    abs(90 / predicted[row, column] - depth),
                    100.0 * (error > 3 and error / truth[row, column] > 0.05),
                    abs(4.5 - truth[row, column]),
                )
                # In this scene a car's pixels are those of its 2D box that are not the wall's.
                car = x1 <= column <= x2 and y1 <= row <= y2 and truth[row, column] > 3
                for region in ("all", "car") if car else ("all",):
                    for name, near, far in (("0-max", 0, 1e9), ("0-20", 0, 20), ("20-40", 20, 40), ("40-max", 40, 1e9)):
                        if near < depth <= far:
                            sums.setdefault((region, name), []).append(cell)
    table = metrics.to_dict()
    for region in REGIONS:
        for bounds in RANGES_M:
            cell = table[region][range_name(bounds)]
            expected = sums.get((region, range_name(bounds)), [])
            assert cell["pixels"] == len(expected)
            names = ("disparity_mae_px", "depth_mae_m", "d1_percent", "mean_predictor_mae_px")
            if expected:
                assert [cell[name] for name in names] == pytest.approx(np.mean(expected, axis=0), rel=1e-4)
            else:
                assert [cell[name] for name in names] == [None] * 4
    assert table["car"]["0-20"]["pixels"] == 4 * 20 * 24
    assert table["all"]["20-40"]["pixels"] == 4 * (38 * 72 - 20 * 24)
    assert 0 < table["all"]["20-40"]["d1_percent"] < 100


def test_frames_are_kept_apart(scene: ObjectDataset, tmp_path: Path) -> None:
    write_predictions(scene, tmp_path / "predicted")
    whole = disparity_metrics(tmp_path / "predicted", scene)
    (scene.root / "ImageSets" / "one.txt").write_text("000002\n")
    single = disparity_metrics(tmp_path / "predicted", ObjectDataset(scene.root, "one"))
    assert whole.frame_ids == tuple(scene.frame_ids)
    np.testing.assert_array_equal(whole.disparity_error[2], single.disparity_error[0])
    np.testing.assert_array_equal(whole.pixels[2], single.pixels[0])
    assert np.isnan(whole.mean_predictor_mae()).all()
    assert "mean_predictor_mae_px" not in whole.to_dict()["all"]["0-max"]


def test_perfect_predictions_have_no_error(scene: ObjectDataset) -> None:
    metrics = disparity_metrics(scene.folder / "disparity", scene)
    assert metrics.disparity_mae()[0, 0] == 0
    assert metrics.depth_mae()[0, 0] == 0


def test_predictions_near_zero_are_cut_at_the_largest_depth(scene: ObjectDataset, tmp_path: Path) -> None:
    for frame in scene:
        write_disparity(tmp_path / f"{frame.frame_id}.npy", np.zeros((40, 72), np.float32))
    metrics = disparity_metrics(tmp_path, scene)
    assert metrics.depth_mae()[REGIONS.index("all"), 2] == pytest.approx(FARTHEST_PREDICTION_M - 30)
    assert metrics.disparity_mae()[REGIONS.index("all"), 2] == pytest.approx(3)


@pytest.mark.parametrize(
    ("truth_px", "found_px", "outlier"),
    [(20, 23, False), (20, 23.25, True), (20, 16.75, True), (100, 104.5, False), (100, 105, False), (100, 105.5, True)],
)
def test_an_outlier_of_d1_is_wrong_by_3_px_and_by_5_percent(truth_px: float, found_px: float, outlier: bool) -> None:
    truth = np.full((2, 3), truth_px, np.float32)
    truth[0, 0] = 0
    metrics = map_metrics(np.full((2, 3), found_px, np.float32), truth, 90, "000000")
    assert metrics.outliers[0, 0, 0] == (5 if outlier else 0)
    assert metrics.d1()[0, 0] == (100 if outlier else 0)


def test_frames_without_labels_have_all_pixels_and_no_others(scene: ObjectDataset, tmp_path: Path) -> None:
    write_predictions(scene, tmp_path / "predicted")
    labelled = disparity_metrics(tmp_path / "predicted", scene)
    shutil.rmtree(scene.folder / "label_2")
    bare = disparity_metrics(tmp_path / "predicted", scene)
    np.testing.assert_array_equal(bare.disparity_error[:, 0], labelled.disparity_error[:, 0])
    assert labelled.pixels[:, 1:].any() and not bare.pixels[:, 1:].any()


def test_maps_in_memory_are_measured_like_those_of_a_folder(scene: ObjectDataset, tmp_path: Path) -> None:
    write_predictions(scene, tmp_path / "predicted")
    maps = [np.load(tmp_path / "predicted" / f"{name}.npy") for name in scene.frame_ids]
    found = StereoMetrics.of_frames([frame_metrics(each, frame) for each, frame in zip(maps, scene, strict=True)])
    assert found.to_dict() == disparity_metrics(tmp_path / "predicted", scene).to_dict()


def test_maps_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"predicted: found shape \(4, 5\), expected the truth's, \(5, 4\)"):
        map_metrics(np.ones((4, 5)), np.ones((5, 4)), 90, "000000")


def test_mean_disparity(scene: ObjectDataset) -> None:
    cars = 20 * 24
    walls = 38 * 72 - cars
    assert mean_disparity_of(scene) == pytest.approx((4 * walls * 3 + cars * (6 + 7 + 8 + 9)) / (4 * (walls + cars)))


def test_pixels_of_a_turned_box() -> None:
    """Against the box's half spaces, from its corners."""
    calibration = Calibration(
        np.array([[100.0, 0, 50, 4], [0, 100, 30, 0], [0, 0, 1, 0]]),
        np.array([[100.0, 0, 50, -50], [0, 100, 30, 0], [0, 0, 1, 0]]), np.eye(3), np.eye(3, 4),
    )  # fmt: skip
    box = np.array([[0.5, 1.0, 9.0, 1.5, 1.8, 4.0, 0.6]])
    objects = Objects(
        np.array(["Car"]), np.zeros(1), np.zeros(1, np.int64), np.zeros(1), np.array([[10.0, 5, 90, 55]]), box, None
    )
    random = np.random.default_rng(0)
    column, row = random.integers(0, 100, 4000), random.integers(0, 60, 4000)
    depth_m = random.uniform(6, 12, 4000)
    found = object_pixels(objects, "Car", calibration, column, row, depth_m)
    corners = box3d_corners(box)[0]
    points = calibration.image_to_rect(np.stack([column, row], axis=1), depth_m)
    origin = corners[0]
    inside = np.ones(4000, bool)
    for other in (1, 3, 4):
        edge = corners[other] - origin
        share = (points - origin) @ edge / (edge @ edge)
        inside &= (share >= 0) & (share <= 1)
    inside &= (column >= 10) & (column <= 90) & (row >= 5) & (row <= 55)
    assert inside.sum() > 50
    assert np.array_equal(found, inside)
    assert not object_pixels(objects, "Pedestrian", calibration, column, row, depth_m).any()


def test_missing_broken_and_misshapen_predictions_are_named(scene: ObjectDataset, tmp_path: Path) -> None:
    folder = tmp_path / "predicted"
    write_predictions(scene, folder)
    path = folder / "000001.npy"
    path.unlink()
    with pytest.raises(FormatError, match=r"000001\.npy"):
        disparity_metrics(folder, scene)
    np.save(path, np.ones((40, 71), np.float32))
    with pytest.raises(FormatError, match=r"000001\.npy.*71 x 40"):
        disparity_metrics(folder, scene)
    np.save(path, np.full((40, 72), np.nan, np.float32))
    with pytest.raises(FormatError, match=r"000001\.npy.*nan"):
        disparity_metrics(folder, scene)
