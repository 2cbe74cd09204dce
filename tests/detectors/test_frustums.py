"""Frusta: the turn to the frustum's frame, points in a 3D box, sampling."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.detectors.frustum_pointnet.frustums import (
    extract_frusta,
    frustum_angle,
    sample_indices,
    to_frustum_frame,
)
from pseudolidar.kitti import ObjectDataset, box3d_corners
from pseudolidar.ops import points_in_box
from tests.detectors.street_of_boxes import make_calibration


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
    np.testing.assert_allclose(to_frustum_frame(turned, -angle), centre, atol=1e-5)


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
    assert (points_in_box(points, box3d) == inside).mean() >= 0.995  # points on a face may fall either way


def test_real_objects_hold_their_points(kitti_sample: Path) -> None:
    dataset = ObjectDataset(kitti_sample / "object", None)
    frame = dataset.frame("000000")
    labels = frame.objects()
    everywhere = np.array([[-1e4, -1e4, 1e4, 1e4]])
    cloud = extract_frusta(frame.velodyne(), frame.calibration, everywhere)[0]
    inside = points_in_box(cloud.points, labels.box3d[0])  # a pedestrian at 8.4 m
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
