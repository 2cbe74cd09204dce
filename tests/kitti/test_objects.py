"""Labels and results: real files, round trips, corners, and lines that are refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.files import FormatError
from pseudolidar.kitti import CLASSES, Objects, box3d_corners, read_objects, write_objects

LABEL = "Car 0.00 1 1.85 387.63 181.54 423.81 203.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57"
REGION = "DontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10"


def read_text(folder: Path, text: str, scored: bool = False) -> Objects:
    path = folder / "000000.txt"
    path.write_text(text)
    return read_objects(path, scored)


def test_fields_go_where_they_belong(tmp_path: Path) -> None:
    objects = read_text(tmp_path, f"{LABEL}\n\n{REGION}\n")
    assert objects.class_name.tolist() == ["Car", "DontCare"]
    assert (objects.truncation[0], objects.occlusion[0], objects.alpha[0]) == (0.0, 1, 1.85)
    assert objects.box2d[0].tolist() == [387.63, 181.54, 423.81, 203.12]
    assert objects.box3d[0].tolist() == [-16.53, 2.39, 58.49, 1.67, 1.87, 3.69, 1.57]
    assert objects.score is None
    scored = read_text(tmp_path, f"{LABEL} -0.25\n", scored=True)
    assert scored.score is not None and scored.score.tolist() == [-0.25]


def test_case_does_not_matter_and_own_classes_stay(tmp_path: Path) -> None:
    text = "".join(LABEL.replace("Car", name) + "\n" for name in ("car", "PEDESTRIAN", "Person", "Bus"))
    assert read_text(tmp_path, text).class_name.tolist() == ["Car", "Pedestrian", "Person", "Bus"]


def test_empty_scene(tmp_path: Path) -> None:
    for scored in (False, True):
        write_objects(tmp_path / "empty.txt", Objects.empty(scored))
        assert (tmp_path / "empty.txt").read_bytes() == b""
        objects = read_objects(tmp_path / "empty.txt", scored)
        assert len(objects) == 0 and (objects.score is not None) == scored
        assert objects.box3d.shape == (0, 7)
    assert len(Objects.concatenate([])) == 0
    assert box3d_corners(Objects.empty().box3d).shape == (0, 8, 3)


number = st.floats(-900, 900).map(lambda value: round(value, 2) + 0.0)
size = st.floats(0.01, 20).map(lambda value: max(round(value, 2), 0.01))


@st.composite
def scenes(draw: st.DrawFn, scored: bool) -> Objects:
    count = draw(st.integers(1, 4))
    boxes2d = np.sort([[[draw(number) for _ in range(2)] for _ in range(2)] for _ in range(count)], axis=1)
    return Objects(
        np.array([draw(st.sampled_from(CLASSES)) for _ in range(count)]),
        np.array([draw(number) for _ in range(count)]),
        np.array([draw(st.integers(-1, 3)) for _ in range(count)]),
        np.array([draw(number) for _ in range(count)]),
        boxes2d.reshape(count, 4),
        np.array([[draw(number)] * 3 + [draw(size) for _ in range(3)] + [draw(number)] for _ in range(count)]),
        np.array([draw(number) for _ in range(count)]) if scored else None,
    )


@settings(deadline=None, max_examples=40)
@given(st.booleans().flatmap(lambda scored: scenes(scored)))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, objects: Objects) -> None:
    path = tmp_path_factory.mktemp("objects") / "000000.txt"
    write_objects(path, objects)
    again = read_objects(path, scored=objects.score is not None)
    assert again.class_name.tolist() == objects.class_name.tolist()
    for name in ("truncation", "occlusion", "alpha", "box2d", "box3d", "score"):
        if getattr(objects, name) is not None:
            np.testing.assert_allclose(getattr(again, name), getattr(objects, name), atol=1e-9)


def changed(field: int, word: str, scored: bool = False) -> str:
    words = (LABEL + " 0.9" if scored else LABEL).split()
    words[field - 1] = word
    return " ".join(words)


@pytest.mark.parametrize(
    ("line", "scored", "place", "found"),
    [
        (LABEL.rsplit(" ", 1)[0], False, "line 2", "14 fields"),
        (LABEL + " 0.9", False, "line 2", "16 fields"),
        (LABEL, True, "line 2", "15 fields"),
        (changed(1, "0"), False, "line 2, field 1 (type)", "0"),
        (changed(3, "0.5"), False, "line 2, field 3 (occluded)", "0.5"),
        (changed(3, "1e30"), False, "line 2, field 3 (occluded)", "1e30"),
        (changed(4, "left"), False, "line 2, field 4 (alpha)", "left"),
        (changed(14, "inf"), False, "line 2, field 14 (z)", "inf"),
        (changed(16, "NaN", True), True, "line 2, field 16 (score)", "NaN"),
        (changed(7, "300"), False, "line 2, fields 5 to 8 (bbox)", "387.63 181.54 300 203.12"),
        (changed(11, "0"), False, "line 2, fields 9 to 11 (height, width, length)", "1.67 1.87 0"),
        (changed(9, "-1.67"), False, "line 2, fields 9 to 11 (height, width, length)", "-1.67 1.87 3.69"),
    ],
)
def test_refused_lines(tmp_path: Path, line: str, scored: bool, place: str, found: str) -> None:
    good = LABEL + " 0.5" if scored else LABEL
    with pytest.raises(FormatError) as caught:
        read_text(tmp_path, f"{good}\n{line}\n", scored)
    assert (caught.value.place, str(caught.value.found)) == (place, found)
    assert str(tmp_path / "000000.txt") in str(caught.value)


def test_labels_without_3d_boxes(tmp_path: Path) -> None:
    flat = LABEL.replace("1.67 1.87 3.69", "{0} {0} {0}")
    assert len(read_text(tmp_path, f"{flat.format(-1)}\n{flat.format(0)}\n")) == 2
    # A detection of no size at all is a mistake.
    with pytest.raises(FormatError, match="positive sizes"):
        read_text(tmp_path, f"{flat.format(0)} 0.5\n", scored=True)


def test_what_is_not_written(tmp_path: Path) -> None:
    objects = read_text(tmp_path, f"{LABEL}\n")
    objects.box3d[0, 3] = np.nan
    with pytest.raises(ValueError, match="box3d: found NaN"):
        write_objects(tmp_path / "out.txt", objects)
    two_words = Objects(np.array(["Big car"]), *(np.zeros((1, *shape)) for shape in ((), (), (), (4,), (7,))))
    with pytest.raises(ValueError, match="'Big car'"):
        write_objects(tmp_path / "out.txt", two_words)
    assert [path.name for path in tmp_path.iterdir()] == ["000000.txt"]


def test_masks_and_concatenation(tmp_path: Path) -> None:
    objects = read_text(tmp_path, f"{LABEL}\n{REGION}\n")
    both = Objects.concatenate([objects[objects.class_name == "Car"], Objects.empty(), objects[np.array([1])]])
    assert both.class_name.tolist() == ["Car", "DontCare"]
    with pytest.raises(ValueError, match="scores"):
        Objects.concatenate([objects, read_text(tmp_path, f"{LABEL} 1\n", scored=True)])
    with pytest.raises(ValueError, match="box2d: found shape"):
        Objects(objects.class_name, objects.truncation, objects.occlusion, objects.alpha, np.zeros((2, 5)), both.box3d)


def test_corners() -> None:
    box = np.array([[10.0, 2.0, 20.0, 1.5, 1.6, 4.0, 0.0], [0.0, 2.0, 20.0, 1.5, 1.6, 4.0, np.pi / 2]])
    straight, turned = box3d_corners(box)
    np.testing.assert_allclose(straight[0], [12.0, 2.0, 20.8])
    np.testing.assert_allclose(straight[2], [8.0, 2.0, 19.2])
    np.testing.assert_allclose(straight[4:], straight[:4] - [0, 1.5, 0])
    # A quarter turn about y (down) takes the length from x to -z.
    np.testing.assert_allclose(turned[0], [0.8, 2.0, 18.0])


def test_corners_of_real_labels_project_onto_their_2d_boxes(kitti_sample: Path) -> None:
    from pseudolidar.kitti import ObjectDataset

    for frame in ObjectDataset(kitti_sample / "object"):
        objects = frame.objects()
        height, width = frame.left_image().shape[:2]
        for i in np.flatnonzero(objects.class_name != "DontCare"):
            pixels, _ = frame.calibration.rect_to_image(box3d_corners(objects.box3d[i])[0])
            projected = np.array([*pixels.min(axis=0), *pixels.max(axis=0)])
            # The corners of a box stand out a little from what is seen of a pedestrian or a bicycle.
            assert abs(np.clip(projected, 0, [width, height] * 2) - objects.box2d[i]).max() < 16


def test_real_results(kitti_sample: Path) -> None:
    folder = kitti_sample / "evaluation"
    objects = read_objects(folder / "results" / "000000.txt", scored=True)
    assert objects.class_name[0] == "Car" and objects.score is not None and objects.score[0] == 8.2981
    assert "DontCare" in read_objects(folder / "label_2" / "000000.txt", scored=False).class_name
