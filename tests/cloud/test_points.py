"""Disparity maps to points: geometry, edge rules, options, and the way there and back on a real sweep."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from pseudolidar.cloud import disparity_to_points
from pseudolidar.cloud.points import _points, _rays_in_velodyne
from pseudolidar.kitti import CANONICAL_VELO_TO_CAM, Calibration, read_image, read_points
from pseudolidar.stereo.targets import lidar_disparity


def make_calibration(focal: float = 240.0, offset: float = 15.0, baseline: float = 0.54) -> Calibration:
    P2 = np.array([[focal, 0, 31.5, offset], [0, focal, 10.25, 0.1], [0, 0, 1, 0]])
    P3 = P2.copy()
    P3[0, 3] -= focal * baseline
    angle = 0.02
    R0_rect = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    Tr_velo_to_cam = CANONICAL_VELO_TO_CAM.copy()
    Tr_velo_to_cam[:, 3] = [0.01, -0.08, -0.27]
    return Calibration(P2, P3, R0_rect, Tr_velo_to_cam)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**31),
    focal=st.floats(100, 1500),
    offset=st.floats(-60, 60),
    baseline=st.floats(0.05, 2),
)
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


def test_a_point_at_exactly_the_limit_is_dropped() -> None:
    calibration = make_calibration()
    disparity = np.linspace(4, 8, 48, dtype=np.float32).reshape(6, 8)
    points = disparity_to_points(disparity, calibration, max_height=None)
    height = float(np.sort(points[:, 2])[20])
    np.testing.assert_array_equal(
        disparity_to_points(disparity, calibration, max_height=height), points[points[:, 2] < height]
    )
    depth = float(np.sort(points[:, 0])[30])
    near = disparity_to_points(disparity, calibration, max_height=None, max_depth=depth)
    np.testing.assert_array_equal(near, points[points[:, 0] < depth])
    assert 0 < len(near) < len(points)


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


def test_tensors_give_the_same_points_as_arrays() -> None:
    disparity = np.random.default_rng(0).uniform(0, 30, (20, 30)).astype(np.float32)
    array_points = disparity_to_points(disparity, make_calibration(), max_depth=30.0)
    tensor = disparity_to_points(torch.from_numpy(disparity), make_calibration(), max_depth=30.0)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), array_points)
    doubles = disparity_to_points(torch.from_numpy(disparity).double(), make_calibration(), max_depth=30.0)
    assert doubles.dtype == torch.float32
    # A tensor on another device takes the tensor path; run it here on the CPU.
    calibration = make_calibration()
    rays = _rays_in_velodyne(calibration, *disparity.shape)
    other = _points(torch.from_numpy(disparity), calibration.camera_constant_px_m, rays, 1.0, 30.0)
    np.testing.assert_allclose(other.numpy(), array_points, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "value"), [("baseline", 0.0), ("max_depth", -1.0)])
def test_lengths_must_be_positive(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        disparity_to_points(np.ones((2, 2), dtype=np.float32), make_calibration(), **{name: value})


def test_a_disparity_must_be_a_map() -> None:
    with pytest.raises(ValueError, match=r"\(2, 2, 1\)"):
        disparity_to_points(np.ones((2, 2, 1), dtype=np.float32), make_calibration())


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
