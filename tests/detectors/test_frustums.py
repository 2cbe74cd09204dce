"""Frusta: extraction against brute force, the turn to the frustum's frame, points in a 3D box, sampling."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.detectors.frustum_pointnet.frustums import (
    from_frustum_frame,
    frustum_angle,
    points_in_box3d,
    project_cloud,
    sample_indices,
    to_frustum_frame,
)
from pseudolidar.kitti import Calibration, ObjectDataset, box3d_corners
from tests.detectors.street_of_boxes import make_calibration


def brute_force(points: np.ndarray, calibration: Calibration, box2d: np.ndarray) -> list[int]:
    inside = []
    for i, point in enumerate(points[:, :3].astype(np.float64)):
        rectified = calibration.R0_rect @ (calibration.Tr_velo_to_cam @ [*point, 1.0])
        u, v, w = calibration.P2 @ [*rectified, 1.0]
        in_box = box2d[0] <= u / w < box2d[2] and box2d[1] <= v / w < box2d[3]
        if point[0] > 2 and rectified[2] > 0 and in_box:
            inside.append(i)
    return inside


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31))
def test_extraction_against_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    calibration = make_calibration()
    points = rng.uniform([-10, -20, -2, 0], [40, 20, 2, 1], (400, 4)).astype(np.float32)
    left, top = rng.uniform(-50, 350), rng.uniform(-20, 100)
    box2d = np.array([left, top, left + rng.uniform(5, 200), top + rng.uniform(5, 100)])
    cloud = project_cloud(points, calibration)
    found = cloud[cloud.in_box(box2d)].points
    expected = points[brute_force(points, calibration, box2d)]
    np.testing.assert_allclose(found[:, :3], calibration.velodyne_to_rect(expected), atol=1e-4)
    np.testing.assert_array_equal(found[:, 3], expected[:, 3])


def test_near_only_clouds_end_before_the_limit() -> None:
    points = np.array([[1.9, 0, 0, 1], [2.1, 0, 0, 1], [19.9, 0, 0, 1], [20.0, 0, 0, 1], [30, 0, 0, 1]], np.float32)
    assert len(project_cloud(points, make_calibration())) == 4
    assert len(project_cloud(points, make_calibration(), max_depth=20.0)) == 2


def test_the_box_centre_ray_becomes_the_z_axis() -> None:
    calibration = make_calibration()
    box2d = np.array([300.0, 40.0, 340.0, 80.0])
    angle = frustum_angle(box2d, calibration)
    assert angle > 0.2
    centre = calibration.image_to_rect(np.array([[320.0, 60.0]]), np.array([20.0])).astype(np.float32)
    turned = to_frustum_frame(centre, angle)
    assert turned[0, 0] == pytest.approx(0, abs=1e-5)
    assert turned[0, 2] == pytest.approx(np.hypot(centre[0, 0], 20), rel=1e-6)
    assert turned[0, 1] == centre[0, 1]
    np.testing.assert_allclose(from_frustum_frame(turned, angle), centre, atol=1e-5)


def test_headings_turn_with_the_frustum() -> None:
    box3d = np.array([4.0, 1.6, 18.0, 1.5, 1.6, 4.0, 0.7])
    angle = 0.25
    corners = box3d_corners(box3d[None])[0].astype(np.float32)
    turned = box3d.copy()
    turned[:3] = to_frustum_frame(box3d[None, :3].astype(np.float32), angle)[0]
    turned[6] -= angle
    np.testing.assert_allclose(to_frustum_frame(corners, angle), box3d_corners(turned[None])[0], atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31))
def test_points_in_a_box_against_its_faces(seed: int) -> None:
    rng = np.random.default_rng(seed)
    box3d = np.array([*rng.uniform(-5, 5, 3), *rng.uniform(1, 4, 3), rng.uniform(-7, 7)])
    points = (box3d[:3] + rng.uniform(-3, 3, (200, 3))).astype(np.float32)
    corners = box3d_corners(box3d[None])[0]
    inside = np.ones(len(points), dtype=bool)
    # Along each of the three edges from corner 0, the projection lies between the edge's ends.
    for neighbour in (1, 3, 4):
        edge = corners[neighbour] - corners[0]
        along = (points - corners[0]) @ edge / (edge @ edge)
        inside &= (along >= 0) & (along <= 1)
    assert (points_in_box3d(points, box3d) == inside).mean() >= 0.995  # points on a face may fall either way


def test_real_objects_hold_their_points(kitti_sample: Path) -> None:
    dataset = ObjectDataset(kitti_sample / "object", None)
    frame = dataset.frame("000000")
    labels = frame.objects()
    cloud = project_cloud(frame.velodyne(), frame.calibration)
    inside = points_in_box3d(cloud.points, labels.box3d[0])  # a pedestrian at 8.4 m
    assert inside.sum() > 300
    in_box2d = np.isin(np.flatnonzero(inside), cloud.in_box(labels.box2d[0]))
    assert in_box2d.mean() > 0.95


@pytest.mark.parametrize(("count", "wanted"), [(10, 10), (10, 4), (3, 8), (1, 5)])
def test_sampling_uses_every_point_before_any_twice(count: int, wanted: int) -> None:
    index = sample_indices(count, wanted, np.random.default_rng(0))
    assert len(index) == wanted
    assert len(set(index.tolist())) == min(count, wanted)
    assert 0 <= index.min() <= index.max() < count
    np.testing.assert_array_equal(index, sample_indices(count, wanted, np.random.default_rng(0)))
