"""Disparity maps to points: geometry, edge rules, options, kinds of input, and the way there and back on real data."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pseudolidar.cloud import LIDAR_GRID, disparity_to_points
from pseudolidar.kitti import CANONICAL_VELO_TO_CAM, Calibration, read_image, read_points
from pseudolidar.stereo import lidar_disparity
from tests.cloud.frames import make_calibration, ragged_disparity


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), focal=st.floats(100, 1500), offset=st.floats(-60, 60), baseline=st.floats(0.05, 2))
def test_points_project_to_their_pixel_and_disparity(seed: int, focal: float, offset: float, baseline: float) -> None:
    calibration = make_calibration(focal, offset, baseline)
    rng = np.random.default_rng(seed)
    # Depths of 1 to 80 m; nothing is cut off, so that every valid pixel has its point.
    disparity = (calibration.camera_constant_px_m / rng.uniform(1, 80, (24, 64))).astype(np.float32)
    disparity[rng.random(disparity.shape) < 0.3] = 0
    points = disparity_to_points(disparity, calibration, max_height=None)
    rows, columns = np.nonzero(disparity)
    pixels, depth = calibration.rect_to_image(calibration.velodyne_to_rect(points))
    np.testing.assert_allclose(pixels, np.stack([columns, rows], axis=1), atol=5e-3)
    np.testing.assert_allclose(calibration.camera_constant_px_m / depth, disparity[rows, columns], rtol=1e-5)
    assert points.dtype == np.float32
    assert (points[:, 3] == 1).all()


def test_points_are_the_calibrations_own_to_the_last_bit_of_float32() -> None:
    calibration = make_calibration()
    disparity = np.geomspace(1e-3, 100, 24 * 64).astype(np.float32).reshape(24, 64)  # up to 130 km away
    points = disparity_to_points(disparity, calibration, max_height=None)
    v, u = np.indices(disparity.shape).reshape(2, -1)
    depth = calibration.camera_constant_px_m / disparity.ravel().astype(np.float64)
    expected = calibration.rect_to_velodyne(calibration.image_to_rect(np.stack([u, v], axis=1), depth))
    np.testing.assert_array_max_ulp(points[:, :3], expected.astype(np.float32), maxulp=1)


def test_disparities_that_are_no_disparity_yield_no_point() -> None:
    calibration = make_calibration()
    disparity = np.array([[0, -0.0, -3, np.nan], [np.inf, -np.inf, 1e-45, 10]], dtype=np.float32)
    points = disparity_to_points(disparity, calibration, max_height=None)
    assert points.shape == (1, 4)
    expected = calibration.rect_to_velodyne(
        calibration.image_to_rect(np.array([[3, 1]]), np.array([calibration.camera_constant_px_m / 10]))
    )
    np.testing.assert_allclose(points[:, :3], expected, atol=1e-5)
    assert disparity_to_points(np.zeros((5, 6), dtype=np.float32), calibration).shape == (0, 4)
    for empty in ((0, 6), (5, 0)):
        assert disparity_to_points(np.zeros(empty, dtype=np.float32), calibration).shape == (0, 4)
        assert disparity_to_points(np.zeros(empty, dtype=np.float32), calibration, grid=LIDAR_GRID).shape == (0, 4)


def test_a_point_at_exactly_the_limit_is_dropped() -> None:
    # Camera and sensor share their origin and axes, and C is 64: powers of two, so that every number here is exact.
    P2 = np.array([[64.0, 0, 0, 0], [0, 64.0, 3, 0], [0, 0, 1, 0]])
    P3 = P2 - np.array([[0, 0, 0, 64.0], [0, 0, 0, 0], [0, 0, 0, 0]])
    calibration = Calibration(P2, P3, np.eye(3), CANONICAL_VELO_TO_CAM)
    disparity = np.full((7, 1), 2, np.float32)  # 32 m away, heights 1.5, 1, 0.5, 0, ...
    assert disparity_to_points(disparity, calibration, max_height=None)[:, 2].tolist() == [
        1.5,
        1,
        0.5,
        0,
        -0.5,
        -1,
        -1.5,
    ]
    assert disparity_to_points(disparity, calibration, max_height=1.0)[:, 2].max() == 0.5
    assert len(disparity_to_points(disparity, calibration, max_height=np.nextafter(1.0, 2))) == 6
    assert len(disparity_to_points(disparity, calibration, max_height=None, max_depth=32.0)) == 0
    assert len(disparity_to_points(disparity, calibration, max_height=None, max_depth=32.001)) == 7


@pytest.mark.parametrize("limit", [0.7, 0.3, 1.0])
def test_limits_hold_in_float64_and_in_the_rounded_points(limit: float) -> None:
    # Heights next to a limit that float32 does not hold: the one below it stays, and is not rounded onto it.
    heights = np.array([limit - 1e-12, limit, limit + 1e-12])
    P2 = np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1, 0]])
    P3 = P2 - np.array([[0, 0, 0, 1.0], [0, 0, 0, 0], [0, 0, 0, 0]])
    kept = []
    for height in heights:
        Tr_velo_to_cam = CANONICAL_VELO_TO_CAM.copy()
        Tr_velo_to_cam[1, 3] = height
        calibration = Calibration(P2, P3, np.eye(3), Tr_velo_to_cam)
        points = disparity_to_points(np.ones((1, 1), np.float32), calibration, max_height=limit)
        kept.append(len(points))
        assert (points[:, 2] < limit).all() and (points[:, 2].astype(np.float64) < limit).all()
        np.testing.assert_allclose(points[:, 2], limit, atol=1e-7)
    assert kept == [1, 0, 0]


def test_points_behind_the_velodyne_sensor_are_dropped() -> None:
    calibration = make_calibration()
    Tr_velo_to_cam = calibration.Tr_velo_to_cam.copy()
    Tr_velo_to_cam[2, 3] = 5.0  # the sensor stands 5 m in front of the camera
    ahead = Calibration(calibration.P2, calibration.P3, calibration.R0_rect, Tr_velo_to_cam)
    disparity = calibration.camera_constant_px_m / np.array([[4.9, 5.1]])
    points = disparity_to_points(disparity.astype(np.float32), ahead, max_height=None)
    assert len(points) == 1
    assert points[0, 0] == pytest.approx(0.1, abs=1e-3)


def test_baseline_scales_depths() -> None:
    calibration = make_calibration(baseline=0.5)
    disparity = np.full((2, 3), 4, dtype=np.float32)
    own = calibration.velodyne_to_rect(disparity_to_points(disparity, calibration, max_height=None))
    given_baseline = calibration.velodyne_to_rect(
        disparity_to_points(disparity, calibration, max_height=None, baseline=0.54)
    )
    np.testing.assert_allclose(given_baseline[:, 2] / own[:, 2], 0.54 / 0.5, rtol=1e-6)


def test_quantization_cuts_off() -> None:
    calibration = make_calibration()
    disparity = np.array([[0.9, 1.0, 1.49, 2.51, 30.26, 0.26]], np.float32)
    cut = np.array([[0.75, 1.0, 1.25, 2.5, 30.25, 0.25]], np.float32)
    expected = disparity_to_points(cut, calibration, None)
    np.testing.assert_array_equal(disparity_to_points(disparity, calibration, None, quantization=0.25), expected)
    # What is cut off to 0 has no disparity any more.
    assert len(disparity_to_points(disparity, calibration, None, quantization=1.0)) == 4


def test_intensity_is_the_fourth_column() -> None:
    disparity = ragged_disparity(0, 12, 20)
    plain = disparity_to_points(disparity, make_calibration())
    grey = disparity_to_points(disparity, make_calibration(), intensity=0.25)
    assert (grey[:, 3] == 0.25).all()
    np.testing.assert_array_equal(grey[:, :3], plain[:, :3])


@pytest.mark.parametrize("grid", [None, LIDAR_GRID])
def test_tensors_types_and_strides(grid: None) -> None:
    calibration, disparity = make_calibration(), ragged_disparity(1, 20, 30)
    expected = disparity_to_points(disparity, calibration, grid=grid)
    assert len(expected) > 30
    tensor = disparity_to_points(torch.from_numpy(disparity).requires_grad_(), calibration, grid=grid)
    assert isinstance(tensor, torch.Tensor) and not tensor.requires_grad
    np.testing.assert_array_equal(tensor.numpy(), expected)
    read_only = disparity.copy()
    read_only.flags.writeable = False
    wide = np.zeros((40, 60), np.float32)
    wide[::2, ::2] = disparity
    others: list[NDArray[np.floating]] = [read_only, disparity.astype(np.float64), wide[::2, ::2]]
    others += [np.asfortranarray(disparity), disparity[::-1, ::-1].copy()[::-1, ::-1], disparity.astype(">f4")]
    for other in others:
        np.testing.assert_array_equal(disparity_to_points(other, calibration, grid=grid), expected)
    half = disparity.astype(np.float16)
    expected = disparity_to_points(half.astype(np.float32), calibration, grid=grid)
    np.testing.assert_array_equal(disparity_to_points(half, calibration, grid=grid), expected)
    transposed = torch.from_numpy(half).bfloat16().t().contiguous().t()
    expected = disparity_to_points(transposed.float().numpy(), calibration, grid=grid)
    np.testing.assert_array_equal(disparity_to_points(transposed, calibration, grid=grid).numpy(), expected)


def test_a_batch_is_a_list_of_clouds() -> None:
    maps = np.stack([ragged_disparity(seed, 12, 20) for seed in range(3)])
    calibrations = [make_calibration(focal) for focal in (200, 240, 300)]
    clouds = disparity_to_points(maps, calibrations, max_depth=30.0)
    assert len(clouds) == 3
    for cloud, one_map, calibration in zip(clouds, maps, calibrations, strict=True):
        np.testing.assert_array_equal(cloud, disparity_to_points(one_map, calibration, max_depth=30.0))
    same_camera = disparity_to_points(torch.from_numpy(maps), calibrations[0])
    assert [len(cloud) for cloud in same_camera] == [len(disparity_to_points(m, calibrations[0])) for m in maps]
    with pytest.raises(ValueError, match="found 2"):
        disparity_to_points(maps, calibrations[:2])
    with pytest.raises(ValueError, match="one Calibration"):
        disparity_to_points(maps[0], calibrations[:1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("baseline", 0.0),
        ("baseline", 540.0),
        ("baseline", 0.00054),
        ("max_depth", -1.0),
        ("quantization", 0.0),
        ("max_height", float("nan")),
    ],
)
def test_lengths_must_make_sense(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        disparity_to_points(np.ones((2, 2), dtype=np.float32), make_calibration(), **{name: value})  # type: ignore[call-overload]


def test_a_disparity_must_be_a_map_in_px() -> None:
    with pytest.raises(ValueError, match=r"\(2, 2, 1, 1\)"):
        disparity_to_points(np.ones((2, 2, 1, 1), dtype=np.float32), make_calibration())
    for whole in (np.ones((2, 2), np.uint16), torch.ones((2, 2), dtype=torch.int16)):
        with pytest.raises(ValueError, match="16-bit maps"):
            disparity_to_points(whole, make_calibration())  # type: ignore[arg-type]


def published_cloud(disparity: NDArray[np.floating], calib: Path, max_height: float) -> NDArray[np.float32]:
    """The published generator's steps (Pseudo-LiDAR's generate_lidar.py with kitti_util.py), in float64."""
    rows = (line.split() for line in calib.read_text().splitlines() if line)
    matrices = {key.rstrip(":"): np.array(numbers, dtype=float) for key, *numbers in rows}
    P, R0 = matrices["P2"].reshape(3, 4), matrices["R0_rect"].reshape(3, 3)
    V2C = matrices["Tr_velo_to_cam"].reshape(3, 4)
    C2V = np.hstack([V2C[:, :3].T, -V2C[:, :3].T @ V2C[:, 3:]])
    stored = (disparity * 256).astype(np.uint16) / 256.0
    v, u = np.nonzero(stored > 0)
    depth = P[0, 0] * 0.54 / stored[v, u]
    x = (u - P[0, 2]) * depth / P[0, 0] + P[0, 3] / -P[0, 0]
    y = (v - P[1, 2]) * depth / P[1, 1] + P[1, 3] / -P[1, 1]
    reference = np.linalg.inv(R0) @ np.stack([x, y, depth])
    cloud = (C2V @ np.vstack([reference, np.ones(len(v))])).T
    cloud = cloud[(cloud[:, 0] >= 0) & (cloud[:, 2] < max_height)]
    return np.hstack([cloud, np.ones((len(cloud), 1))]).astype(np.float32)


def test_published_clouds(kitti_sample: Path) -> None:
    calibs = [*sorted((kitti_sample / "object/training/calib").glob("*.txt")), kitti_sample / "stereo_demo/calib.txt"]
    assert len(calibs) == 4
    for seed, calib in enumerate(calibs):
        # Up to 1 km away: farther on, two float32 numbers are more than 1e-3 m apart before long.
        rng = np.random.default_rng(seed)
        disparity = (380 / np.exp(rng.uniform(np.log(2), np.log(1000), (375, 1242)))).astype(np.float32)
        disparity[rng.random(disparity.shape) < 0.1] = 0
        expected = published_cloud(disparity, calib, 1.0)
        calibration = Calibration.from_file(calib)
        points = disparity_to_points(disparity, calibration, 1.0, baseline=0.54, quantization=1 / 256)
        assert len(points) == len(expected) > 100_000
        np.testing.assert_allclose(points, expected, rtol=0, atol=1e-3)


def test_a_real_sweep_lands_on_itself(kitti_sample: Path) -> None:
    demo = kitti_sample / "stereo_demo"
    calibration = Calibration.from_file(demo / "calib.txt")
    sweep = read_points(demo / "velodyne.bin")
    height, width = read_image(demo / "left.png").shape[:2]
    disparity = lidar_disparity(sweep, calibration, (height, width))
    points = disparity_to_points(disparity, calibration, max_height=None)
    assert len(points) > 10_000
    distance, _ = cKDTree(sweep[:, :3]).query(points[:, :3])
    assert np.median(distance) < 0.05
    # Winsorization takes away what is higher than the sensor's own 1 m, and nothing else.
    low = disparity_to_points(disparity, calibration, max_height=1.0)
    np.testing.assert_array_equal(low, points[points[:, 2] < 1.0])
    assert len(low) < len(points)
