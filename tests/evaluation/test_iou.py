"""Overlaps against shapely, also of identical, touching, contained, empty and far boxes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.evaluation import bbox_iou, bev_iou, iou_3d
from tests.evaluation.official_tool import common_area, footprint

coordinates = st.floats(-3, 3, allow_nan=False)
sizes = st.floats(0.01, 5)
angles = st.floats(-7, 7)
boxes = st.builds(lambda *values: np.array(values), coordinates, coordinates, coordinates, sizes, sizes, sizes, angles)


def expected_bev(a: np.ndarray, b: np.ndarray) -> float:
    common = common_area(footprint(a), footprint(b))
    return common / (a[4] * a[5] + b[4] * b[5] - common)


@settings(deadline=None, max_examples=300)
@given(boxes, boxes)
def test_like_shapely(a: np.ndarray, b: np.ndarray) -> None:
    assert bev_iou(a, b)[0, 0] == pytest.approx(expected_bev(a, b), abs=1e-7)
    height = max(0.0, min(a[1], b[1]) - max(a[1] - a[3], b[1] - b[3]))
    common = common_area(footprint(a), footprint(b)) * height
    volumes = a[3] * a[4] * a[5] + b[3] * b[4] * b[5]
    assert iou_3d(a, b)[0, 0] == pytest.approx(common / (volumes - common), abs=1e-7)
    assert bev_iou(a, b)[0, 0] == pytest.approx(bev_iou(b, a)[0, 0], abs=1e-12)


@settings(deadline=None, max_examples=200)
@given(boxes, st.sampled_from([0.0, 1e4, -3e6]))
def test_identical_boxes_overlap_wholly(a: np.ndarray, far: float) -> None:
    a = a + np.array([far, 0, far, 0, 0, 0, 0])
    assert bev_iou(a, a)[0, 0] == pytest.approx(1.0, abs=1e-12)
    assert iou_3d(a, a)[0, 0] == pytest.approx(1.0, abs=1e-9)
    turned = a + np.array([0, 0, 0, 0, 0, 0, np.pi])
    assert bev_iou(a, turned)[0, 0] == pytest.approx(1.0, abs=1e-9)


@settings(deadline=None, max_examples=100)
@given(boxes, boxes)
def test_far_from_the_origin(a: np.ndarray, b: np.ndarray) -> None:
    # A shift by a power of two loses nothing but the last digits of the coordinates.
    shift = np.array([2.0**20, 0, -(2.0**20), 0, 0, 0, 0])
    assert bev_iou(a + shift, b + shift)[0, 0] == pytest.approx(bev_iou(a, b)[0, 0], abs=1e-7)


@pytest.mark.parametrize("ry", [0.0, 0.3, np.pi / 4, np.pi / 2, -2.0])
def test_touching_and_contained(ry: float) -> None:
    box = np.array([2.0, 1.0, 30.0, 1.5, 2.0, 4.0, ry])
    along, across = np.array([np.cos(ry), -np.sin(ry)]), np.array([np.sin(ry), np.cos(ry)])

    def moved(offset: np.ndarray) -> np.ndarray:
        return box + np.array([offset[0], 0, offset[1], 0, 0, 0, 0])

    for neighbour in (moved(4 * along), moved(2 * across), moved(4 * along + 2 * across)):
        assert bev_iou(box, neighbour)[0, 0] == pytest.approx(0.0, abs=1e-12)
    assert bev_iou(box, moved(2 * along))[0, 0] == pytest.approx(1 / 3, abs=1e-12)
    half = box * np.array([1, 1, 1, 1, 0.5, 0.5, 1])
    assert bev_iou(box, half)[0, 0] == pytest.approx(0.25, abs=1e-12)
    # Shares a corner from inside.
    corner = half + np.array([*(along + 0.5 * across), 0])[[0, 2, 1, 2, 2, 2, 2]]
    assert bev_iou(corner, box)[0, 0] == pytest.approx(0.25, abs=1e-12)
    above = box - np.array([0, 1.5, 0, 0, 0, 0, 0])
    assert iou_3d(box, above)[0, 0] == 0.0
    assert bev_iou(box, above)[0, 0] == pytest.approx(1.0, abs=1e-12)


def test_boxes_without_area_overlap_with_nothing() -> None:
    box = np.array([0.0, 1.0, 10.0, 1.5, 1.6, 3.9, 0.2])
    for flat in ([5], [4], [4, 5], [3, 4, 5]):
        degenerate = box.copy()
        degenerate[flat] = 0.0
        for other in (box, degenerate):
            assert bev_iou(degenerate, other)[0, 0] == 0.0
            assert iou_3d(degenerate, other)[0, 0] == 0.0
    assert bbox_iou([[3, 3, 3, 3]], [[3, 3, 3, 3], [0, 0, 9, 9]]).tolist() == [[0.0, 0.0]]


def test_shapes_and_bad_numbers() -> None:
    assert bev_iou(np.zeros((0, 7)), np.ones((3, 7))).shape == (0, 3)
    assert bbox_iou([[0, 0, 2, 2]], [[1, 0, 3, 2], [0, 0, 2, 2]])[0] == pytest.approx([1 / 3, 1.0])
    with pytest.raises(ValueError, match="NaN"):
        iou_3d(np.full((1, 7), np.nan), np.ones((1, 7)))
