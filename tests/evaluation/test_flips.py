"""Flips: what two versions find at their operating points, by object, by frame, by depth."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pseudolidar.evaluation import read_folders
from pseudolidar.evaluation.flips import Criterion, ObjectFlips, best_threshold, find_objects, flips_table
from pseudolidar.kitti import Objects
from pseudolidar.systems import FATES
from tests.evaluation.scenes import detection, label, objects, random_frame

CAR = Criterion("Car")


def scores_of(found: Objects) -> NDArray[np.float64]:
    assert found.score is not None
    return found.score


def rescored(results: list[Objects], change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> list[Objects]:
    """The same detections with other scores."""
    changed = []
    for found in results:
        columns = (found.class_name, found.truncation, found.occlusion, found.alpha, found.box2d, found.box3d)
        changed.append(Objects(*columns, change(scores_of(found))))
    return changed


def frames_of(seed: int, count: int = 6) -> tuple[list[Objects], list[Objects], list[str]]:
    rng = np.random.default_rng(seed)
    labels, results = zip(*(random_frame(rng) for _ in range(count)), strict=True)
    return list(labels), list(results), [f"{i:06d}" for i in range(count)]


def test_found_lost_gained_missed() -> None:
    labels = [
        objects(label("Van", x=30), label(x=0, z=10), label(x=5, z=20), label(x=10, z=30), label(x=15, z=40)),
        objects(label(x=0, z=12), label("Pedestrian", x=20)),
    ]
    before = [
        objects(detection(x=0, z=10, score=9), detection(x=5, z=20, score=8), detection(x=-20, score=7), scored=True),
        objects(detection(x=0, z=12, score=7.5), scored=True),
    ]
    after = [
        objects(detection(x=0, z=10, score=0.3), detection(x=10, z=30, score=0.2), scored=True),
        objects(detection(x=0, z=25, score=0.01), scored=True),
    ]
    a, b = (find_objects(labels, results, CAR, ["000007", "000003"]) for results in (before, after))
    assert a.threshold == 7.5 and b.threshold == 0.2, "what comes below adds nothing but errors"
    assert (a.recall, a.precision, a.false_count) == (3 / 5, 1.0, 0)
    flips = ObjectFlips(a, b)
    assert flips.flips.fates.tolist() == ["kept", "negative flip", "positive flip", "missed", "negative flip"]
    assert flips.flips.counts() == {"kept": 1, "negative flip": 2, "positive flip": 1, "missed": 1}
    assert flips.in_frame("000003")[1].tolist() == ["negative flip"]
    rows, fates = flips.in_frame("000007")
    assert rows.tolist() == [1, 2, 3, 4] and fates.tolist() == ["kept", "negative flip", "positive flip", "missed"]
    assert a.depth_m.tolist() == [10, 20, 30, 40, 12]
    assert flips.telling_frames(labels, "negative flip", 5) == ["000003", "000007"], "the nearer one first"
    assert flips.telling_frames(labels, "positive flip", 5) == ["000007"]
    sums = a.recall_by_depth([0, 10, 20, 40])
    assert sums.count.tolist() == [[1, 1, 2], [0, 1, 0]] and sums.total.tolist() == [[1, 1, 0], [0, 1, 0]]


def test_a_hidden_object_tells_less_than_a_visible_one() -> None:
    labels = [objects(label(z=10, occlusion=2)), objects(label(z=20, occlusion=0)), objects(label(z=15))]
    found = [objects(detection(z=z, score=1.0), scored=True) for z in (10, 20, 15)]
    nothing = [Objects.empty(scored=True)] * 3
    names = ["hidden", "far", "near"]
    flips = ObjectFlips(find_objects(labels, found, CAR, names), find_objects(labels, nothing, CAR, names))
    assert flips.telling_frames(labels, "negative flip", 3) == ["near", "far", "hidden"]
    assert flips.telling_frames(labels, "negative flip", 1) == ["near"]
    assert flips.after.threshold == np.inf and np.isnan(flips.after.precision)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["bbox", "bev", "3d"]), st.sampled_from(["hard", "all"]))
def test_the_threshold_has_the_highest_f1(seed: int, view: str, difficulty: str) -> None:
    labels, results, ids = frames_of(seed)
    criterion = Criterion("Car", view, difficulty, min_overlap=0.5)  # type: ignore[arg-type]
    found = find_objects(labels, results, criterion, ids)

    def f1(kept: list[Objects]) -> float:
        tally = criterion.evaluate(labels, kept).tallies["Car", view, difficulty]
        true, false = tally.change[:, :2].sum(axis=0).tolist()
        return 2 * true / max(true + false + int(tally.object_count.sum()), 1)

    def above(score: float) -> list[Objects]:
        return [one[scores_of(one) >= score] for one in results]

    scores = sorted({score for one in results for score in scores_of(one).tolist()})
    chosen = f1(above(found.threshold))
    assert chosen == max(f1(above(score)) for score in [*scores, np.inf])
    true, count = int(found.is_found.sum()), len(found.is_found)
    assert chosen == 2 * true / max(true + found.false_count + count, 1), "matched and false ones are counted alike"


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10.0), st.floats(-5.0, 5.0))
def test_the_scale_of_the_scores_does_not_matter(seed: int, factor: float, shift: float) -> None:
    labels, results, ids = frames_of(seed)
    other = rescored(results, lambda score: factor * score + shift)
    flips = ObjectFlips(find_objects(labels, results, CAR, ids), find_objects(labels, other, CAR, ids))
    assert flips.flips.counts()["negative flip"] == flips.flips.counts()["positive flip"] == 0
    assert flips.before.false_count == flips.after.false_count


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_the_reverse_update_turns_losses_into_gains(seed: int) -> None:
    labels, results, ids = frames_of(seed)
    rng = np.random.default_rng(seed)
    other = rescored(results, lambda score: rng.uniform(0, 1, len(score)))
    a, b = (find_objects(labels, one, CAR, ids) for one in (results, other))
    there, back = ObjectFlips(a, b), ObjectFlips(b, a)
    assert sum(there.flips.counts().values()) == len(a.is_found)
    of_frames = [fate for frame_id in ids for fate in there.in_frame(frame_id)[1].tolist()]
    assert {fate: of_frames.count(fate) for fate in FATES} == there.flips.counts()
    swapped = {"negative flip": "positive flip", "positive flip": "negative flip"}
    assert [swapped.get(fate, fate) for fate in there.flips.fates.tolist()] == back.flips.fates.tolist()


def test_a_real_detector_that_sees_no_further_than_30_m(kitti_sample: Path) -> None:
    folder = kitti_sample / "evaluation"
    ids, labels, results = read_folders(folder / "label_2", folder / "results")
    criterion = Criterion("Car", "3d", "moderate")
    short = [found[found.box3d[:, 2] <= 30] for found in results]
    whole, near = (find_objects(labels, one, criterion, ids) for one in (results, short))
    assert 0.8 < whole.recall < 0.95 and 0.8 < whole.precision < 0.95
    flips = ObjectFlips(whole, near)
    far = whole.depth_m > 31
    assert (
        set(flips.flips.fates[far].tolist()) == {"negative flip", "missed"}
        and (flips.flips.fates[far] == "negative flip").sum() > 100
    )
    assert (flips.flips.fates[~far] == "kept").sum() > 1000 > 10 * (flips.flips.fates[~far] == "negative flip").sum()
    sums = near.recall_by_depth([0, 15, 30, 32, 80])
    recall = sums.total.sum(axis=0) / sums.count.sum(axis=0)
    assert recall[:2].min() > 0.9 and recall[3] == 0


def test_the_table_has_a_row_a_comparison() -> None:
    labels, found = [objects(label(z=10), label(x=9, z=20))], [objects(detection(z=10, score=1.0), scored=True)]
    criterion = Criterion("Car", "3d", "easy", 0.5, (0.0, 40.0))
    one = find_objects(labels, found, criterion, ["000000"])
    table = flips_table({"u → u'": ObjectFlips(one, one)}, "Flips")
    assert table.rows[0].cells == ("u → u'", 1, 0, 0, 1, 2, 100.0, 100.0, 0, 0)
    assert table.notes[-1] == "Counted: Car, 3D, easy, IoU > 0.5, 0 to 40 m."


def test_what_does_not_go_together() -> None:
    labels, results, ids = frames_of(1)
    one = find_objects(labels, results, CAR, ids)
    with pytest.raises(ValueError, match="another criterion"):
        ObjectFlips(one, find_objects(labels, results, Criterion("Car", "3d"), ids))
    with pytest.raises(ValueError, match="other objects"):
        ObjectFlips(one, find_objects([Objects.empty()] * 6, results, CAR, ids))
    with pytest.raises(ValueError, match="frame_ids: found 1 different names, expected 6"):
        find_objects(labels, results, CAR, ["000000"] * 6)
    flat = objects(("Car", -1, -1, 0.0, (100, 100, 150, 150), (-1000, -1000, -1000, -1, -1, -1, -10), 0.5), scored=True)
    with pytest.raises(ValueError, match="2D boxes only"):
        best_threshold(CAR.evaluate(labels[:1], [flat]), CAR)
