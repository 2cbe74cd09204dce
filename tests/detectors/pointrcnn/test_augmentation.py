"""Changed scenes: points stay in their objects, objects put in overlap with nothing and what was there is gone."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pseudolidar.detectors.pointrcnn.augmentation import ObjectDatabase, inside
from pseudolidar.ops import bev_iou
from tests.detectors.pointrcnn.tiny import PUBLISHED

SIZE = (1.5, 1.6, 3.9)
CHANGES = dataclasses.replace(PUBLISHED.augmentation, extra_objects=0)
STILL = dataclasses.replace(CHANGES, rotation_deg=0, scaling=0, flip=False)


def random_boxes(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """(N, 7) cars about a road, that may overlap."""
    place = rng.uniform([-12, 1.5, 5, -np.pi], [12, 1.7, 40, np.pi], (count, 4))
    return np.concatenate([place[:, :3], np.tile(SIZE, (count, 1)), place[:, 3:]], axis=1)


def apart(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Those that are farther apart than they are long."""
    kept: list[NDArray[np.float64]] = []
    for box in boxes:
        if all(np.hypot(*(box[[0, 2]] - other[[0, 2]])) > 5 for other in kept):
            kept.append(box)
    return np.array(kept)


def points_of(boxes: NDArray[np.float64], rng: np.random.Generator, each: int = 20) -> NDArray[np.float32]:
    """Points (N * each, 3) well within boxes."""
    own = rng.uniform(-0.45, 0.45, (len(boxes), each, 3)) * boxes[:, None, [5, 3, 4]]
    cos, sin = np.cos(boxes[:, 6, None]), np.sin(boxes[:, 6, None])
    x = cos * own[..., 0] + sin * own[..., 2] + boxes[:, :1]
    z = -sin * own[..., 0] + cos * own[..., 2] + boxes[:, 2:3]
    y = own[..., 1] + boxes[:, 1:2] - boxes[:, 3:4] / 2
    return np.stack([x, y, z], axis=2).reshape(-1, 3).astype(np.float32)


def scattered(rng: np.random.Generator, count: int = 2000) -> NDArray[np.float32]:
    return rng.uniform([-15, 0, 2], [15, 2, 45], (count, 3)).astype(np.float32)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31))
def test_points_stay_in_their_objects(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = apart(random_boxes(rng, 6))
    shell = boxes.copy()
    shell[:, 1] += 0.01
    shell[:, 3:6] += 0.02
    own = points_of(boxes, rng)
    others = scattered(rng)
    # Points on a face may change sides with the last digit.
    others = others[inside(others, shell) < 0]
    points = np.concatenate([own, others])
    changed, changed_boxes = CHANGES.apply(points, boxes, ObjectDatabase(), rng)
    np.testing.assert_array_equal(inside(changed, changed_boxes), inside(points, boxes))
    assert (inside(points, boxes) >= 0).sum() == len(own)
    assert changed.dtype == np.float32 and changed_boxes.shape == boxes.shape


@pytest.mark.parametrize("seed", range(20))
def test_changes_stay_within_their_limits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = random_boxes(rng, 3)
    before = boxes.copy()
    points = points_of(boxes, rng)
    kept = points.copy()
    _, changed_boxes = CHANGES.apply(points, boxes, ObjectDatabase(), rng)
    np.testing.assert_array_equal(boxes, before)
    np.testing.assert_array_equal(points, kept)
    scale = changed_boxes[:, 3:6] / boxes[:, 3:6]
    assert np.ptp(scale) < 1e-9 and 0.95 <= scale[0, 0] <= 1.05
    np.testing.assert_allclose(changed_boxes[:, 1], boxes[:, 1] * scale[0, 0])
    bearing, changed_bearing = (np.arctan2(rows[:, 0], rows[:, 2]) for rows in (boxes, changed_boxes))
    turn = min(np.abs(changed_bearing - bearing).max(), np.abs(changed_bearing + bearing).max())
    assert 0 < turn <= np.radians(18) + 1e-9


def test_about_half_of_the_scenes_are_mirrored() -> None:
    rng = np.random.default_rng(0)
    mirror = dataclasses.replace(PUBLISHED.augmentation, extra_objects=0, rotation_deg=0, scaling=0)
    box = np.array([[3.0, 1.6, 20, *SIZE, 0.5]])
    results = [mirror.apply(np.zeros((1, 3), np.float32), box, ObjectDatabase(), rng)[1][0] for _ in range(100)]
    mirrored = [result for result in results if result[0] < 0]
    assert 30 < len(mirrored) < 70
    np.testing.assert_allclose(mirrored[0], [-3, 1.6, 20, *SIZE, np.pi - 0.5])
    points = scattered(rng)
    same, same_boxes = STILL.apply(points, box, ObjectDatabase(), rng)
    np.testing.assert_allclose(same, points)
    np.testing.assert_array_equal(same_boxes, box)


def filled_database(rng: np.random.Generator, count: int) -> ObjectDatabase:
    database = ObjectDatabase()
    for box in random_boxes(rng, count):
        database.add(points_of(box[None], rng), box[None])
    return database


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.integers(0, 4), st.sampled_from([1, 15]))
def test_objects_that_are_put_in_overlap_with_nothing(seed: int, objects: int, extra: int) -> None:
    rng = np.random.default_rng(seed)
    database = filled_database(rng, 12)
    boxes = apart(random_boxes(rng, objects)) if objects else np.zeros((0, 7))
    points = np.concatenate([points_of(boxes, rng), scattered(rng)])
    augmentation = dataclasses.replace(
        PUBLISHED.augmentation, extra_objects=extra, rotation_deg=0, scaling=0, flip=False
    )
    changed, changed_boxes = augmentation.apply(points, boxes, database, rng)
    np.testing.assert_array_equal(changed_boxes[: len(boxes)], boxes)
    added = changed_boxes[len(boxes) :]
    assert len(added) <= extra
    overlap = bev_iou(*(torch.from_numpy(changed_boxes.astype(np.float32)),) * 2)
    assert float((overlap - torch.diag(torch.diag(overlap))).max() if len(overlap) else 0) == 0
    stored = {tuple(box): own for box, own in zip(database.boxes, database.points, strict=True)}
    holder = inside(changed, changed_boxes)
    present = {tuple(point) for point in changed.tolist()}
    for number, box in enumerate(added, len(boxes)):
        own = stored[tuple(box)]
        assert {tuple(point) for point in own.tolist()} <= present
        # Nothing of the scene is left where it stands.
        assert (holder == number).sum() == len(own)
    cleared = added.copy()
    cleared[:, 1] += 0.2
    cleared[:, 3:6] += 0.4
    gone = inside(points, cleared) >= 0 if len(added) else np.zeros(len(points), dtype=bool)
    new = sum(len(stored[tuple(box)]) for box in added)
    np.testing.assert_array_equal(changed[: len(changed) - new], points[~gone])


def test_some_object_is_put_in_where_there_is_room() -> None:
    rng = np.random.default_rng(0)
    scene = np.zeros((0, 3), dtype=np.float32), np.zeros((0, 7))
    _, boxes = PUBLISHED.augmentation.apply(*scene, filled_database(rng, 12), rng)
    assert len(boxes) >= 3


def test_the_database_leaves_out_objects_with_hardly_a_point() -> None:
    rng = np.random.default_rng(0)
    boxes = apart(random_boxes(rng, 8))[:3]
    database = ObjectDatabase()
    parts = [points_of(box[None], rng, each) for box, each in zip(boxes, (4, 5, 9000), strict=True)]
    database.add(np.concatenate(parts), boxes)
    assert len(database) == 2
    np.testing.assert_array_equal(database.boxes, boxes[1:])
    np.testing.assert_array_equal(database.points[0], parts[1])
    # Dense ones are thinned out evenly.
    assert 1000 < len(database.points[1]) <= 2048
