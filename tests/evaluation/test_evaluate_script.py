"""Folders against folders: which frames count, what is refused, and the script around it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pseudolidar.evaluation import evaluate_folders
from pseudolidar.kitti import FormatError, Objects, write_objects
from tests.evaluation.scenes import AWAY, detection, label, objects

SCRIPT = Path(__file__).parents[2] / "scripts" / "evaluate.py"


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


def test_missing_result_file(folders: tuple[Path, Path]) -> None:
    (folders[1] / "000001.txt").unlink()
    message = refusal(folders)
    assert "000001.txt" in message and "1 of 2 frames" in message and "missing_results=empty" in message
    assert evaluate_folders(*folders, missing_results="empty").ap("Car", "3d", "easy") == pytest.approx(50.0)
    with pytest.raises(ValueError, match="missing_results: found 'ignore'"):
        evaluate_folders(*folders, missing_results="ignore")


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


def run(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_script(folders: tuple[Path, Path], tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    given = (f"labels={folders[0]}", f"results={folders[1]}", "output=out/ap.json")
    done = run(work, *given, "difficulties=[all]", "depth_range=[0,20]", "min_overlap={Car: {3d: 0.5}}")
    assert done.returncode == 0, done.stderr
    for word in ("AP11", "AP40", "Pedestrian", "50.00", "0 < z <= 20 m"):
        assert word in done.stdout
    table = json.loads((work / "out" / "ap.json").read_text())
    assert list(table) == ["Car", "Pedestrian", "Cyclist"]
    assert list(table["Car"]) == ["bbox", "aos", "bev", "3d"]
    assert table["Car"]["3d"]["AP40"] == [50.0]
    assert table["Cyclist"]["bev"]["AP11"] == [None]
    # Nothing but the output: Hydra keeps no folders of its own.
    assert [path.name for path in work.rglob("*")] == ["out", "ap.json"]


@pytest.mark.parametrize(
    ("arguments", "word"), [(("results=nowhere",), "nowhere"), (("difficulties=[simple]",), "simple")]
)
def test_script_ends_in_one_line(
    folders: tuple[Path, Path], tmp_path: Path, arguments: tuple[str, ...], word: str
) -> None:
    done = run(tmp_path, f"labels={folders[0]}", f"results={folders[1]}", "output=ap.json", *arguments)
    assert done.returncode == 2
    assert word in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "ap.json").exists()
