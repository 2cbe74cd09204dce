"""LiDAR disparity: on a real sweep, against a loop over points, and its bad input."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pseudolidar.kitti import CANONICAL_VELO_TO_CAM, Calibration, read_image, read_points
from pseudolidar.stereo import lidar_disparity
from pseudolidar.stereo.lidar_projection import lidar_projection
from pseudolidar.stereo.targets import by_torch

P2 = np.array([[240.0, 0, 208, 15], [0, 240, 58, 0.1], [0, 0, 1, 0.003]])
P3 = np.array([[240.0, 0, 208, -113], [0, 240, 58, 0.1], [0, 0, 1, 0.003]])
CALIBRATION = Calibration(P2, P3, np.eye(3), CANONICAL_VELO_TO_CAM)
SIZE = (40, 60)
CONSTANT = 240 * (15 + 113) / 240


def by_loop(points: NDArray[np.float64], overlap: str) -> NDArray[np.float64]:
    target = np.zeros(SIZE)
    for x, y, z in points:
        if x <= 2:
            continue
        # With the canonical axes the rectified camera frame is (-y, -z, x).
        u, v, w = P2 @ (-y, -z, x, 1)
        column, row = round(u / w), round(v / w)
        if 0 <= column < SIZE[1] and 0 <= row < SIZE[0]:
            disparity = CONSTANT / x
            if overlap == "last" or disparity > target[row, column]:
                target[row, column] = disparity
    return target


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**20), st.integers(0, 300), st.sampled_from(["nearest", "last"]))
def test_matches_a_loop_over_the_points(seed: int, count: int, overlap: Literal["nearest", "last"]) -> None:
    random = np.random.default_rng(seed)
    # Many of these fall on few pixels around the left upper part of the image, and some beside or behind the camera.
    points = random.uniform((-5, 0, -1), (30, 25, 8), (count, 3))
    target = lidar_disparity(points, CALIBRATION, SIZE, overlap)
    assert target.dtype == np.float32
    np.testing.assert_allclose(target, by_loop(points, overlap), rtol=1e-6)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**20), st.sampled_from(["nearest", "last"]))
def test_backends_agree_on_every_pixel(seed: int, overlap: Literal["nearest", "last"]) -> None:
    # Enough points for several threads, most of them on pixels with others, some at pixel borders.
    points = np.random.default_rng(seed).uniform((-5, -5, -3, 0), (30, 25, 8, 1), (20_000, 4)).astype(np.float32)
    points[:2000] = np.round(points[:2000])
    expected = by_torch(torch.from_numpy(points), lidar_projection(CALIBRATION, SIZE), overlap).numpy()
    threads_before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            np.testing.assert_array_equal(lidar_disparity(points, CALIBRATION, SIZE, overlap), expected)
    finally:
        torch.set_num_threads(threads_before)


def test_arrays_and_tensors_of_any_kind() -> None:
    points = np.random.default_rng(0).uniform((2, 0, -1, 0), (30, 25, 8, 1), (500, 4)).astype(np.float32)
    expected = lidar_disparity(points, CALIBRATION, SIZE)
    assert np.count_nonzero(expected) > 20
    tensor = lidar_disparity(torch.from_numpy(points).requires_grad_(), CALIBRATION, SIZE)
    assert isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor.numpy(), expected)
    np.testing.assert_array_equal(lidar_disparity(np.asfortranarray(points), CALIBRATION, SIZE), expected)
    np.testing.assert_array_equal(lidar_disparity(points[:, :3].astype(np.float64), CALIBRATION, SIZE), expected)
    read_only = points.copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(lidar_disparity(read_only, CALIBRATION, SIZE), expected)


def test_the_nearest_of_two_points_wins_and_the_last_on_request() -> None:
    # On one ray: the same pixel at 10 m and at 20 m (the small fourth columns move it by less than half a pixel).
    near = np.array([10.0, 7.3, 1.6])
    points = np.stack([near, 2 * near])
    assert np.count_nonzero(lidar_disparity(points, CALIBRATION, SIZE)) == 1
    for order in (points, points[::-1]):
        assert lidar_disparity(order, CALIBRATION, SIZE).max() == pytest.approx(CONSTANT / 10)
    assert lidar_disparity(points, CALIBRATION, SIZE, "last").max() == pytest.approx(CONSTANT / 20)


def test_a_real_sweep(kitti_sample: Path) -> None:
    folder = kitti_sample / "stereo_demo"
    calibration = Calibration.from_file(folder / "calib.txt")
    points = read_points(folder / "velodyne.bin")
    height, width = read_image(folder / "left.png").shape[:2]
    nearest = lidar_disparity(points, calibration, (height, width))
    # KITTI's order puts the lower, nearer beams last, so that it takes the reverse for farther points to overwrite.
    last = lidar_disparity(points[::-1], calibration, (height, width), "last")
    assert nearest.shape == (height, width)
    # A 64-beam sweep covers 4 to 6 % of the pixels, all of them below the horizon's upper third.
    assert 0.03 < (nearest > 0).mean() < 0.07
    assert not nearest[: height // 5].any()
    assert np.array_equal(nearest > 0, last > 0)
    assert (nearest >= last).all()
    assert (nearest > last).any()
    depth_m = calibration.camera_constant_px_m / nearest[nearest > 0]
    assert depth_m.min() > 2 and depth_m.max() < 125


def test_a_real_sweep_agrees_with_the_stereo_pair(kitti_sample: Path) -> None:
    """The right image, sampled at the LiDAR's disparity, looks like the left one: axes, baseline and sign are right."""
    folder = kitti_sample / "stereo_demo"
    left, right = (read_image(folder / name).astype(np.float64).mean(axis=2) for name in ("left.png", "right.png"))
    target = lidar_disparity(
        read_points(folder / "velodyne.bin"), Calibration.from_file(folder / "calib.txt"), left.shape
    )
    row, column = np.nonzero(target > 0)

    def difference(shift: NDArray[np.float64]) -> float:
        source = np.rint(column - shift).astype(int)
        seen = (source >= 0) & (source < left.shape[1])
        return float(np.mean(np.abs(left[row[seen], column[seen]] - right[row[seen], source[seen]])))

    disparity = target[row, column].astype(np.float64)
    best = difference(disparity)
    for offset in (-6.0, -3.0, -1.0, 1.0, 3.0, 6.0):
        assert best < 0.97 * difference(disparity + offset)
    assert best < 0.7 * difference(disparity - 6)


def test_points_behind_and_nobody() -> None:
    assert not lidar_disparity(np.zeros((0, 4), np.float32), CALIBRATION, SIZE).any()
    assert not lidar_disparity(np.array([[-10.0, 7.3, 1.6], [2.0, 1.4, 0.3]]), CALIBRATION, SIZE).any()


def test_bad_points() -> None:
    with pytest.raises(ValueError, match="shape"):
        lidar_disparity(np.zeros((5, 2)), CALIBRATION, SIZE)
    with pytest.raises(ValueError, match="row 1"):
        lidar_disparity(np.array([[5.0, 0, 0], [np.nan, 0, 0]]), CALIBRATION, SIZE)
    with pytest.raises(ValueError, match="overlap"):
        lidar_disparity(np.zeros((5, 3)), CALIBRATION, SIZE, "first")  # type: ignore[call-overload]
