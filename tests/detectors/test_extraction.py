"""Extraction of frusta: all boxes of a frame against one point at a time, threads, limits, odd input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pseudolidar.benchmarks.frusta import numpy_frusta
from pseudolidar.detectors.frustum_pointnet.frustums import extract_frusta
from pseudolidar.kitti import Calibration
from tests.detectors.street_of_boxes import make_calibration


def random_cloud(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    return rng.uniform([-10, -20, -2, 0], [40, 20, 2, 1], (count, 4)).astype(np.float32)


def random_boxes(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    corner = rng.uniform([-50, -20], [350, 100], (count, 2))
    return np.concatenate([corner, corner + rng.uniform(5, [200, 100], (count, 2))], axis=1)


def brute_force(points: NDArray[np.float32], calibration: Calibration, box2d: NDArray[np.float64]) -> list[int]:
    inside = []
    for i, point in enumerate(points[:, :3].astype(np.float64)):
        rectified = calibration.R0_rect @ (calibration.Tr_velo_to_cam @ [*point, 1.0])
        u, v, w = calibration.P2 @ [*rectified, 1.0]
        in_box = box2d[0] <= u / w < box2d[2] and box2d[1] <= v / w < box2d[3]
        if point[0] > 2 and rectified[2] > 0 and in_box:
            inside.append(i)
    return inside


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**31), st.integers(1, 4))
def test_extraction_against_brute_force(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    calibration = make_calibration()
    # More than one block of points, and no whole number of them.
    points, boxes = random_cloud(rng, 600), random_boxes(rng, count)
    clouds = extract_frusta(points, calibration, boxes)
    assert len(clouds) == count
    for cloud, box2d in zip(clouds, boxes, strict=True):
        expected = points[brute_force(points, calibration, box2d)]
        rectified = calibration.velodyne_to_rect(expected)
        np.testing.assert_allclose(cloud.points[:, :3], rectified, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(cloud.points[:, 3], expected[:, 3])
        np.testing.assert_allclose(cloud.pixels, calibration.rect_to_image(rectified)[0], rtol=1e-6)


def test_threads_and_numpy_give_the_same_bytes() -> None:
    rng = np.random.default_rng(0)
    calibration, points = make_calibration(), random_cloud(rng, 200_000)
    boxes = random_boxes(rng, 6)
    alone, together = (extract_frusta(points, calibration, boxes, threads=threads) for threads in (1, 4))
    for one, other, box2d in zip(alone, together, boxes, strict=True):
        expected = numpy_frusta(points, calibration, box2d)
        assert len(one) > 10
        assert one.points.tobytes() == other.points.tobytes() == expected.points.tobytes()
        assert one.pixels.tobytes() == other.pixels.tobytes() == expected.pixels.tobytes()


def test_near_only_clouds_end_before_the_limit() -> None:
    points = np.array([[1.9, 0, 0, 1], [2.1, 0, 0, 1], [19.9, 0, 0, 1], [20.0, 0, 0, 1], [30, 0, 0, 1]], np.float32)
    everywhere = np.array([[-1e4, -1e4, 1e4, 1e4]])
    assert len(extract_frusta(points, make_calibration(), everywhere)[0]) == 4
    near = extract_frusta(points, make_calibration(), everywhere, max_depth=20.0)[0]
    np.testing.assert_allclose(near.points[:, 2], [2.1 - 0.27, 19.9 - 0.27], rtol=1e-6)


def test_a_point_on_the_border_belongs_to_the_box_on_its_right() -> None:
    calibration = make_calibration()
    points = calibration.rect_to_velodyne(calibration.image_to_rect(np.array([[200.0, 60.0]]), np.array([10.0])))
    cloud = np.concatenate([points, [[1.0]]], axis=1).astype(np.float32)
    u, v = calibration.rect_to_image(calibration.velodyne_to_rect(cloud))[0][0]
    boxes = np.array([[u, v, u + 5, v + 5], [u - 5, v - 5, u, v + 5], [u - 5, v - 5, u + 5, v]])
    assert [len(found) for found in extract_frusta(cloud, calibration, boxes)] == [1, 0, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_lies_in_no_box(value: float) -> None:
    points = np.array([[10, 0, 0, 1], [10, value, 0, 1], [value, 0, 0, 1], [10, 0, value, 1]], np.float32)
    boxes = np.array([[-1e4, -1e4, 1e4, 1e4], [value, 0, 400, 100]])
    assert len(extract_frusta(points, make_calibration(), boxes)[0]) == 1


def test_nothing_in_gives_nothing_out() -> None:
    calibration = make_calibration()
    assert extract_frusta(np.ones((5, 4), np.float32), calibration, np.zeros((0, 4))) == []
    clouds = extract_frusta(np.zeros((0, 4), np.float32), calibration, np.array([[0.0, 0, 400, 100]]))
    assert [cloud.points.shape for cloud in clouds] == [(0, 4)]
