"""What became of each object and detection, and the files that say so."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.evaluation import evaluate, object_outcomes, read_frames, write_outcomes
from tests.evaluation.scenes import AWAY, detection, label, objects, random_frame

FAR = (900.0, 100.0, 950.0, 150.0)
REGION = ("DontCare", -1, -1, -10, (880.0, 90.0, 990.0, 200.0), (-1000, -1000, -1000, -1, -1, -1, -10))


def test_matched_missed_and_false() -> None:
    labels = objects(REGION, label(), label(box2d=AWAY, x=20), label("Van", (700, 100, 750, 150), x=40))
    results = objects(
        detection(box2d=(100, 100, 150, 160), score=0.9),
        detection(box2d=(500, 100, 550, 200), x=20, score=0.8),  # half of the second car
        detection(box2d=(700, 100, 750, 150), x=40, score=0.7),  # a van
        detection(box2d=FAR, x=60, score=0.6),  # in a region
        detection("Pedestrian", (300, 100, 350, 150), x=80, score=0.5),
        scored=True,
    )
    evaluation = evaluate([labels], [results], difficulties=("easy",), frame_ids=["000007"])
    found = [one for one in object_outcomes(evaluation) if one.view == "bbox"]
    assert [(one.class_name, one.outcome, one.label_line, one.result_line) for one in found] == [
        ("Car", "matched", 2, 1),
        ("Car", "missed", 3, None),
        ("Car", "false", None, 2),
        ("Pedestrian", "false", None, 5),
    ]
    assert {one.frame for one in found} == {"000007"}
    assert [round(one.iou, 3) for one in found] == [0.833, 0.5, 0.5, 0.0]
    assert [one.score for one in found] == [0.9, None, 0.8, 0.5]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_they_add_up_to_the_last_point_of_the_curve(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, results = zip(*(random_frame(rng) for _ in range(6)), strict=True)
    evaluation = evaluate(labels, results, difficulties=("easy", "hard", "all"))
    counted: dict[tuple, dict[str, int]] = {}
    for one in object_outcomes(evaluation):
        counts = counted.setdefault((one.class_name, one.view, one.difficulty), {})
        counts[one.outcome] = counts.get(one.outcome, 0) + 1
        least = evaluation.min_overlap[one.class_name][one.view]
        assert one.outcome != "matched" or one.iou > least
    for key, tally in evaluation.tallies.items():
        counts = counted.get(key, {})
        assert counts.get("matched", 0) + counts.get("missed", 0) == tally.object_count.sum()
        assert counts.get("matched", 0) == tally.change[:, 0].sum()
        assert counts.get("false", 0) == tally.change[:, 1].sum()


def test_lines_of_the_files(tmp_path: Path) -> None:
    text = "Car 0 0 0 100 100 150 150 1.5 1.6 3.9 0 1.5 10 0"
    (tmp_path / "labels.txt").write_text(f"\n{text.replace('Car', 'DontCare')}\n\n{text}\n")
    (tmp_path / "results.txt").write_text(f"\n\n{text} 0.5\n")
    labels = read_frames([str(tmp_path / "labels.txt")], scored=False)
    results = read_frames([str(tmp_path / "results.txt")], scored=True)
    evaluation = evaluate(labels, results, difficulties=("easy",), frame_ids=["000003"])
    write_outcomes(evaluation, tmp_path / "out" / "outcomes.csv")
    rows = list(csv.DictReader((tmp_path / "out" / "outcomes.csv").open()))
    assert rows[0] == {
        "frame": "000003",
        "class": "Car",
        "view": "bbox",
        "difficulty": "easy",
        "outcome": "matched",
        "label_line": "4",
        "result_line": "3",
        "iou": "1.0",
        "score": "0.5",
    }
    assert [row["view"] for row in rows] == ["bbox", "bev", "3d"]
    missed = evaluate(labels, [dataclasses.replace(results[0], class_name=np.array(["Bus"]))], frame_ids=["000003"])
    write_outcomes(missed, tmp_path / "outcomes.csv")
    first = next(csv.DictReader((tmp_path / "outcomes.csv").open()))
    assert (first["outcome"], first["result_line"], first["score"], first["iou"]) == ("missed", "", "", "0.0")
