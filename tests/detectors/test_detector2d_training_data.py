"""Training crops of 2D detectors: boxes follow the pixels, and which boxes count, are ignored, or are nothing."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.detectors.boxes2d.training_data import Boxes2dBatch, Boxes2dBatches, Detector2dTraining
from pseudolidar.files import FormatError
from pseudolidar.kitti import ObjectDataset
from tests.conftest import settings_of
from tests.detectors.painted_frames import COLOURS, HEIGHT, WIDTH, labels2d, write_frame

PLAIN: Detector2dTraining = settings_of(
    "detector2d/fcos_town",
    image_height=HEIGHT,
    crop=(HEIGHT, WIDTH),
    scale=0.0,
    flip=False,
    colour=0.0,
    min_box_height_px=1.0,
    classes=("Car", "Pedestrian"),
    batch_size=1,
)


def one_frame(
    folder: Path, names: list[str], box2d: list[list[float]], crops: Detector2dTraining = PLAIN
) -> Boxes2dBatch:
    write_frame(folder, "000000", labels2d(names, box2d))
    return Boxes2dBatches(crops, ObjectDataset(folder, None), seed=0)(0)


@pytest.fixture(scope="module")
def one_car(tmp_path_factory: pytest.TempPathFactory) -> ObjectDataset:
    folder = tmp_path_factory.mktemp("one_car")
    write_frame(folder, "000000", labels2d(["Car"], [[60, 20, 99, 43]]))
    return ObjectDataset(folder, None)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31), scale=st.floats(0, 0.5))
def test_boxes_follow_the_pixels(one_car: ObjectDataset, seed: int, scale: float) -> None:
    crops = dataclasses.replace(PLAIN, image_height=64, crop=(48, 96), scale=scale, flip=True)
    batch = Boxes2dBatches(crops, one_car, seed)(0)
    red = batch.images[0, 0] - batch.images[0, 1]
    is_car = (red > 0.4).numpy()
    boxes = batch.boxes.numpy()
    assert len(boxes) == is_car.any()
    for left, top, right, bottom in boxes:
        rows, columns = np.flatnonzero(is_car.any(axis=1)), np.flatnonzero(is_car.any(axis=0))
        seen = [columns[0], rows[0], columns[-1], rows[-1]]
        # Resizing blurs the rim by up to a pixel.
        np.testing.assert_allclose([left, top, right, bottom], seen, atol=1.3)


def test_a_batch_depends_on_its_step_alone(tmp_path: Path) -> None:
    for number in range(3):
        write_frame(tmp_path, f"{number:06d}", labels2d(["Car"], [[30 + 9 * number, 20, 70, 43]]))
    dataset = ObjectDataset(tmp_path, None)
    crops = dataclasses.replace(PLAIN, image_height=64, crop=(32, 64), scale=0.3, flip=True, colour=0.3, batch_size=2)
    once, again = Boxes2dBatches(crops, dataset, 5), Boxes2dBatches(crops, dataset, 5)
    batches = [once(step) for step in range(3)]
    # Every frame once before any comes again.
    names = [frame_id for batch in batches for frame_id in batch.frame_ids]
    assert sorted(names[:3]) == sorted(names[3:]) == dataset.frame_ids
    torch.testing.assert_close(again(2).images, batches[2].images, rtol=0, atol=0)
    assert not torch.equal(Boxes2dBatches(crops, dataset, 6)(2).images, batches[2].images)


def test_what_is_neither_right_nor_wrong(tmp_path: Path) -> None:
    names = ["Car", "Van", "Person_sitting", "DontCare", "Tram", "Pedestrian"]
    boxes = [[10.0 * i, 10, 10.0 * i + 9, 30] for i in range(6)]
    batch = one_frame(tmp_path, names, boxes)
    (target,) = batch.targets(first_label=1)
    np.testing.assert_array_equal(target["boxes"], [boxes[0], boxes[5]])
    assert target["labels"].tolist() == [1, 2]
    np.testing.assert_array_equal(target["ignored_boxes"], boxes[1:4])
    assert target["ignored_classes"].tolist() == [[True, False], [False, True], [True, True]]


def test_real_labels(kitti_sample: Path) -> None:
    dataset = ObjectDataset(kitti_sample / "object", None)
    classes = ("Car", "Pedestrian", "Cyclist")
    whole = dataclasses.replace(PLAIN, image_height=375, crop=(376, 1248), classes=classes, batch_size=len(dataset))
    batch = Boxes2dBatches(whole, dataset, seed=0)(0)
    found = dict(zip(batch.frame_ids, batch.targets(0), strict=True))
    labels = {frame.frame_id: frame.objects().class_name.tolist() for frame in dataset}
    for frame_id, target in found.items():
        names = [("Car", "Pedestrian", "Cyclist")[label] for label in target["labels"]]
        assert names == [name for name in labels[frame_id] if name in ("Car", "Pedestrian", "Cyclist")]
        assert len(target["ignored_boxes"]) == labels[frame_id].count("DontCare")
        assert target["ignored_classes"].all()
    np.testing.assert_allclose(found["000002"]["boxes"], [[657.39, 190.13, 700.07, 223.39]], atol=1e-3)


def test_low_and_cut_objects_are_ignored_for_their_class(tmp_path: Path) -> None:
    low = dataclasses.replace(PLAIN, min_box_height_px=8.0)
    batch = one_frame(tmp_path / "low", ["Car", "Pedestrian"], [[10, 10, 40, 30], [60, 10, 64, 17]], low)
    (target,) = batch.targets(first_label=0)
    assert target["labels"].tolist() == [0]
    np.testing.assert_array_equal(target["ignored_boxes"], [[60, 10, 64, 17]])
    assert target["ignored_classes"].tolist() == [[False, True]]
    # Two cars side by side; a crop that is narrower than both cuts one of them.
    narrow = dataclasses.replace(PLAIN, crop=(HEIGHT, 60))
    write_frame(tmp_path / "cut", "000000", labels2d(["Car", "Car"], [[20, 20, 60, 40], [70, 20, 110, 40]]))
    batches = Boxes2dBatches(narrow, ObjectDataset(tmp_path / "cut", None), seed=0)
    targets = [batches(step).targets(0)[0] for step in range(30)]
    found, ignored = (torch.cat([target[name] for target in targets]) for name in ("boxes", "ignored_boxes"))
    assert {round(float(side)) for side in found[:, 2] - found[:, 0]} <= set(range(16, 41))
    assert len(ignored) and float((ignored[:, 2] - ignored[:, 0]).max()) < 16


def test_frames_without_an_object_are_background(tmp_path: Path) -> None:
    write_frame(tmp_path, "000000", labels2d([], []))
    write_frame(tmp_path, "000001", labels2d(["Car"], [[60, 20, 99, 43]]))
    batch = Boxes2dBatches(dataclasses.replace(PLAIN, batch_size=2), ObjectDataset(tmp_path, None), seed=0)(0)
    assert sorted(batch.frame_ids) == ["000000", "000001"]
    assert sorted(len(target["boxes"]) for target in batch.targets(0)) == [0, 1]


def test_images_smaller_than_the_crop_are_filled_up(tmp_path: Path) -> None:
    crops = dataclasses.replace(PLAIN, crop=(HEIGHT + 16, WIDTH + 32))
    batch = one_frame(tmp_path, ["Car"], [[60, 20, 99, 43]], crops)
    assert batch.images.shape == (1, 3, HEIGHT + 16, WIDTH + 32)
    np.testing.assert_array_equal(batch.targets(0)[0]["boxes"], [[60, 20, 99, 43]])
    assert (batch.images[0, :, HEIGHT:].std(dim=(1, 2)) == 0).all()


def test_colours_change_and_stay_in_range(tmp_path: Path) -> None:
    crops = dataclasses.replace(PLAIN, colour=0.9)
    image = one_frame(tmp_path, ["Car"], [[60, 20, 99, 43]], crops).images[0]
    assert float(image.min()) >= 0 and float(image.max()) <= 1
    assert not torch.allclose(image[:, 30, 80], torch.tensor(COLOURS["Car"]) / 255, atol=0.02)


def test_labels_outside_of_the_image_are_skipped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    boxes = [[60.0, 20, 99, 43], [-20.0, 10, 15, 40], [200.0, 10, 240, 40]]
    with caplog.at_level(logging.INFO):
        batch = one_frame(tmp_path, ["Car"] * 3, boxes)
    np.testing.assert_array_equal(batch.targets(0)[0]["boxes"], [[60, 20, 99, 43], [0, 10, 15, 40]])
    assert "2 in 1 frames; clipped to the image: 1; skipped, outside of it: 1" in caplog.text


def test_nothing_to_train_on_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="Car, Pedestrian objects in 1 frames: found none to train on"):
        one_frame(tmp_path, ["Van"], [[60, 20, 99, 43]])
