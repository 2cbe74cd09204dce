"""Text files of other editors and tools: one reader for all of KITTI's, and the evaluator's own agrees with it."""

import codecs
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.detectors.boxes2d import read_detections_file
from pseudolidar.evaluation import read_frames
from pseudolidar.files import FormatError, read_lines
from pseudolidar.kitti import Calibration, read_objects, read_split

LABEL = "Car 0.00 1 1.85 387.63 181.54 423.81 203.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57"
MATRIX = "700 0 600 {} 0 700 180 0 0 0 1 0"
TEXTS = {
    "calibration": ["calib_time: 09-Jan-2012", f"P2: {MATRIX.format(0)}", f"P3: {MATRIX.format(-378)}"],
    "labels": [LABEL, LABEL.replace("Car", "Pedestrian")],
    "results": [f"{LABEL} 0.5", f"{LABEL} 0.25"],
    "split": ["000003", "000001"],
    "detections": ["image_2/000003.png 2 0.5 1 2 3 4", "image_2/000001.png 1 0.25 1 2 3 4"],
}
ENCODINGS = {
    "plain": ("utf-8", b""),
    "utf-8": ("utf-8", codecs.BOM_UTF8),
    "utf-16-le": ("utf-16-le", codecs.BOM_UTF16_LE),
    "utf-16-be": ("utf-16-be", codecs.BOM_UTF16_BE),
    "utf-32-le": ("utf-32-le", codecs.BOM_UTF32_LE),
}


def read(kind: str, path: Path) -> object:
    """What the file holds, as plain values."""
    if kind == "calibration":
        return Calibration.from_file(path).P3.tolist()
    if kind == "split":
        return read_split(path)
    if kind == "detections":
        found = read_detections_file(path)
        return {name: (one.class_name.tolist(), one.box2d.tolist()) for name, one in found.items()}
    return read_objects(path, scored=kind == "results").box3d.tolist()


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_other_editors(tmp_path: Path, kind: str, encoding: str, end: str) -> None:
    plain, other = tmp_path / "plain.txt", tmp_path / "other.txt"
    plain.write_text("\n".join(TEXTS[kind]))
    codec, mark = ENCODINGS[encoding]
    text = end.join(["", *(line for one in TEXTS[kind] for line in (f"  {one}\t ", "", " \t")), "", ""])
    other.write_bytes(mark + text.encode(codec))
    assert read(kind, other) == read(kind, plain)


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_errors_name_file_and_line(tmp_path: Path, kind: str, encoding: str) -> None:
    path = tmp_path / "other.txt"
    codec, mark = ENCODINGS[encoding]
    bad = {"calibration": "P0: 1\r\rP2: 1 2", "split": "a b"}.get(kind, "Car 1 2")
    path.write_bytes(mark + "\r\n".join(["", TEXTS[kind][0], "", bad]).encode(codec))
    with pytest.raises(FormatError, match=rf"other\.txt: line {6 if kind == 'calibration' else 4}\b"):
        read(kind, path)


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("content", [b"C\0a\0r\0", b"\0" * 100])
def test_nul_characters(tmp_path: Path, kind: str, content: bytes) -> None:
    path = tmp_path / "other.txt"
    path.write_bytes(b"\n" + content)
    with pytest.raises(FormatError, match=r"line 2: found NUL characters.*UTF-8"):
        read(kind, path)


def test_lines_are_numbered_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "some.txt"
    path.write_bytes("\ufeff\r\na\r\n\r\n \xa0\n b c \r".encode())
    assert list(read_lines(path, "lines")) == [(2, "a"), (5, "b c")]
    with pytest.raises(FormatError, match=r"none\.txt: file: found nothing there, expected lines"):
        read_lines(tmp_path / "none.txt", "lines")


@st.composite
def mangled(draw: st.DrawFn) -> tuple[bytes, bool]:
    """A label or result file, now and then with something wrong, as some editor left it."""
    scored = draw(st.booleans())
    fields = LABEL.split() + ["0.5"] * scored
    end = st.sampled_from(["\n", "\n", "\r\n", "\r", "\n\n", " \n", "\t\r\n", "\x0c", "\x85", "\u2028", "\n\x1a", "\0"])
    space = st.sampled_from([" ", " ", " ", "\t", "  ", "\x0b", "\xa0", "\u3000"])
    odd = st.sampled_from(["nan", "1e400", "1_0", "-", "", "x", "٣", "0x1", "Ä", "1.5", "-1", "+7.", "\ufeff1", "1,5"])
    text = draw(st.sampled_from(["", "", "", "\n", " \r\n"]))
    for _ in range(draw(st.integers(0, 4))):
        words = list(fields)
        if draw(st.integers(0, 5)) == 0:
            words[draw(st.integers(0, len(words) - 1))] = draw(odd)
        between = draw(space)
        text += between.join(words) + draw(end)
    codec, mark = ENCODINGS[draw(st.sampled_from(["plain", "plain", *ENCODINGS]))]
    content = mark + text.encode(codec)
    if draw(st.integers(0, 7)) == 0:
        content = (
            content[: draw(st.integers(0, len(content)))] + b"\xff" + content[draw(st.integers(0, len(content))) :]
        )
    return content, scored


@settings(deadline=None, max_examples=300)
@given(mangled())
def test_the_evaluators_reader_agrees(tmp_path_factory: pytest.TempPathFactory, file: tuple[bytes, bool]) -> None:
    content, scored = file
    folder = tmp_path_factory.mktemp("mangled")
    path, plain = folder / "odd.txt", folder / "plain.txt"
    path.write_bytes(content)
    plain.write_text("\n".join(TEXTS["results" if scored else "labels"]))
    paths = [str(plain), str(path), str(plain)]
    try:
        expected = read_objects(path, scored)
    except FormatError as error:
        with pytest.raises(FormatError) as caught:
            read_frames(paths, scored)
        assert str(caught.value) == str(error)
        return
    frames = read_frames(paths, scored)
    numbers = [number for number, _ in read_lines(path, "lines")]
    assert frames.line[frames.start[1] : frames.start[2]].tolist() == numbers
    for name in ("class_name", "truncation", "occlusion", "alpha", "box2d", "box3d", "score"):
        np.testing.assert_array_equal(getattr(frames[1], name), getattr(expected, name), err_msg=name)
