"""The evaluation benchmark: ten copies of each frame, the parts of the whole, the official tool where it is given."""

import sys
from pathlib import Path

import numpy as np
import pytest

from pseudolidar.benchmarks.evaluation import copy_frames, evaluation_table, main, timed
from pseudolidar.evaluation import evaluate_folders
from pseudolidar.files import FormatError
from pseudolidar.kitti import write_objects
from tests.evaluation.scenes import random_frame


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    for frame in range(4):
        labels, results = random_frame(rng)
        write_objects(tmp_path / "label_2" / f"{frame:06d}.txt", labels)
        write_objects(tmp_path / "results" / f"{frame:06d}.txt", results)
    return tmp_path / "label_2", tmp_path / "results"


def test_ten_copies_have_ten_times_the_objects(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for folder in folders:
        copy_frames(folder, tmp_path / "many" / folder.name)
    once = evaluate_folders(*folders, difficulties=("all",))
    many = evaluate_folders(tmp_path / "many" / "label_2", tmp_path / "many" / "results", difficulties=("all",))
    assert (once.frame_count, many.frame_count) == (4, 40)
    for key, curve in once.curves.items():
        assert many.curves[key].object_count == 10 * curve.object_count
    with pytest.raises(FormatError, match="nothing there"):
        copy_frames(tmp_path / "none", tmp_path / "copies")


def test_parts_make_up_the_whole(folders: tuple[Path, Path], tmp_path: Path) -> None:
    tool = tmp_path / "official"
    tool.write_text('#!/bin/sh\ntest -f "$1/000003.txt" && test -f "$2/data/000003.txt"\n')
    tool.chmod(0o755)
    table = evaluation_table(*folders, official=str(tool), repetitions=1)
    milliseconds = {}
    for row in table.rows:
        assert row.cells[1] is None or isinstance(row.cells[1], float)
        milliseconds[str(row.cells[0]).strip()] = row.cells[1] or 0.0
    whole, *parts = list(milliseconds.values())[:5]
    assert whole == pytest.approx(sum(parts)) and min(parts) > 0
    assert list(milliseconds)[-1] == "official tool" and "4 frames" in table.caption
    assert "times as fast as the official tool" in table.notes[-1]
    peak = table.rows[0].cells[2]
    assert isinstance(peak, float) and 50 < peak < 1000


def test_a_program_that_fails_and_folders_that_are_not_given() -> None:
    with pytest.raises(ValueError, match=r"exit code 3 \(broken\), expected 0"):
        timed([sys.executable, "-c", "import sys; print('broken', file=sys.stderr); sys.exit(3)"])
    with pytest.raises(ValueError, match="labels=DIR results=DIR"):
        main()
