"""Backfill: what is said of candidate boxes, which frames are run again, what is replaced, found and lost."""

import csv
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.detectors.boxes2d import Boxes2d
from pseudolidar.evaluation import StackedObjects
from pseudolidar.files import FormatError
from pseudolidar.kitti import Objects, read_objects, read_split, write_objects
from pseudolidar.updates import CostRatio, MaxBelief
from pseudolidar.updates.backfill import BackfillResult, BackfillSettings, run_backfill
from pseudolidar.updates.backfill.candidates import (
    Candidates,
    distinct_boxes,
    frame_count,
    frames_to_run,
    read_candidates,
)
from pseudolidar.updates.backfill.labelling import LABELS, Truth, predictions, truth
from pseudolidar.updates.backfill.results import stored_objects
from pseudolidar.updates.backfill.scoring import changes, object_flips
from pseudolidar.updates.backfill.versions import versions_from
from tests.evaluation.scenes import detection, label, objects
from tests.forked import start_script

BACKGROUND, CAR, PEDESTRIAN, CYCLIST = range(4)


def box(left: float, width: float = 100.0, top: float = 0.0, height: float = 100.0) -> tuple[float, ...]:
    return (left, top, left + width, top + height)


def candidates_of(*frames: tuple[tuple[float, ...], ...]) -> Candidates:
    ids = tuple(f"{number:06d}" for number in range(len(frames)))
    frame = np.repeat(np.arange(len(frames)), [len(own) for own in frames])
    return Candidates(ids, frame, np.array([one for own in frames for one in own], float).reshape(-1, 4))


def stacked(*frames: Objects, scored: bool = True) -> StackedObjects:
    return StackedObjects.stack(frames, scored)


def test_detections_speak_of_the_candidates_that_they_overlap_best() -> None:
    items = candidates_of((box(0), box(30)), (), (box(0), box(500)))
    found = stacked(
        objects(
            detection("Pedestrian", box(20), score=9),  # overlaps the second more than the first
            detection("Car", box(28), score=1),  # and this one the second even more, whatever its score
            scored=True,
        ),
        objects(detection("Car", box(0)), scored=True),
        objects(detection("Cyclist", box(51)), detection("Cyclist", box(0, 40)), scored=True),
    )
    said = predictions(items, found, 0.5)
    assert said.label.tolist() == [PEDESTRIAN, CAR, BACKGROUND, BACKGROUND]
    assert said.row.tolist() == [0, 1, -1, -1]
    assert predictions(items, found, 0.7).label.tolist() == [BACKGROUND, CAR, BACKGROUND, BACKGROUND]
    assert predictions(items, found, 0.4).row.tolist() == [0, 1, 4, -1]


def test_equal_boxes_are_matched_one_to_one() -> None:
    items = candidates_of((box(0), box(0), box(0)))
    found = stacked(objects(detection("Car", box(0)), detection("Pedestrian", box(0)), scored=True))
    assert predictions(items, found, 0.5).label.tolist() == [CAR, PEDESTRIAN, BACKGROUND]


def test_what_kitti_leaves_out_is_not_scored() -> None:
    items = candidates_of((box(0), box(200), box(400), box(600), box(800), box(1000)))
    labels = objects(
        label("Car", box(0)),
        label("Van", box(200)),
        label("Person_sitting", box(400)),
        label("Truck", box(600)),
        label("DontCare", (800 - 45, 0, 900 - 45, 1000)),
        label("DontCare", (1000 - 55, 0, 1100 - 55, 1000)),
        label("Pedestrian", box(2000)),
    )
    true = truth(items, stacked(labels, scored=False), 0.5)
    assert true.label.tolist() == [CAR, 0, 0, 0, 0, 0]
    assert true.counts.tolist() == [True, False, False, True, False, True], "55 % and 45 % of a box lie in a region"
    assert true.objects == {"Car": 1, "Pedestrian": 1, "Cyclist": 0}
    assert true.covered == {"Car": 1, "Pedestrian": 0, "Cyclist": 0}, "no candidate is the pedestrian"


def test_of_overlapping_candidates_the_best_stays() -> None:
    boxes = Boxes2d(
        np.array(["Car", "Van", "Car", "Pedestrian"]),
        np.array([box(0), box(10), box(60), box(300)]),
        np.array([0.8, 0.9, 0.4, 0.2]),
    )
    assert distinct_boxes(boxes, 0.5, 0.3).tolist() == [list(box(10)), list(box(60))]
    assert len(distinct_boxes(boxes, 0.1, 0.1)) == 2
    assert len(distinct_boxes(boxes, 1.0, 0.0)) == 4


def test_budgets_are_fractions_or_numbers() -> None:
    assert [frame_count(budget, 100) for budget in (0.07, 0.071, 0.001, 1, 1.0, 2, 100)] == [7, 8, 1, 100, 100, 2, 100]
    for budget in (0, -0.1, 101, 2.5, float("nan")):
        with pytest.raises(ValueError, match="budget: found"):
            frame_count(budget, 100)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.floats(0, 1.375, width=32), max_size=4), min_size=1, max_size=6), st.integers(1, 6))
def test_no_other_frames_hold_more_entropy(entropies: list[list[float]], count: int) -> None:
    items = candidates_of(*([box(0)] * len(own) for own in entropies))  # type: ignore[arg-type]
    entropy = np.array([value for own in entropies for value in own], np.float32)
    chosen = frames_to_run(items, entropy, count, "entropy", seed=3).tolist()
    there = [frame for frame, own in enumerate(entropies) if own]
    assert len(chosen) == min(count, len(there)) and set(chosen) <= set(there) and chosen == sorted(chosen)
    best = max(sum(sum(entropies[f]) for f in some) for some in itertools.combinations(there, len(chosen)))
    assert sum(sum(entropies[f]) for f in chosen) >= best - 1e-4
    by_chance = frames_to_run(items, entropy, count, "random", seed=3)
    assert by_chance.tolist() == frames_to_run(items, entropy[::-1], count, "random", seed=3).tolist()


def test_what_is_stored_comes_from_the_newest_version_that_said_so() -> None:
    items = candidates_of((box(0), box(200)), (), (box(0), box(200)))
    old = predictions(items, stacked(
        objects(detection("Car", box(1), x=1), detection("Car", box(201), x=2), scored=True),
        Objects.empty(scored=True),
        objects(detection("Pedestrian", box(1), x=3), scored=True),
    ), 0.5)  # fmt: skip
    new = predictions(items, stacked(
        objects(detection("Cyclist", box(2), x=4), detection("Car", box(202), x=5), scored=True),
        *[Objects.empty(scored=True)] * 2,
    ), 0.5)  # fmt: skip
    stored = np.array([CAR, CAR, PEDESTRIAN, CYCLIST], np.int16)
    first, empty, last = stored_objects(items, stored, np.array([0.5, 0.6, 0.7, 0.8]), [old, new])
    assert first.box3d[:, 0].tolist() == [1, 5] and first.score is not None and first.score.tolist() == [0.5, 0.6]
    assert len(empty) == 0
    assert last.class_name.tolist() == ["Pedestrian", "Cyclist"] and last.box3d[0, 0] == 3
    assert last.box2d[1].tolist() == list(box(200)), "nobody said cyclist: the candidate's box"
    assert last.box3d[1].tolist() == [-1000, -1000, -1000, -1, -1, -1, -10]


def test_found_and_lost_by_hand() -> None:
    true = Truth(np.array([1, 1, 2, 0, 0, 3, 1], np.int16), np.array([True] * 6 + [False]), {}, {})
    before = np.array([1, 0, 1, 0, 2, 3, 0], np.int16)
    after = np.array([0, 1, 2, 1, 0, 2, 1], np.int16)
    one = changes(before, after, true)
    assert (one.positive, one.negative) == (2, 2), "of 6 objects the first and the last but one are lost"
    assert (one.added, one.removed) == (2, 2), "an object of another class is a false detection, too"
    assert one.accuracy == 3 / 6
    same = changes(after, after, true)
    assert (same.positive, same.negative, same.added, same.removed) == (0, 0, 0, 0)


def test_objects_on_the_ground() -> None:
    items = candidates_of((box(0), box(200)))
    labels = stacked(
        objects(label("Car", box(0), x=0), label("Car", box(200), x=10), label("Car", box(400), x=20)), scored=False
    )
    old = predictions(items, stacked(objects(detection("Car", box(0), x=0, score=-3), scored=True)), 0.5)
    new = predictions(items, stacked(objects(
        detection("Car", box(0), x=5, score=7), detection("Car", box(200), x=10, score=8), scored=True
    )), 0.5)  # fmt: skip
    flips = object_flips(items, labels, (old.label, [old]), (new.label, [old, new]))
    assert flips["Car"].flips.counts() == {"kept": 0, "negative flip": 1, "positive flip": 1, "missed": 1}
    assert (flips["Car"].before.false_count, flips["Car"].after.false_count) == (0, 1)
    assert sum(flips["Cyclist"].flips.counts().values()) == 0


def test_a_class_without_3d_boxes_has_no_ground_match() -> None:
    items = candidates_of((box(0), box(200), box(400)))
    labels = stacked(objects(label("Car", box(0), x=0), label("Cyclist", box(200), x=10)), scored=False)
    said = predictions(items, stacked(objects(detection("Car", box(0), x=0), scored=True)), 0.5)
    # As a posterior may have it: cyclists, of which no version ever speaks.
    believed = np.array([LABELS.index("Car"), LABELS.index("Cyclist"), LABELS.index("Cyclist")], np.int16)
    flips = object_flips(items, labels, (said.label, [said]), (believed, [said]))
    assert flips["Car"].flips.counts() == {"kept": 1, "negative flip": 0, "positive flip": 0, "missed": 0}
    assert flips["Cyclist"].flips.counts() == {"kept": 0, "negative flip": 0, "positive flip": 0, "missed": 1}
    assert (flips["Cyclist"].before.false_count, flips["Cyclist"].after.false_count) == (0, 2)


def test_versions_of_a_configuration() -> None:
    u, both, own = versions_from(
        {"u": "a", "both": ["b", "c"], "own": {"results": "d", "min_score": {"Car": -2.5}}}, min_score=0.5
    )
    assert (u.folders, both.folders) == ((Path("a"),), (Path("b"), Path("c")))
    assert u.min_score == {"Car": 0.5, "Pedestrian": 0.5, "Cyclist": 0.5} and own.min_score == {"Car": -2.5}
    no_class = {"results": "a", "min_score": {"Dog": 1}}
    mistakes: list[dict[str, object]] = [{"u": 3}, {"u": {"folder": "a"}}, {"u": []}, {"../u": "a"}, {"u": no_class}]
    for wrong in mistakes:
        with pytest.raises(ValueError, match="expected"):
            versions_from(wrong, None)


def test_where_no_detection_matches_all_are_false() -> None:
    items = candidates_of((box(0), box(200)))
    labels = stacked(objects(label("Car", box(0), x=0)), scored=False)
    found = objects(detection("Car", box(200), x=30), detection("Pedestrian", box(0), x=9), scored=True)
    said = predictions(items, stacked(found), 0.5)
    flips = object_flips(items, labels, (said.label, [said]), (np.zeros(2, np.int16), [said]))
    counts = {name: (one.before.false_count, one.after.false_count) for name, one in flips.items()}
    assert counts == {"Car": (1, 0), "Pedestrian": (1, 0), "Cyclist": (0, 0)}


class Town:
    """A data set of labels alone, its candidates, and versions made from labels with errors.

    Frames 0 to 39 are the archive, 40 to 79 are labelled; each has six objects in a row and two candidates beside them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rng = np.random.default_rng(5)
        self.ids = [f"{number:06d}" for number in range(80)]
        self.truth: dict[str, list[str]] = {}
        for name in self.ids:
            self.truth[name] = rng.choice(["Car", "Car", "Pedestrian", "Cyclist"], 6).tolist() + ["nothing"] * 2
            rows = [label(one, box(150 * i), x=6 * i) for i, one in enumerate(self.truth[name][:6])]
            write_objects(self.data / f"training/label_2/{name}.txt", objects(*rows))
            for kind, suffix in (("calib", "txt"), ("image_2", "png")):
                path = self.data / f"training/{kind}/{name}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            boxes = [detection("Car", box(150 * i + 5), score=0.5) for i in range(8)]
            write_objects(folder / f"candidates/{name}.txt", objects(*boxes, scored=True))
        (self.data / "ImageSets").mkdir()
        for split, ids in (("archive", self.ids[:40]), ("labelled", self.ids[40:])):
            (self.data / f"ImageSets/{split}.txt").write_text("\n".join(ids))

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def settings(self, versions: Mapping[str, object], **others: object) -> BackfillSettings:
        mine: dict[str, object] = {
            **{"data": str(self.data), "archive": "archive", "labelled": "labelled"},
            **{"candidates": str(self.folder / "candidates"), "versions": versions, "min_score": 0.0, "budget": 0.25},
            **{"selection": "entropy", "rule": CostRatio(2.0), "budgets": [], "output": str(self.folder / "output")},
            **{"boxes_scores": "probability", "candidate_score": 0.3, "max_iou": 0.5, "min_iou": 0.5, "seed": 0},
        }
        return BackfillSettings(**mine | others)  # type: ignore[arg-type]

    def run(self, name: str, seed: int, right: float, ids: list[str] | None = None, never: str = "") -> str:
        """Results of a version that is right so often, `never` naming a class; the same ones for the same seed."""
        for number, frame_id in enumerate(self.ids):
            rng = np.random.default_rng([seed, number])
            rows = []
            for i, one in enumerate(self.truth[frame_id]):
                said = one if rng.random() < right else str(rng.choice(["Car", "Pedestrian", "nothing", "nothing"]))
                if said not in ("nothing", never):
                    rows.append(detection(said, box(150 * i), x=6 * i, score=1.0))
            if ids is None or frame_id in ids:
                write_objects(self.folder / name / f"{frame_id}.txt", objects(*rows, scored=True))
        return str(self.folder / name)


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path)


def labels_in(folder: Path) -> Iterator[bytes]:
    return (path.read_bytes() for path in sorted(folder.rglob("*")) if path.suffix in (".npy", ".csv", ".txt"))


def stages_of(outcome: BackfillResult) -> dict[str, tuple]:
    block = outcome.report.sections[0].blocks[0]
    return {str(row.cells[0]): row.cells[1:] for row in block.rows}  # type: ignore[union-attr]


def test_from_missing_results_to_replacements(town: Town) -> None:
    versions = {"u": town.run("u", 1, 0.7), "u_prime": str(town.folder / "u_prime")}
    output = town.folder / "output"
    first = run_backfill(town.settings(versions), "")
    assert first.waiting is not None and first.replacements == ()
    asked = read_split(first.waiting.split_file)
    archive, labelled = town.ids[:40], town.ids[40:]
    assert len(first.waiting.frames) == 10 and set(asked) == {*first.waiting.frames, *labelled}
    before = np.load(output / "labels_u.npy")
    town.run("u_prime", 2, 0.9, asked[:20])
    again = run_backfill(town.settings(versions), "")
    assert again.waiting is not None and again.waiting.frames == first.waiting.frames
    assert set(read_split(again.waiting.split_file)) == set(asked) - set(asked[10:20]), (
        "run frames needn't be named again"
    )

    town.run("u_prime", 2, 0.9, asked)
    done = run_backfill(town.settings(versions), "")
    assert done.waiting is None
    after = np.load(output / "labels_u_prime.npy")
    assert read_split(output / "frames_u_prime.txt") == list(first.waiting.frames)
    changed = np.flatnonzero(before != after)
    with (output / "replacements_u_prime.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(changed) > 5 and {row["frame"] for row in rows} <= set(first.waiting.frames)
    assert [LABELS.index(row["after"]) for row in rows] == after[changed].tolist()
    assert all(0.25 < float(row["belief"]) <= 1 for row in rows)
    stored = [read_objects(output / f"results/{name}.txt", scored=True) for name in archive]
    assert sum(len(one) for one in stored) == int((after > 0).sum())
    assert "u_prime, all replaced" not in stages_of(done), "there are no results of the whole archive"

    kept = list(labels_in(output))
    # Killed after the step and before its files.
    (output / "labels_u_prime.npy").unlink()
    (output / "replacements_u_prime.csv").unlink()
    run_backfill(town.settings(versions), "")
    assert list(labels_in(output)) == kept


def test_beside_full_backfill(town: Town) -> None:
    versions = {"u": town.run("u", 1, 0.7), "v": town.run("v", 2, 0.8, never="Cyclist"), "w": town.run("w", 3, 0.9)}
    outcome = run_backfill(town.settings(versions, budgets=[0.25, 1.0], rule=MaxBelief()), "text")
    stages = stages_of(outcome)
    assert list(stages) == ["u, stored", "v, backfilled", "w, backfilled", "v, all replaced", "w, all replaced"]
    assert [stages[name][:2] for name in stages] == [(40, 320), (10, 80), (10, 80), (40, 320), (40, 320)]
    # Counted from the files: candidate i of a frame is 5 px beside what stands at 150 i.
    said, true = {}, []
    for name in ("u", "w"):
        found = [read_objects(town.folder / name / f"{one}.txt", scored=True) for one in town.ids[:40]]
        said[name] = [
            {int(left // 150): str(what) for left, what in zip(one.box2d[:, 0], one.class_name, strict=True)}.get(
                i, "nothing"
            )
            for one in found
            for i in range(8)
        ]
    true = [what for one in town.ids[:40] for what in town.truth[one]]
    triples = list(zip(said["u"], said["w"], true, strict=True))
    lost = sum(t != "nothing" and u == t != w for u, w, t in triples)
    gained = sum(t != "nothing" and w == t != u for u, w, t in triples)
    added = sum(w not in ("nothing", t) and u in ("nothing", t) for u, w, t in triples)
    right = 100 * sum(w == t for _, w, t in triples) / len(triples)
    assert stages["w, all replaced"][3:6] == (gained, lost, added)
    assert stages["w, all replaced"][7] == pytest.approx(right)
    assert stages["w, backfilled"][7] > stages["v, backfilled"][7] > stages["u, stored"][7]
    gain = stages["w, all replaced"][8]
    assert (
        gain.value == pytest.approx(right - stages["u, stored"][7])
        and 0 < gain.interval.low < gain.value < gain.interval.high
    )
    assert (town.folder / "output/budgets.png").is_file() and (town.folder / "output/report.html").is_file()
    with pytest.raises(ValueError, match="versions: found 2, expected the 3 that were taken in"):
        run_backfill(town.settings({name: versions[name] for name in ("u", "v")}), "")
    with pytest.raises(FormatError, match=r"record: found version=v, .*, expected version=w"):
        run_backfill(town.settings({name: versions[name] for name in ("u", "w", "v")}), "")
    # What was taken in stays as it was taken in.
    with pytest.raises(FormatError, match=r"version_1\.json: record: found rule=MaxBelief\(\), expected rule="):
        run_backfill(town.settings(versions), "")
    with pytest.raises(FormatError, match=r"version_1\.json: record: found budget="):
        run_backfill(town.settings(versions, rule=MaxBelief(), budget=0.5), "")
    result = town.folder / "v" / f"{town.ids[-1]}.txt"
    result.write_text(result.read_text() * 2)
    with pytest.raises(FormatError, match=r"version_1\.json: record: found results="):
        run_backfill(town.settings(versions, rule=MaxBelief()), "")


def test_an_archive_without_labels(town: Town) -> None:
    versions = {"u": town.run("u", 1, 0.7), "v": town.run("v", 2, 0.9)}
    for name in town.ids[:40]:
        (town.data / f"training/label_2/{name}.txt").unlink()
    stages = stages_of(run_backfill(town.settings(versions, budget=12), ""))
    assert list(stages) == ["u, stored", "v, backfilled"] and stages["v, backfilled"][:2] == (12, 96)
    assert len(stages["v, backfilled"]) == 3, "without ground truth nothing is called found or lost"


def test_versions_that_give_2d_boxes_alone(town: Town) -> None:
    versions = {"u": town.run("u", 1, 0.7), "v": town.run("v", 2, 0.9)}
    for path in (town.folder / "v").glob("*.txt"):
        found = read_objects(path, scored=True)
        found.box3d[:] = [-1000, -1000, -1000, -1, -1, -1, -10]
        write_objects(path, found)
    outcome = run_backfill(town.settings(versions), "")
    assert "v, all replaced" in stages_of(outcome)
    assert "On the ground" not in [section.title for section in outcome.report.sections]


def test_the_operating_point_is_found_on_labelled_frames(town: Town) -> None:
    """With scores that tell right from wrong, what is wrong is left out."""
    folder = town.folder / "u"
    for name in town.ids:
        rows = [
            detection("Car", box(150 * i), x=6 * i, score=-3.0 if one == "Car" else -7.0)
            for i, one in enumerate(town.truth[name])
        ]
        write_objects(folder / f"{name}.txt", objects(*rows, scored=True))
    stored = stages_of(run_backfill(town.settings({"u": str(folder)}, min_score=None), ""))["u, stored"]
    cars = sum(one in ("Car", "nothing") for name in town.ids[:40] for one in town.truth[name])
    assert stored[7] == pytest.approx(100 * cars / 320), "no false cars; pedestrians and cyclists are never said"


def test_mistakes_leave_the_state_alone(town: Town) -> None:
    mine = town.settings({"u": town.run("u", 1, 0.7), "v": str(town.folder / "v")})
    for wrong, what in (
        ({"budget": 41}, "budget: found 41"),
        ({"budgets": [0.1, 41]}, "budget: found 41"),
        ({"min_iou": 50.0}, "min_iou: found 50, expected 0 to 1"),
        ({"archive": "nowhere"}, "nowhere.txt"),
        ({"candidates": str(town.folder / "nothing")}, "nothing there"),
        ({"labelled": "archive"}, "found frame 000000 of the archive"),
        ({"versions": {}}, "versions: found none"),
        ({"versions": {"u": str(town.folder / "nothing")}}, "nothing/0000"),
    ):
        with pytest.raises(ValueError, match=what):
            run_backfill(replace(mine, **wrong), "")
    assert not (town.folder / "output/labels_u.npy").exists(), "nothing was taken in"
    assert run_backfill(mine, "").waiting is not None
    with pytest.raises(FormatError, match="record: found candidates="):
        run_backfill(replace(mine, max_iou=0.0, candidate_score=0.6, candidates=town.run("c", 9, 0.5)), "")


def test_candidates_in_one_file(town: Town) -> None:
    path = town.folder / "boxes.txt"
    path.write_text("image_2/000000.png 2 0.9 0 0 50 50\nimage_2/000000.png 1 0.1 90 0 150 50\n")
    items = read_candidates(path, ["000000", "000001"], 0.5, 0.3, "probability")
    assert items.frame.tolist() == [0] and items.items_of(np.array([1])).tolist() == []
    with pytest.raises(FormatError, match=r"none of score 0\.95"):
        read_candidates(path, ["000000"], 0.5, 0.95, "probability")


def test_the_script_says_how_to_go_on(town: Town) -> None:
    u, new = town.run("u", 1, 0.7), town.folder / "new" / "results"
    command = [f"data={town.data}", "archive=archive", "labelled=labelled"]
    command += [f"candidates={town.folder / 'candidates'}", f"output={town.folder / 'output'}", "rule=max_belief"]
    command += [f"versions={{u: {u}, new: {{results: {new}, min_score: {{Car: 0.5}}}}}}", "budget=3"]
    process = start_script("backfill.py", command, town.folder / "printed.txt", town.folder / "errors.txt")
    process.join(120)
    assert process.exitcode == 0, (town.folder / "errors.txt").read_text()
    printed = (town.folder / "printed.txt").read_text()
    assert "new: 3 frames of archive to run; results are missing in 43 frames" in printed
    assert f"cp {town.folder / 'output/frames_new.txt'} {town.data / 'ImageSets/backfill_new.txt'}" in printed
    assert f"pseudolidar detect models=DIR data={town.data} split=backfill_new output={new.parent}" in printed
