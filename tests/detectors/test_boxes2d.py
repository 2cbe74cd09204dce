"""2D boxes: from labels, detections files and result files, jittered, and refused where they are wrong."""

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.detectors.boxes2d import (
    Boxes2d,
    boxes_of_frames,
    clipped_to_image,
    ground_truth_boxes,
    jitter_reach,
    jittered_box,
    read_boxes,
    read_detections_file,
    read_result_boxes,
    write_detections_file,
)
from pseudolidar.files import FormatError, InputError
from pseudolidar.kitti import ObjectDataset, Objects, write_objects


def test_boxes_of_the_labels(kitti_sample: Path) -> None:
    dataset = ObjectDataset(kitti_sample / "object", None)
    cars = ground_truth_boxes(dataset, ["Car"])
    assert [len(cars[frame_id]) for frame_id in dataset.frame_ids] == [0, 1, 1]
    np.testing.assert_array_equal(cars["000002"].box2d, [[657.39, 190.13, 700.07, 223.39]])
    assert cars["000002"].score is None


def test_a_detections_file(tmp_path: Path) -> None:
    path = tmp_path / "detections.txt"
    path.write_text(
        "training/image_2/000001.png 2 0.93 10 20 30.5 40\n\n"
        "training/image_2/000004.png 1 1.0 1 2 3 4\n"
        "training/image_2/000001.png 3 0.5 5 6 7 8\n"
    )
    boxes = read_detections_file(path)
    assert sorted(boxes) == ["000001", "000004"]
    assert boxes["000001"].class_name.tolist() == ["Car", "Cyclist"]
    np.testing.assert_array_equal(boxes["000001"].of_classes(["Car"]).box2d, [[10, 20, 30.5, 40]])
    assert boxes["000001"].of_classes(["Car"]).score == pytest.approx([0.93])
    assert boxes["000004"].class_name.tolist() == ["Pedestrian"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a/000001.png -1 0.9 1 2 3 4", r"line 2, field 2 \(class_id\): found -1"),
        ("a/000001.png Car 0.9 1 2 3 4", r"line 2, field 2 \(class_id\): found Car"),
        ("a/000001.png 2 0.9 1 2 3", r"line 2: found 6 fields"),
        ("a/000001.png 2 0.9 1 2 x 4", r"line 2, field 6: found x"),
        ("a/000001.png 2 nan 1 2 3 4", r"line 2, field 3: found nan"),
        ("a/000001.png 2 12.5 1 2 3 4", r"line 2, field 3 \(score\): found 12\.5"),
        ("a/000001.png 2 0.9 3 2 1 4", r"line 2, fields 4 to 7 \(box\)"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "detections.txt"
    path.write_text(f"a/000000.png 2 0.9 1 2 3 4\n{line}\n")
    with pytest.raises(FormatError, match=message):
        read_detections_file(path)


def test_a_missing_detections_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="nothing there"):
        read_detections_file(tmp_path / "none.txt")


def results(score: list[float]) -> Objects:
    count = len(score)
    box2d = np.tile([1.0, 2.0, 30.0, 40.0], (count, 1))
    names = np.array(["Car", "Pedestrian"] * count)[:count]
    return Objects(
        names, np.zeros(count), np.zeros(count, int), np.zeros(count), box2d, np.ones((count, 7)), np.array(score)
    )


def test_result_files_give_probabilities(tmp_path: Path) -> None:
    write_objects(tmp_path / "000000.txt", results([0.25, 0.75]))
    write_objects(tmp_path / "000001.txt", Objects.empty(scored=True))
    boxes = read_result_boxes(tmp_path, ["000000", "000001"])
    assert boxes["000000"].score == pytest.approx([0.25, 0.75])
    assert len(boxes["000001"]) == 0
    with pytest.raises(FormatError, match="000009"):
        read_result_boxes(tmp_path, ["000009"])


def test_no_scores_meaning_hangs_on_another_file(tmp_path: Path) -> None:
    write_objects(tmp_path / "000000.txt", results([0.25, 0.75, 0.0, 1.0]))
    write_objects(tmp_path / "000001.txt", results([0.5, -3.0, 4.0]))
    alone = read_boxes(tmp_path, ["000000"])["000000"].score
    assert alone == pytest.approx([0.25, 0.75, 0.0, 1.0]) and alone is not None and np.isfinite(np.log(alone)).all()
    with pytest.raises(FormatError, match=r"000001\.txt: line 2, field 16 \(score\): found -3, .*boxes_scores=logit"):
        read_boxes(tmp_path, ["000000", "000001"])
    # Asked for, all are taken through a sigmoid, those of a file with none outside 0 to 1 too.
    logits = read_boxes(tmp_path, ["000000", "000001"], "logit")
    assert logits["000001"].score == pytest.approx(1 / (1 + np.exp([-0.5, 3, -4])))
    assert logits["000000"].score == pytest.approx(1 / (1 + np.exp([-0.25, -0.75, 0, -1])))
    path = tmp_path / "boxes.txt"
    path.write_text("000000.png 2 0.25 1 2 3 4\n000001.png 2 4.0 1 2 3 4\n")
    with pytest.raises(FormatError, match=r"line 2, field 3 \(score\).*boxes_scores=logit"):
        read_boxes(path, [])
    assert read_boxes(path, [], "logit")["000000"].score == pytest.approx(1 / (1 + np.exp(-0.25)))
    for source in (tmp_path, path):
        with pytest.raises(InputError, match="scores: found 'percent', expected probability or logit"):
            read_boxes(source, ["000000"], "percent")  # type: ignore[arg-type]


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31), share=st.floats(0, 0.3))
def test_jitter_stays_within_its_reach(seed: int, share: float) -> None:
    box = np.array([100.0, 50.0, 140.0, 70.0])
    left, top, right, bottom = jittered_box(box, np.random.default_rng(seed), share)
    assert abs((left + right) / 2 - 120) <= share * 40 + 1e-9
    assert abs((top + bottom) / 2 - 60) <= share * 20 + 1e-9
    assert 40 * (1 - share) - 1e-9 <= right - left <= 40 * (1 + share) + 1e-9
    reach = jitter_reach(box, share)
    assert reach[0] - 1e-9 <= left < right <= reach[2] + 1e-9
    assert reach[1] - 1e-9 <= top < bottom <= reach[3] + 1e-9


def test_jitter_moves_boxes_both_ways() -> None:
    generator = np.random.default_rng(0)
    boxes = np.array([jittered_box(np.array([0.0, 0.0, 10.0, 20.0]), generator, 0.1) for _ in range(400)])
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    # Uniform over +- 0.1 of the size: standard deviation 0.2 / sqrt(12).
    np.testing.assert_allclose(centre.std(axis=0), np.array([10, 20]) * 0.2 / np.sqrt(12), rtol=0.15)
    np.testing.assert_allclose(centre.mean(axis=0), [5, 10], atol=0.2)


def test_lines_of_other_classes_are_skipped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "detections.txt"
    path.write_text("a/000001.png 8 0.9 1 2 3 4\na/000001.png 8 0.9 1 2 3 4\na/000002.png 2 0.9 1 2 3 4\n")
    with caplog.at_level(logging.INFO):
        boxes = read_detections_file(path)
    assert {frame_id: found.class_name.tolist() for frame_id, found in boxes.items()} == {
        "000001": [],
        "000002": ["Car"],
    }
    assert boxes["000001"].box2d.shape == (0, 4)
    assert "lines of other classes, skipped: 8 (2)" in caplog.text
    path.write_text("a/000001.png 8 0.9 1 2 3 4\n")
    with pytest.raises(FormatError, match=r"no other classes than 8 \(1\), expected some of 1 \(Pedestrian\)"):
        read_detections_file(path)


def test_a_detections_file_reads_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    boxes = {
        "000000": Boxes2d(np.array(["Car", "Tram"]), np.array([[1.5, 2, 30, 40.25]] * 2), np.array([0.25, 0.5])),
        "000001": Boxes2d(np.array(["Cyclist"]), np.array([[0.0, 0, 1, 1]])),
        "000002": Boxes2d.empty(),
    }
    with caplog.at_level(logging.INFO):
        write_detections_file(tmp_path / "detections.txt", boxes)
    assert "2 2D boxes; left out, of other classes than Pedestrian, Car, Cyclist: 1" in caplog.text
    read = read_detections_file(tmp_path / "detections.txt")
    assert list(read) == ["000000", "000001"]
    assert read["000000"].class_name.tolist() == ["Car"] and read["000001"].class_name.tolist() == ["Cyclist"]
    np.testing.assert_array_equal(read["000000"].box2d, [[1.5, 2, 30, 40.25]])
    assert read["000000"].score == pytest.approx([0.25]) and read["000001"].score == pytest.approx([1.0])


def test_boxes_are_fitted_to_the_frames(street: ObjectDataset, caplog: pytest.LogCaptureFixture) -> None:
    first, second, *others = street.frame_ids
    box2d = np.array([[10.0, 20, 30, 40], [-5, 100, 20, 300], [416, 10, 500, 60], [-9, 3, -1, 9]])
    boxes = {
        first: Boxes2d(np.array(["Car", "Car", "Tram", "Car"]), box2d, np.array([0.1, 0.2, 0.3, 0.4])),
        second: Boxes2d.empty(),
        "900000": Boxes2d(np.array(["Car"]), box2d[:1]),
    }
    with caplog.at_level(logging.INFO):
        fitted = boxes_of_frames(boxes, street)
    assert list(fitted) == street.frame_ids
    np.testing.assert_array_equal(fitted[first].box2d, [[10, 20, 30, 40], [0, 100, 20, 127]])
    assert fitted[first].class_name.tolist() == ["Car", "Car"]
    np.testing.assert_array_equal(fitted[first].score, [0.1, 0.2])
    assert all(len(fitted[frame_id]) == 0 for frame_id in (second, *others))
    assert (
        f"2 in {len(street)} frames; clipped to the image: 1; skipped, outside of it: 2; "
        f"frames without an entry: {len(others)}; entries of other frames, left out: 1" in caplog.text
    )


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(*[st.floats(-50, 150)] * 4), max_size=6))
def test_clipped_boxes_lie_in_the_image(rows: list[tuple[float, float, float, float]]) -> None:
    boxes = np.array(rows, dtype=np.float64).reshape(-1, 4)
    boxes = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)
    clipped, inside, changed = clipped_to_image(boxes, (60, 100))
    assert ((clipped >= 0) & (clipped <= [99, 59, 99, 59])).all()
    # A box keeps an area exactly where a part of it lies between the centres of the outermost pixels.
    overlaps = (boxes[:, :2] < [99, 59]).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    np.testing.assert_array_equal(inside, overlaps & (boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    untouched = ((boxes >= 0) & (boxes <= [99, 59, 99, 59])).all(axis=1)
    np.testing.assert_array_equal(clipped[untouched], boxes[untouched])
    assert changed == (inside & ~untouched).sum()
