"""Scenes: which points of a cloud the detector sees, how they are chosen, and what a training batch depends on."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.detectors.pointrcnn import SceneAugmentation
from pseudolidar.detectors.pointrcnn.scenes import SceneBatch, SceneBatches, SceneSource, sample_scene, scene_points
from pseudolidar.files import FormatError
from pseudolidar.kitti import ObjectDataset, read_points, write_objects, write_points
from tests.detectors.pointrcnn.tiny import PUBLISHED
from tests.detectors.street_of_boxes import HEIGHT, WIDTH, make_calibration, write_street

CALIBRATION = make_calibration()
SIZE = (HEIGHT, WIDTH)
PLAIN = dataclasses.replace(PUBLISHED.augmentation, extra_objects=0, rotation_deg=0.0, scaling=0.0, flip=False)


def source_of(
    dataset: ObjectDataset, class_name: str = "Car", max_depth: float | None = None, seed: int = 0,
    augmentation: SceneAugmentation = PLAIN,
) -> SceneSource:  # fmt: skip
    return SceneSource(dataset, [dataset.root / "clouds"], class_name, 64, augmentation, max_depth, seed)


def batch_of(source: SceneSource, step: int, batch_size: int) -> SceneBatch:
    return SceneBatches(source, batch_size, phase=1)(step)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31))
def test_a_point_is_seen_if_it_is_in_the_area_and_in_the_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # From behind the camera to beyond the area, and more of them near the image's borders.
    rect = rng.uniform([-60, -2, -5], [60, 4, 80], (400, 3))
    pixels = rng.choice([-0.6, 0.4, WIDTH - 0.6, WIDTH + 0.4], 200), rng.uniform(-2, HEIGHT + 2, 200)
    border = CALIBRATION.image_to_rect(np.stack(pixels, axis=1), rng.uniform(1, 60, 200))
    velo = CALIBRATION.rect_to_velodyne(np.concatenate([rect, border])).astype(np.float32)
    cloud = np.concatenate([velo, np.ones((600, 1), dtype=np.float32)], axis=1)
    seen = scene_points(cloud, CALIBRATION, SIZE)
    exact = CALIBRATION.velodyne_to_rect(velo.astype(np.float64))
    pixel, depth = CALIBRATION.rect_to_image(exact)
    in_area = (np.abs(exact[:, 0]) <= 40) & (exact[:, 1] >= -1) & (exact[:, 1] <= 3) & (depth > 0) & (depth <= 70.4)
    expected = in_area & (pixel >= 0).all(axis=1) & (pixel[:, 0] < WIDTH) & (pixel[:, 1] < HEIGHT)
    assert seen.dtype == np.float32 and seen.flags.c_contiguous
    # Order is the cloud's; rounding decides for none of these.
    np.testing.assert_allclose(seen, exact[expected], atol=1e-4)


def test_points_that_are_not_finite_are_dropped_quietly(recwarn: pytest.WarningsRecorder) -> None:
    good = CALIBRATION.rect_to_velodyne([[0.0, 1.0, 10.0]]).astype(np.float32)
    cloud = np.full((5, 4), np.nan, dtype=np.float32)
    cloud[1, :3] = good
    cloud[2] = np.inf
    cloud[3] = [10, np.nan, 0, 1]
    cloud[4] = [-np.inf, 0, 0, 1]
    for max_depth in (None, 20.0):
        np.testing.assert_allclose(scene_points(cloud, CALIBRATION, SIZE, max_depth), [[0, 1, 10]], atol=1e-5)
    assert not recwarn.list
    assert scene_points(np.zeros((0, 4), dtype=np.float32), CALIBRATION, SIZE).shape == (0, 3)


def test_near_only_goes_by_the_sensors_distance(street: ObjectDataset, clouds: Path) -> None:
    cloud = read_points(clouds / "000000.bin")
    everything = scene_points(cloud, CALIBRATION, SIZE)
    near = scene_points(cloud, CALIBRATION, SIZE, max_depth=12.0)
    x_velo = CALIBRATION.rect_to_velodyne(everything)[:, 0]
    assert 0 < len(near) < len(everything)
    np.testing.assert_array_equal(near, everything[x_velo < 12.0])


def scene_of(near: int, far: int) -> np.ndarray:
    """Points numbered in x, near ones at 10 m and far ones at 50 m."""
    count = near + far
    depth = np.where(np.arange(count) < near, 10.0, 50.0)
    return np.stack([np.arange(count), np.zeros(count), depth], axis=1).astype(np.float32)


@pytest.mark.parametrize(("near", "far", "count"), [(100, 10, 30), (100, 29, 30), (5, 0, 5), (20, 10, 30)])
def test_too_many_points_keep_all_far_ones(near: int, far: int, count: int) -> None:
    chosen = sample_scene(scene_of(near, far), count, np.random.default_rng(0))
    assert chosen.shape == (count, 3) and chosen.dtype == np.float32
    assert len(set(chosen[:, 0])) == count
    assert (chosen[:, 2] > 40).sum() == far
    # In random order: neighbours are taken by it.
    assert (np.diff(chosen[:, 0]) < 0).any()


def test_far_points_alone_are_too_many() -> None:
    chosen = sample_scene(scene_of(100, 100), 50, np.random.default_rng(0))
    assert len(set(chosen[:, 0])) == 50
    assert 10 < (chosen[:, 2] > 40).sum() <= 50


@pytest.mark.parametrize("total", [1, 2, 29])
def test_too_few_points_come_again(total: int) -> None:
    chosen = sample_scene(scene_of(total, 0), 30, np.random.default_rng(0))
    assert chosen.shape == (30, 3)
    assert set(chosen[:, 0]) == set(range(total))


def test_a_batch_depends_on_seed_and_step_alone(street: ObjectDataset) -> None:
    augmentation = dataclasses.replace(PUBLISHED.augmentation, extra_objects=3)
    one, two = source_of(street, augmentation=augmentation), source_of(street, augmentation=augmentation)
    for step in (7, 0, 3):
        batch_of(two, step, 3)
    first, second = batch_of(one, 5, 3), batch_of(two, 5, 3)
    assert first.frame_ids == second.frame_ids and first.seed == second.seed
    np.testing.assert_array_equal(first.points.numpy(), second.points.numpy())
    np.testing.assert_array_equal(first.boxes.numpy(), second.boxes.numpy())
    other = batch_of(source_of(street, augmentation=augmentation, seed=1), 5, 3)
    assert not np.array_equal(other.points.numpy(), first.points.numpy())
    assert batch_of(one, 6, 3).seed != first.seed


def test_an_epoch_has_every_frame_once(street: ObjectDataset) -> None:
    source = source_of(street)
    epochs = [[batch_of(source, step, 3).frame_ids for step in range(8)]]
    ids = [frame_id for batch in epochs[0] for frame_id in batch]
    for epoch in range(3):
        assert sorted(ids[epoch * 8 : epoch * 8 + 8]) == street.frame_ids
    assert ids[:8] != ids[8:16]


def test_a_batch_has_the_frames_points_and_objects(street: ObjectDataset, clouds: Path) -> None:
    batch = batch_of(source_of(street), 0, 8)
    assert batch.points.shape == (8, 64, 3)
    for frame_id, points, boxes in zip(batch.frame_ids, batch.points.numpy(), batch.boxes.numpy(), strict=True):
        labels = street.frame(frame_id).objects()
        np.testing.assert_allclose(boxes[: len(labels)], labels.box3d, rtol=1e-6)
        assert (boxes[len(labels) :] == 0).all()
        scene = scene_points(read_points(clouds / f"{frame_id}.bin"), CALIBRATION, SIZE)
        assert {tuple(point) for point in points.tolist()} <= {tuple(point) for point in scene.tolist()}


def test_a_scene_is_of_one_folder_and_so_are_the_objects_put_in(
    street: ObjectDataset, clouds: Path, raised: Path
) -> None:
    seen = []
    for folder in (clouds, raised):
        scenes = [scene_points(read_points(folder / f"{name}.bin"), CALIBRATION, SIZE) for name in street.frame_ids]
        seen.append({tuple(point) for scene in scenes for point in scene.tolist()})
    assert not seen[0] & seen[1]
    full = dataclasses.replace(PLAIN, extra_objects=8)
    source = SceneSource(street, [clouds, raised], "Car", 512, full, None, 0)
    taken = []
    for step in range(8):
        batch = batch_of(source, step, 8)
        for points in batch.points.numpy():
            (number,) = [number for number in range(2) if {tuple(point) for point in points.tolist()} <= seen[number]]
            taken.append(number)
        assert max(int((boxes[:, 3] > 0).sum()) for boxes in batch.boxes) > 3
        assert torch.equal(batch.points, batch_of(source, step, 8).points)
    # 64 throws of a coin.
    assert 20 < sum(taken) < 44


def test_for_one_folder_nothing_is_drawn(street: ObjectDataset, clouds: Path) -> None:
    generator = np.random.default_rng(0)
    generator.integers(1)
    assert generator.random() == np.random.default_rng(0).random()
    twice = SceneSource(street, [clouds, clouds], "Car", 64, PLAIN, None, 0)
    assert not torch.equal(batch_of(twice, 0, 8).points, batch_of(source_of(street), 0, 8).points)


def test_frames_to_learn_nothing_from_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    street = write_street(tmp_path, frames=5, seed=1)
    without_object, without_point, far, van = (street.frame(frame_id) for frame_id in street.frame_ids[:4])
    write_objects(without_object.path("label_2"), without_object.objects()[:0])
    write_points(tmp_path / "clouds" / f"{without_point.frame_id}.bin", np.full((3, 4), -9.0, dtype=np.float32))
    labels = far.objects()
    moved = labels.box3d.copy()
    moved[:, 2] += 90
    write_objects(far.path("label_2"), dataclasses.replace(labels, box3d=moved))
    labels = van.objects()
    write_objects(van.path("label_2"), dataclasses.replace(labels, class_name=np.full(len(labels), "Van")))
    with caplog.at_level(logging.INFO):
        source = source_of(street)
    assert "in 2 of 5 frames; left out 1: without a point; left out 2: without an object" in caplog.text
    # Vans are trained on as cars.
    assert [scene.frame_id for scene in source.scenes] == street.frame_ids[3:]


def test_near_only_leaves_far_objects_out(tmp_path: Path) -> None:
    street = write_street(tmp_path, frames=4, seed=1)
    depths = np.concatenate([frame.objects().box3d[:, 2] for frame in street])
    limit = float(np.median(depths))
    source = source_of(street, max_depth=limit)
    assert sum(len(scene.boxes) for scene in source.scenes) == (depths <= limit).sum()
    assert float(batch_of(source, 0, 4).points[..., 2].max()) < limit + 0.5


def test_mean_size_is_that_of_the_objects_trained_on(street: ObjectDataset) -> None:
    sizes = np.concatenate([frame.objects().box3d[:, 3:6] for frame in street])
    np.testing.assert_allclose(source_of(street).mean_size_m(), sizes.mean(axis=0), rtol=1e-6)


def test_no_object_of_the_class_is_an_error(street: ObjectDataset) -> None:
    with pytest.raises(FormatError, match="Pedestrian objects in 8 frames: found none to train on"):
        source_of(street, "Pedestrian")


def test_a_missing_cloud_is_named(street: ObjectDataset, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"000000\.bin"):
        SceneSource(street, [tmp_path], "Car", 64, PLAIN, None, 0)
