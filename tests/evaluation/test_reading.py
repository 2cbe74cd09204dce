"""Many files in one pass: the same as one after the other, to the last digit, and the same errors."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.evaluation import StackedObjects, read_frames
from pseudolidar.files import FormatError
from pseudolidar.kitti import Objects, read_objects
from tests.evaluation.scenes import detection, label, objects

NUMBERS = "Car 0.00 1 1.85 387.63 181.54 423.81 203.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57"


def assert_same(ours: Objects, theirs: Objects) -> None:
    assert ours.class_name.tolist() == theirs.class_name.tolist()
    for name in ("truncation", "occlusion", "alpha", "box2d", "box3d", "score"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)


def lines_of(*words: str) -> str:
    """A result line with these words for x, y, z, ry and score."""
    return " ".join([*NUMBERS.split()[:11], *words])


decimals = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-1e4, 1e4).map(lambda value: f"{value:.4f}"),
    st.floats(-1e4, 1e4).map(lambda value: f"{value:.18e}"),
    st.floats(-128, 1024, width=32).map(lambda value: f"{value:.9g}"),
    # Digits around 2^53, 10^19 and halfway between two doubles.
    st.tuples(st.integers(0, 10**20), st.integers(0, 22)).map(lambda n: f"{n[0]}e-{n[1]}"),
    st.integers(2**53, 2**54).map(lambda whole: f"{2 * whole + 1}"),
    st.sampled_from(["1.", ".5", "+3", "-0", "00.10", "1E+2", "1_0", "7e22", "7e23", "1e-30", "0e9999", "0.1e-320"]),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.lists(decimals, min_size=5, max_size=5), min_size=1, max_size=4))
def test_every_number_to_the_last_bit(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]) -> None:
    path = tmp_path_factory.mktemp("numbers") / "000000.txt"
    path.write_text("\n".join(lines_of(*row) for row in rows))
    try:
        theirs = read_objects(path, scored=True)
    except FormatError as error:
        with pytest.raises(FormatError, match="expected a finite number"):
            read_frames([str(path)], scored=True)
        assert "finite" in str(error)
    else:
        assert_same(read_frames([str(path)], scored=True)[0], theirs)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n \t \n",
        f"{NUMBERS} 1\n\n{NUMBERS} 2",
        f"{NUMBERS} 1\r\n  \r\n\t{NUMBERS.replace(' ', chr(9))}   2 \r\n",
        f"{NUMBERS.replace('Car', 'CYCLIST')} 1\n{NUMBERS.replace('Car', 'person_Sitting')} 2\n",
        f"{NUMBERS.replace('Car', 'Carriage')} 1\n{NUMBERS.replace('Car', 'A_class_with_a_name_of_its_own')} 2",
        # Old Macintosh line ends, a form feed, a letter beyond ASCII.
        f"{NUMBERS} 1\r{NUMBERS} 2\r",
        f"{NUMBERS} 1\x0c{NUMBERS} 2\n",
        f"{NUMBERS.replace('Car', 'Straßenbahn')} 1\n",
        f"{NUMBERS.replace('1.67 1.87 3.69', '-1 -1 -1')} 1\n",
    ],
)
def test_unusual_files(tmp_path: Path, text: str) -> None:
    plain, odd = tmp_path / "plain.txt", tmp_path / "odd.txt"
    plain.write_text(f"{NUMBERS} 3\n")
    odd.write_bytes(text.encode())
    frames = read_frames([str(plain), str(odd), None, str(plain)], scored=True)
    assert len(frames) == 4
    for frame, path in ((0, plain), (1, odd), (3, plain)):
        assert_same(frames[frame], read_objects(path, scored=True))
    assert len(frames[2]) == 0
    numbered = [i for i, line in enumerate(odd.read_bytes().decode().splitlines(), start=1) if line.split()]
    assert frames.line[frames.start[1] : frames.start[2]].tolist() == numbered


@pytest.mark.parametrize(
    "bad",
    [
        NUMBERS,
        f"{NUMBERS} 1 2",
        f"{NUMBERS} nan",
        f"{NUMBERS} 1x",
        f"{NUMBERS} .",
        f"{NUMBERS} 1e",
        f"{NUMBERS} --1",
        f"7{NUMBERS} 1",
        f"{NUMBERS.replace('0.00 1 ', '0.00 1.5 ')} 1",
        f"{NUMBERS.replace('387.63', '487.63')} 1",
        f"{NUMBERS.replace('181.54', '281.54')} 1",
        f"{NUMBERS.replace('3.69', '0')} 1",
        f"{NUMBERS.replace('1.67 1.87 3.69', '0 0 0')} 1",
        f"{NUMBERS.replace('1.67 1.87 3.69', '-1 -2 -1')} 1",
    ],
)
def test_the_same_errors(tmp_path: Path, bad: str) -> None:
    plain, broken = tmp_path / "plain.txt", tmp_path / "broken.txt"
    plain.write_text(f"{NUMBERS} 3\n")
    broken.write_text(f"{NUMBERS} 3\n\n{bad}\n")
    with pytest.raises(FormatError) as expected:
        read_objects(broken, scored=True)
    with pytest.raises(FormatError) as caught:
        read_frames([str(plain), str(broken), str(plain)], scored=True)
    assert str(caught.value) == str(expected.value) and "line 3" in str(caught.value)


def test_a_file_larger_than_the_buffer_and_many_small_ones(tmp_path: Path) -> None:
    large, small = tmp_path / "large.txt", tmp_path / "small.txt"
    large.write_text("".join(f"{NUMBERS} {score}\n" for score in range(30000)))
    small.write_text(f"{NUMBERS} 7\n")
    frames = read_frames([str(small)] * 300 + [str(large)] + [str(small)] * 300, scored=True)
    scores = frames.objects.score
    assert scores is not None
    assert scores.tolist() == [7.0] * 300 + list(range(30000)) + [7.0] * 300
    assert frames.line[300:-300].tolist() == list(range(1, 30001))


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="nothing there"):
        read_frames([str(tmp_path / "none.txt")], scored=False)
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(FormatError, match="no regular file"):
        read_frames([str(tmp_path / "folder.txt")], scored=False)


def test_stacked_objects_are_a_sequence_of_frames() -> None:
    frames = [objects(label(), label(x=9)), Objects.empty(), objects(label(x=5))]
    stacked = StackedObjects.stack(frames, scored=False)
    assert [len(frame) for frame in stacked] == [2, 0, 1] and len(stacked[:2]) == 2
    assert stacked[-1].box3d[0, 0] == 5 and stacked.frame.tolist() == [0, 0, 2] and stacked.line.tolist() == [1, 2, 1]
    near = stacked.where(stacked.objects.box3d[:, 0] < 6)
    assert [len(frame) for frame in near] == [1, 0, 1] and near.line.tolist() == [1, 1]
    with pytest.raises(IndexError):
        stacked[3]
    assert StackedObjects.stack(stacked, scored=False) is stacked
    assert StackedObjects.stack([objects(detection(), scored=True)], scored=True).objects.score is not None


def test_real_files(kitti_sample: Path) -> None:
    folder = kitti_sample / "evaluation"
    for name, scored in (("label_2", False), ("results", True)):
        paths = sorted((folder / name).iterdir())[:200]
        for ours, path in zip(read_frames([str(path) for path in paths], scored), paths, strict=True):
            assert_same(ours, read_objects(path, scored))
