"""2D boxes as COCO JSON: there and back, as pycocotools reads them, and refused where they are wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.detectors.boxes2d import Boxes2d, read_coco_results, write_coco_annotations, write_coco_results
from pseudolidar.files import FormatError, InputError
from pseudolidar.kitti import ObjectDataset, Objects, read_objects, write_objects
from tests.conftest import RunHere
from tests.kitti.scenery import write_dataset

CLASSES = ("Car", "Pedestrian", "Cyclist")
CARS = [[10.0, 2.0, 20.0, 12.0], [30.0, 4.0, 50.0, 16.0]]


def labels(names: list[str], boxes: list[list[float]]) -> Objects:
    count = len(names)
    zeros = np.zeros(count)
    return Objects(np.array(names), zeros, zeros.astype(int), zeros, np.array(boxes), np.ones((count, 7)))


@pytest.fixture
def dataset(tmp_path: Path) -> ObjectDataset:
    """Frames 000000 to 000002: two cars, a pedestrian and a region of DontCare; a cyclist and a van; nothing."""
    dataset = write_dataset(tmp_path / "data")
    names, boxes = ["Car", "Car", "Pedestrian", "DontCare"], [*CARS, [1.0, 1.0, 4.0, 12.0], [40.0, 0.0, 59.0, 3.0]]
    write_objects(dataset[0].path("label_2"), labels(names, boxes))
    write_objects(dataset[1].path("label_2"), labels(["Cyclist", "Van"], [[5.0, 3.0, 9.0, 15.0], CARS[1]]))
    return dataset


def test_annotations(dataset: ObjectDataset, tmp_path: Path) -> None:
    write_coco_annotations(tmp_path / "a.json", dataset, CLASSES)
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["images"][1] == {"id": 1, "file_name": "000001.png", "width": 60, "height": 20}
    assert [each["name"] for each in content["categories"]] == list(CLASSES)
    first, *_, last = content["annotations"]
    assert first == {
        "id": 1, "image_id": 0, "category_id": 1, "bbox": [10.0, 2.0, 10.0, 10.0], "area": 100.0, "iscrowd": 0
    }  # fmt: skip
    crowds = [each["category_id"] for each in content["annotations"] if each["iscrowd"]]
    assert crowds == [1, 2, 3] and last["category_id"] == 3 and last["image_id"] == 1


def average_precision(folder: Path, found: dict[str, Boxes2d], dataset: ObjectDataset) -> float:
    """AP at IoU 0.5, as pycocotools computes it from our files."""
    coco = pytest.importorskip("pycocotools.coco", reason="no pycocotools: pip install 'pseudolidar[test]'")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    write_coco_annotations(folder / "annotations.json", dataset, CLASSES)
    write_coco_results(folder / "results.json", found, dataset.frame_ids, CLASSES)
    truth = coco.COCO(str(folder / "annotations.json"))
    evaluation = cocoeval.COCOeval(truth, truth.loadRes(str(folder / "results.json")), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return float(evaluation.stats[1])


def test_pycocotools_scores_them(dataset: ObjectDataset, tmp_path: Path) -> None:
    every = {frame.frame_id: Boxes2d.from_objects(frame.objects()) for frame in dataset}
    assert average_precision(tmp_path, every, dataset) == 1
    # One of two cars is missed: 51 of 101 points of recall.
    one = every | {"000000": every["000000"][np.array([True, False, True, True])]}
    assert average_precision(tmp_path, one, dataset) == pytest.approx((2 + 51 / 101) / 3)
    # A false car of the highest score: precision 2/3 at every recall, but none where KITTI doesn't care.
    for place, expected in (([20.0, 5.0, 30.0, 15.0], (2 + 2 / 3) / 3), ([42.0, 0.0, 50.0, 3.0], 1)):
        cars = Boxes2d(np.array(["Car"] * 3), np.array([*CARS, place]), np.array([0.5, 0.5, 0.9]))
        pedestrian = every["000000"].of_classes(["Pedestrian"])
        found = Boxes2d(
            np.append(cars.class_name, pedestrian.class_name), np.vstack([cars.box2d, pedestrian.box2d]),
            np.array([0.5, 0.5, 0.9, 1.0]),
        )  # fmt: skip
        assert average_precision(tmp_path, every | {"000000": found}, dataset) == pytest.approx(expected)


frames_of_boxes = st.dictionaries(
    st.sampled_from(["000000", "000001", "000002"]),
    st.lists(
        st.tuples(
            st.sampled_from(CLASSES), *[st.floats(-100, 2000)] * 2, *[st.floats(0.01, 2000)] * 2, st.floats(1e-6, 1)
        ),
        max_size=4,
    ),
)


@settings(deadline=None, max_examples=30)
@given(found=frames_of_boxes)
def test_there_and_back(tmp_path_factory: pytest.TempPathFactory, found: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("coco")
    boxes = {}
    for frame_id, rows in found.items():
        sides = np.array([[x, y, x + w, y + h] for _, x, y, w, h, _ in rows]).reshape(-1, 4)
        boxes[frame_id] = Boxes2d(
            np.array([row[0] for row in rows], np.str_), sides, np.array([row[-1] for row in rows])
        )
    dataset = write_dataset(folder / "data")
    write_coco_annotations(folder / "a.json", dataset, CLASSES)
    write_coco_results(folder / "r.json", boxes, dataset.frame_ids, CLASSES)
    back = read_coco_results(folder / "r.json", folder / "a.json", {})
    assert list(back) == dataset.frame_ids
    for frame_id, read in back.items():
        own = boxes.get(frame_id, Boxes2d.empty())
        assert read.class_name.tolist() == own.class_name.tolist()
        np.testing.assert_allclose(read.box2d, own.box2d, atol=2e-4)
        np.testing.assert_array_equal(read.score, np.zeros(0) if own.score is None else own.score)


def write(folder: Path, results: Any, annotations: Any) -> tuple[Path, Path]:
    (folder / "r.json").write_text(json.dumps(results))
    (folder / "a.json").write_text(json.dumps(annotations))
    return folder / "r.json", folder / "a.json"


# Images and categories of another project.
OTHERS: dict[str, list[Any]] = {
    "images": [{"id": 7, "file_name": "train/a.jpg"}, {"id": "x", "file_name": "b.jpg"}],
    "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "CAR"}, {"id": 0, "name": "dog"}],
}
GOOD = {"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}


def test_categories_of_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    car, dog = GOOD | {"image_id": "x", "category_id": 3, "segmentation": []}, GOOD | {"category_id": 0}
    boxes = read_coco_results(*write(tmp_path, [GOOD, car, dog], OTHERS), {"Person": "Pedestrian"})
    assert boxes["a"].class_name.tolist() == ["Pedestrian"] and boxes["b"].class_name.tolist() == ["Car"]
    np.testing.assert_array_equal(boxes["a"].box2d, [[1, 2, 4, 6]])
    assert "left out: dog (1)" in caplog.text
    with pytest.raises(InputError, match="classes: found 'a man', expected one word"):
        read_coco_results(*write(tmp_path, [], OTHERS), {"person": "a man"})


@pytest.mark.parametrize(
    ("results", "annotations", "message"),
    [
        ({"annotations": []}, OTHERS, "r.json: file: found a dict, expected COCO results: a list"),
        ([GOOD, {"image_id": 7}], OTHERS, r'r.json: \[1\]: found {"image_id": 7}, expected an object with image_id'),
        ([GOOD | {"image_id": 8}], OTHERS, r"\[0\].image_id: found 8, expected the id of an image of .*a.json"),
        ([GOOD | {"image_id": [7]}], OTHERS, r"\[0\].image_id: found \[7\], expected a number or a text"),
        ([GOOD | {"category_id": 2}], OTHERS, r"\[0\].category_id: found 2"),
        ([GOOD | {"bbox": [1, 2, -3, 4]}], OTHERS, r"\[0\].bbox: found \[1, 2, -3, 4\]"),
        ([GOOD | {"bbox": [1, 2, float("nan"), 4]}], OTHERS, r"\[0\].bbox: found \[1, 2, NaN, 4\]"),
        ([GOOD | {"score": 12}], OTHERS, r"\[0\].score: found 12, expected a probability"),
        ([GOOD | {"score": None}], OTHERS, r"\[0\].score: found null"),
        ([], [], r"a.json: file: found \[\], expected an object with images, categories"),
        ([], {"images": {}, "categories": []}, "a.json: images: found a dict, expected a list"),
        ([], OTHERS | {"images": OTHERS["images"] * 2}, r"images\[2\]: found .*, expected each id once"),
        ([], OTHERS | {"images": [*OTHERS["images"], {"id": 1, "file_name": "c/a.png"}]}, "found several called a"),
        ([], OTHERS | {"categories": [{"id": 1, "name": "dog"}]}, "categories: found dog, expected some that KITTI"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_named(tmp_path: Path, results: Any, annotations: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_coco_results(*write(tmp_path, results, annotations), {})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*GOOD, *OTHERS, "id", "name"]), inner),
    max_leaves=12,
)


@settings(deadline=None, max_examples=100)
@given(results=json_values, annotations=json_values, entry=st.dictionaries(st.sampled_from([*GOOD]), json_values))
def test_any_json_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, results: Any, annotations: Any, entry: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    for broken in (results, [GOOD | entry]):
        for described in (annotations, OTHERS):
            try:
                read = read_coco_results(*write(folder, broken, described), {})
            except FormatError as error:
                assert "found" in str(error) and "expected" in str(error)
            else:
                assert all(np.isfinite(boxes.box2d).all() and boxes.score is not None for boxes in read.values())


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\xff", b"[" * 100000])
def test_what_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    results, annotations = write(tmp_path, [], OTHERS)
    for path in (results, annotations):
        path.write_bytes(content)
        with pytest.raises(FormatError, match=f"{path.name}: file: found no JSON"):
            read_coco_results(results, annotations, {})


def test_the_commands(dataset: ObjectDataset, tmp_path: Path, run_here: RunHere) -> None:
    root = tmp_path / "data"
    run_here("export_coco", f"data={root}", "split=train", f"output={tmp_path}/a.json")
    run_here(
        "export_coco", f"data={root}", "split=train", f"output={tmp_path}/r.json", f"boxes={written_results(dataset)}"
    )
    again = (f"results={tmp_path}/r.json", f"annotations={tmp_path}/a.json", f"output={tmp_path}/boxes")
    for _ in range(2):
        run_here("import_coco", *again, f"detections={tmp_path}/boxes.txt")
    read = read_objects(tmp_path / "boxes" / "000000.txt", scored=True)
    assert read.class_name.tolist() == ["Car", "Car", "Pedestrian"]
    np.testing.assert_allclose(read.box2d[:2], CARS, atol=1e-4)
    assert (tmp_path / "boxes" / "000002.txt").read_text() == ""
    assert len((tmp_path / "boxes.txt").read_text().splitlines()) == 4


def written_results(dataset: ObjectDataset) -> Path:
    folder = dataset.root / "results"
    for frame in dataset:
        write_objects(folder / f"{frame.frame_id}.txt", Boxes2d.from_objects(frame.objects()).to_objects())
    return folder
