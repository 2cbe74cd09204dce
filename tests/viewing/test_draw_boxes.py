"""Boxes land where the calibration says, and nothing is drawn that the camera does not see."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from pseudolidar.kitti import CANONICAL_VELO_TO_CAM, Calibration, ObjectDataset, box3d_corners
from pseudolidar.viewing.boxes import FRONT_TINT, clip_polygon, clip_segments, draw_boxes3d, enlarge, visible_edges
from pseudolidar.viewing.colours import TRUTH, rgb255
from pseudolidar.viewing.frame import boxes_on_image
from tests.viewing.conftest import IMAGE_SIZE, make_objects

BLACK = np.zeros((*IMAGE_SIZE, 3), np.uint8)


def test_edges_end_at_the_projected_corners(calibration: Calibration) -> None:
    box = np.array([1.0, 1.6, 15.0, 1.5, 1.6, 3.9, 0.4])
    corners, _ = calibration.rect_to_image(box3d_corners(box)[0])
    ends = visible_edges(box, calibration, IMAGE_SIZE).reshape(-1, 2)
    assert len(ends) == 24
    distance = np.linalg.norm(ends[:, None] - corners[None], axis=2)
    assert distance.min(axis=1).max() < 1e-9
    # Three edges meet in each corner.
    assert np.bincount(distance.argmin(axis=1)).tolist() == [3] * 8


def test_drawn_pixels_lie_at_the_corners_and_within_their_bounds(calibration: Calibration) -> None:
    objects = make_objects([[1.0, 1.6, 15.0, 1.5, 1.6, 3.9, 0.4]])
    drawn = draw_boxes3d(BLACK, objects, calibration)
    corners, _ = calibration.rect_to_image(box3d_corners(objects.box3d)[0])
    rows, columns = np.nonzero(drawn.any(axis=2))
    assert abs(columns.min() - corners[:, 0].min()) <= 1.5 and abs(columns.max() - corners[:, 0].max()) <= 1.5
    assert abs(rows.min() - corners[:, 1].min()) <= 1.5 and abs(rows.max() - corners[:, 1].max()) <= 1.5
    for column, row in np.rint(corners).astype(int):
        assert drawn[row - 1 : row + 2, column - 1 : column + 2].max() > 150
    assert not BLACK.any(), "the given image is left as it is"


def test_the_front_face_is_tinted_and_the_back_is_not(calibration: Calibration) -> None:
    # Heading to the right in the image (ry = 0: along the camera's x): the front is the right end.
    objects = make_objects([[0.0, 1.6, 10.0, 1.5, 3.0, 4.0, 0.0]])
    drawn = draw_boxes3d(BLACK, objects, calibration)
    corners = box3d_corners(objects.box3d)[0]
    (front, back), _ = calibration.rect_to_image(
        np.stack([corners[[0, 1, 4, 5]].mean(0), corners[[2, 3, 6, 7]].mean(0)])
    )
    tint = drawn[round(front[1]), round(front[0])]
    np.testing.assert_allclose(tint, FRONT_TINT * np.array(rgb255(TRUTH)), atol=2)
    assert not drawn[round(back[1]), round(back[0])].any()


@pytest.mark.parametrize(
    "box",
    [
        [0.0, 1.6, -10.0, 1.5, 1.6, 4.0, 0.3],  # behind the camera
        [60.0, 1.6, 10.0, 1.5, 1.6, 4.0, 0.3],  # far to the right
        [0.0, -40.0, 10.0, 1.5, 1.6, 4.0, 0.3],  # far above
        [-1000.0, -1000.0, -1000.0, -1.0, -1.0, -1.0, -10.0],  # a DontCare region's
    ],
)
def test_unseen_boxes_draw_nothing(calibration: Calibration, box: list[float]) -> None:
    assert not draw_boxes3d(BLACK, make_objects([box]), calibration).any()


def test_a_box_around_the_image_plane_is_cut_there(calibration: Calibration) -> None:
    # From 2 m behind the camera to 6 m before it, on the left.
    box = [-2.5, 1.6, 2.0, 1.5, 1.6, 8.0, np.pi / 2]
    edges = visible_edges(np.array(box), calibration, IMAGE_SIZE)
    assert len(edges) > 0
    # The right half of the image stays empty: nothing is mirrored through the camera.
    drawn = draw_boxes3d(BLACK, make_objects([box]), calibration)
    assert drawn[:, :200].any() and not drawn[:, 210:].any()


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.floats(-30, 30)] * 3), st.tuples(*[st.floats(0.1, 12)] * 3), st.floats(-4, 4))
def test_clipped_edges_lie_in_the_image_and_on_the_edge(
    place: tuple[float, float, float], size: tuple[float, float, float], ry: float
) -> None:
    P2 = np.array([[241.6, 0, 203.9, 15.0], [0, 241.6, 59.0, 0.1], [0, 0, 1, 0.003]])
    P3 = P2 - np.eye(3, 4, 3) * 128
    camera = Calibration(P2, P3, np.eye(3), CANONICAL_VELO_TO_CAM)
    segments = visible_edges(np.array([*place, *size, ry]), camera, IMAGE_SIZE)
    assert np.isfinite(segments).all()
    ends = segments.reshape(-1, 2)
    assert (ends >= -0.5 - 1e-6).all() and (ends <= np.array([415.5, 127.5]) + 1e-6).all()


def test_clipping_leaves_the_inside_and_cuts_the_rest() -> None:
    starts = np.array([[10.0, 10, 1], [-50, 20, 1], [-50, 20, 1], [10, 10, 1]])
    ends = np.array([[40.0, 20, 1], [50, 20, 1], [-10, 20, 1], [10, 10, -1.0]])
    cut = clip_segments(starts, ends, (100, 200))
    np.testing.assert_allclose(cut[0], np.array([[10, 10], [40, 20]]))
    np.testing.assert_allclose(cut[1], np.array([[-0.5, 20], [50, 20]]))
    assert len(cut) == 3, "the third lies outside, the fourth runs behind the camera and is cut"
    square = np.array([[-20.0, -20, 1], [20, -20, 1], [20, 20, 1], [-20, 20, 1]])
    clipped = clip_polygon(square, (100, 200))
    assert sorted(map(tuple, clipped.tolist())) == [(-0.5, -0.5), (-0.5, 20.0), (20.0, -0.5), (20.0, 20.0)]


def test_enlarging_keeps_points_on_their_spot(calibration: Calibration) -> None:
    image = np.zeros((*IMAGE_SIZE, 3), np.uint8)
    point = np.array([[1.3, 0.7, 9.0]])
    (pixel,), _ = calibration.rect_to_image(point)
    large, scaled = enlarge(image, calibration, 1200)
    (moved,), _ = scaled.rect_to_image(point)
    assert large.shape == (3 * 128, 3 * 416, 3)
    np.testing.assert_allclose((moved + 0.5) / 3, pixel + 0.5)


def test_a_real_label_surrounds_its_2d_box(kitti_sample: object) -> None:
    frame = ObjectDataset(str(kitti_sample) + "/object").frame("000002")
    car = frame.objects()
    car = car[np.flatnonzero(car.class_name == "Car")]
    image = np.zeros_like(frame.left_image())
    rows, columns = np.nonzero(draw_boxes3d(image, car, frame.calibration).any(axis=2))
    drawn = np.array([columns.min(), rows.min(), columns.max(), rows.max()])
    # The label's 2D box was drawn by hand; the 3D box's outline is within a few pixels of it.
    assert np.abs(drawn - car.box2d[0]).max() < 5
    assert boxes_on_image(image, car, None, frame.calibration).shape == image.shape
