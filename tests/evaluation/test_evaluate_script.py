"""Folders against folders: which frames count, what is refused, and the script around it."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from pseudolidar.evaluation import evaluate_folders
from pseudolidar.files import FormatError
from pseudolidar.kitti import Objects, write_objects
from tests.conftest import RunHere
from tests.evaluation.scenes import AWAY, detection, label, objects


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two frames with a car each; the car of the second is missed."""
    labels, results = tmp_path / "label_2", tmp_path / "results"
    write_objects(labels / "000000.txt", objects(label()))
    write_objects(labels / "000001.txt", objects(label(box2d=AWAY, x=20)))
    write_objects(results / "000000.txt", objects(detection(), scored=True))
    write_objects(results / "000001.txt", Objects.empty(scored=True))
    return labels, results


def refusal(folders: tuple[Path, Path], **options: object) -> str:
    with pytest.raises(FormatError) as caught:
        evaluate_folders(*folders, **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_all_labelled_frames_or_those_of_a_split(folders: tuple[Path, Path], tmp_path: Path) -> None:
    assert evaluate_folders(*folders).ap("Car", "3d", "easy") == pytest.approx(50.0)
    split = tmp_path / "val.txt"
    split.write_text("000000\n")
    evaluation = evaluate_folders(*folders, split_file=split)
    assert (evaluation.frame_count, evaluation.ap("Car", "3d", "easy")) == (1, pytest.approx(100.0))
    split.write_text("000000\n000007\n")
    assert "entry 2: found 000007" in refusal(folders, split_file=split)


def test_detections_that_the_protocol_leaves_out_are_said_once(
    folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    low = (100.0, 100.0, 130.0, 110.0)
    evaluate_folders(*folders)
    write_objects(folders[1] / "000001.txt", objects(detection(box2d=low), scored=True))
    evaluate_folders(*folders)
    # One of two is nothing unusual.
    assert not caplog.messages
    for frame in ("000000", "000001"):
        write_objects(folders[1] / f"{frame}.txt", objects(*[detection(box2d=low)] * 3, scored=True))
    assert evaluate_folders(*folders).ap("Car", "3d", "hard") == 0.0
    assert re.search(r"results: 6 of 6 detections are left out.*lower than 25 px", caplog.messages[0])
    # Boxes of nothing are said even where they are few; other classes, and difficulties without a limit, aren't.
    caplog.clear()
    flat = detection(box2d=(0.0, 0.0, 0.0, 0.0))
    write_objects(folders[1] / "000001.txt", objects(*[detection()] * 5, flat, scored=True))
    evaluate_folders(*folders)
    assert (
        len(caplog.messages) == 1 and "4 of 9 detections" in caplog.messages[0] and "1 have none" in caplog.messages[0]
    )
    caplog.clear()
    evaluate_folders(*folders, classes=("Pedestrian",))
    evaluate_folders(*folders, difficulties=("all",))
    assert not caplog.messages


def test_missing_result_file(folders: tuple[Path, Path]) -> None:
    (folders[1] / "000001.txt").unlink()
    message = refusal(folders)
    assert "000001.txt" in message and "1 of 2 frames" in message and "missing_results=empty" in message
    assert evaluate_folders(*folders, missing_results="empty").ap("Car", "3d", "easy") == pytest.approx(50.0)
    with pytest.raises(ValueError, match="missing_results: found 'ignore'"):
        evaluate_folders(*folders, missing_results="ignore")


def test_testing_has_no_labels(folders: tuple[Path, Path], tmp_path: Path) -> None:
    assert "testing/ has no labels" in refusal((tmp_path / "testing" / "label_2", folders[1]))


def test_results_for_an_unknown_frame(folders: tuple[Path, Path]) -> None:
    write_objects(folders[1] / "000009.txt", Objects.empty(scored=True))
    assert "000009" in refusal(folders)
    assert "000009" in refusal(folders, missing_results="empty")


LINE = "Car -1 -1 0.0 100 100 150 150 1.5 1.6 3.9 0.0 1.5 10.0 0.0 0.9"


@pytest.mark.parametrize(
    ("line", "place", "found"),
    [
        (LINE.rsplit(" ", 1)[0], "line 2", "15 fields"),
        (LINE.replace("3.9", "long"), "line 2, field 11 (length)", "found long"),
        (LINE.replace("0.9", "nan"), "line 2, field 16 (score)", "found nan"),
        (LINE.replace("Car", "0"), "line 2, field 1 (type)", "found 0"),
    ],
)
def test_bad_result_lines(folders: tuple[Path, Path], line: str, place: str, found: str) -> None:
    (folders[1] / "000001.txt").write_text(f"{LINE}\n{line}\n")
    message = refusal(folders)
    assert "000001.txt" in message and place in message and found in message


def test_no_such_folders(folders: tuple[Path, Path], tmp_path: Path) -> None:
    assert "nothing there" in refusal((folders[0], tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    assert "no .txt files" in refusal((tmp_path / "empty", folders[1]))


@pytest.fixture
def run(run_here: RunHere, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunHere:
    """A script in `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    return run_here


def test_script(folders: tuple[Path, Path], run: RunHere, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    given = (f"labels={folders[0]}", f"results={folders[1]}", "output=out/ap.json")
    done = run("evaluate", *given, "difficulties=[all]", "depth_range=[0,20]", "min_overlap={Car: {3d: 0.5}}")
    assert done.status == 0, done.err
    for word in ("AP11", "AP40", "Pedestrian", "50.00", "0 < z <= 20 m"):
        assert word in done.out
    table = json.loads((work / "out" / "ap.json").read_text())
    assert list(table) == ["Car", "Pedestrian", "Cyclist"]
    assert list(table["Car"]) == ["bbox", "aos", "bev", "3d"]
    assert table["Car"]["3d"]["AP40"] == [50.0]
    assert table["Cyclist"]["bev"]["AP11"] == [None]
    # Nothing but the output: Hydra keeps no folders of its own.
    assert [path.name for path in work.rglob("*")] == ["out", "ap.json"]


def test_script_with_everything_it_writes(folders: tuple[Path, Path], run: RunHere, tmp_path: Path) -> None:
    files = ("csv=out/ap.csv", "figure=out/curves.svg", "outcomes=out/outcomes.csv", "bootstrap=20", "confidence=0.9")
    done = run("evaluate", f"labels={folders[0]}", f"results={folders[1]}", "output=out/ap.json", *files)
    assert done.status == 0, done.err
    assert "with 90% intervals" in done.out and "50.00 [0.00, 100.00]" in done.out
    car = json.loads((tmp_path / "out" / "ap.json").read_text())["Car"]["3d"]
    assert car["AP40"] == [50.0] * 3 and car["AP40_interval"] == [[0.0, 100.0]] * 3
    rows = list(csv.DictReader((tmp_path / "out" / "ap.csv").open()))
    assert len(rows) == 3 * 4 * 3 * 2
    row = next(row for row in rows if row["view"] == "3d" and row["metric"] == "AP40")
    assert list(row.values()) == ["Car", "3d", "easy", "AP40", "0.7", "2", "50.0", "0.0", "100.0"]
    assert "<svg" in (tmp_path / "out" / "curves.svg").read_text()
    outcomes = (tmp_path / "out" / "outcomes.csv").read_text()
    assert "000000,Car,3d,hard,matched,1,1,1.0,1.0\n000001,Car,3d,hard,missed,1,,0.0,\n" in outcomes


def test_compare_script(folders: tuple[Path, Path], run: RunHere, tmp_path: Path) -> None:
    labels, a = folders
    b = tmp_path / "b"
    for frame, found in (("000000", detection()), ("000001", detection(box2d=AWAY, x=20))):
        write_objects(b / f"{frame}.txt", objects(found, scored=True))
    given = (f"labels={labels}", f"a={a}", f"b={b}", "bootstrap=200", "classes=[Car]", "difficulties=[easy]")
    done = run("compare", *given, "output=difference.json", "csv=difference.csv")
    assert done.status == 0, done.err
    assert "+50.00 [0.00, 100.00]" in done.out and "excludes 0" in done.out
    table = json.loads((tmp_path / "difference.json").read_text())
    assert (table["confidence"], table["replicates"], list(table["classes"])) == (0.95, 200, ["Car"])
    # A quarter of the drawn pairs of frames is the first frame twice (found by both), a quarter the second.
    expected = {"a": [50.0], "b": [100.0], "difference": [50.0], "interval": [[0.0, 100.0]]}
    assert table["classes"]["Car"]["3d"]["AP40"] == expected
    rows = list(csv.DictReader((tmp_path / "difference.csv").open()))
    assert len(rows) == 4 * 2 and rows[-1]["difference"] == "50.0"
    better = run("compare", *given, "confidence=0.2").out
    assert sum(line.endswith("  *") for line in better.splitlines()) == 8


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("results=nowhere",), "nowhere"),
        (("difficulties=[simple]",), "simple"),
        (("min_overlap=tight",), "'tight', expected standard, loose"),
        (("bootstrap=0",), "replicates: found 0"),
    ],
)
def test_script_ends_in_one_line(
    folders: tuple[Path, Path], run: RunHere, tmp_path: Path, arguments: tuple[str, ...], word: str
) -> None:
    done = run("evaluate", f"labels={folders[0]}", f"results={folders[1]}", "output=ap.json", *arguments)
    assert done.status == 2
    assert word in done.err and len(done.err.splitlines()) == 1
    assert not (tmp_path / "ap.json").exists()


@pytest.mark.parametrize(
    ("line", "place"),
    [
        (LINE.rsplit(" ", 1)[0], "000001.txt: line 2: found 15 fields"),
        (LINE.replace("3.9", "long"), "000001.txt: line 2, field 11 (length): found long"),
        (LINE.replace("0.9", "NaN"), "000001.txt: line 2, field 16 (score): found NaN"),
        (LINE.replace("1.5 1.6 3.9", "0 0 0"), "000001.txt: line 2, fields 9 to 11 (height, width, length): found 0 0"),
        (None, "000001.txt: file: found nothing there (1 of 2 frames have no result file)"),
    ],
)
def test_both_scripts_name_what_is_wrong(
    folders: tuple[Path, Path], run: RunHere, tmp_path: Path, line: str | None, place: str
) -> None:
    labels, good = folders
    bad = tmp_path / "bad"
    shutil.copytree(good, bad)
    if line is None:
        (bad / "000001.txt").unlink()
    else:
        (bad / "000001.txt").write_text(f"{LINE}\n{line}\n")
    alone = run("evaluate", f"labels={labels}", f"results={bad}", "output=ap.json")
    paired = run("compare", f"labels={labels}", f"a={good}", f"b={bad}")
    for done in (alone, paired):
        assert done.status == 2 and place in done.err and len(done.err.splitlines()) == 1
    if line is None:
        assert "missing_results=empty" in alone.err
        again = run("evaluate", f"labels={labels}", f"results={bad}", "output=ap.json", "missing_results=empty")
        assert again.status == 0, again.err
