"""The protocol's rules one by one, and all of them against a slow step-by-step version on random scenes."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.evaluation import LOOSE_OVERLAP, build_scenes, evaluate, tally_scenes
from pseudolidar.evaluation.average_precision import Tally
from pseudolidar.kitti import Objects
from tests.evaluation import official_tool
from tests.evaluation.scenes import AWAY, BOX, detection, label, objects, random_frame


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["Car", "Pedestrian", "Cyclist"]),
    st.sampled_from(["bbox", "bev", "3d"]),
    st.sampled_from(["easy", "moderate", "hard"]),
    st.sampled_from([0.7, 0.5, 0.25]),
)
def test_like_the_official_tool(seed: int, name: str, view: str, difficulty: str, minimum: float) -> None:
    rng = np.random.default_rng(seed)
    labels, results = (list(side) for side in zip(*(random_frame(rng) for _ in range(4)), strict=True))
    precision, orientation, count = official_tool.curves(labels, results, name, view, difficulty, minimum)
    tally = tally_scenes(build_scenes(labels, results, None), name, difficulty, view, minimum)
    found, similarity, object_count = tally.curves(np.ones((1, len(labels)), np.int64), official_grid=True)
    assert object_count.tolist() == [count]
    np.testing.assert_allclose(found, [precision], atol=1e-12)
    np.testing.assert_allclose(similarity, [orientation], atol=1e-12)


def ap(labels: Objects, results: Objects, name: str = "Car", view: str = "bbox", level: str = "easy") -> float:
    return evaluate([labels], [results], difficulties=(level,)).ap(name, view, level)


def test_half_of_the_objects_found_gives_half() -> None:
    labels = objects(label(), label(box2d=AWAY, x=20))
    results = objects(detection(), scored=True)
    assert ap(labels, results) == pytest.approx(50.0)
    # The official grid has one recall point for each found object: recall 0 alone, which AP40 leaves out.
    strict = evaluate([labels], [results], difficulties=("easy",), official_grid=True)
    assert (strict.ap("Car", "3d", "easy", "AP40"), strict.ap("Car", "3d", "easy", "AP11")) == pytest.approx(
        (0, 100 / 11)
    )


def test_false_detection_above_and_below() -> None:
    labels = objects(label())
    wrong_after = objects(detection(score=0.9), detection(box2d=AWAY, x=20, score=0.5), scored=True)
    wrong_before = objects(detection(score=0.5), detection(box2d=AWAY, x=20, score=0.9), scored=True)
    for view in ("bbox", "bev", "3d"):
        assert ap(labels, wrong_after, view=view) == pytest.approx(100.0)
        assert ap(labels, wrong_before, view=view) == pytest.approx(50.0)


def test_neighbours_are_neither_right_nor_wrong() -> None:
    labels = objects(label(), label("Van", AWAY, x=20))
    results = objects(detection(score=0.5), detection(box2d=AWAY, x=20, score=0.9), scored=True)
    assert ap(labels, results) == pytest.approx(100.0)
    sitting = objects(label("Pedestrian"), label("Person_sitting", AWAY, x=20))
    walkers = objects(detection("Pedestrian", score=0.5), detection("Pedestrian", AWAY, x=20, score=0.9), scored=True)
    assert ap(sitting, walkers, "Pedestrian") == pytest.approx(100.0)
    trucks = objects(label(), label("Truck", AWAY, x=20))
    assert ap(trucks, results) == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("hard", "level"),
    [
        ({"occlusion": 1}, "moderate"),
        ({"occlusion": 2}, "hard"),
        ({"occlusion": 3}, "all"),
        ({"truncation": 0.2}, "moderate"),
        ({"truncation": 0.4}, "hard"),
        ({"truncation": 0.9}, "all"),
        ({"box2d": (500.0, 100.0, 550.0, 130.0)}, "moderate"),
        ({"box2d": (500.0, 100.0, 550.0, 110.0)}, "all"),
    ],
)
def test_hard_objects_count_from_their_difficulty_on(hard: dict, level: str) -> None:
    labels = objects(label(), label(**{"box2d": AWAY, "x": 20, **hard}))
    missed = objects(detection(), scored=True)
    levels = ("easy", "moderate", "hard", "all")
    evaluation = evaluate([labels], [missed], difficulties=levels)
    for i, name in enumerate(levels):
        expected = 50.0 if i >= levels.index(level) else 100.0
        assert evaluation.ap("Car", "bbox", name) == pytest.approx(expected), name


def test_small_detections_are_ignored() -> None:
    labels = objects(label())
    small = (500.0, 100.0, 550.0, 130.0)
    results = objects(detection(score=0.5), detection(box2d=small, x=20, score=0.9), scored=True)
    assert ap(labels, results, level="easy") == pytest.approx(100.0)
    assert ap(labels, results, level="moderate") == pytest.approx(50.0)


def test_small_detections_of_other_classes_take_objects_too() -> None:
    labels = objects(label(box2d=(100, 100, 150, 142)))
    small = detection("Pedestrian", box2d=(100, 100, 150, 138), score=0.9)
    results = objects(small, detection(box2d=(100, 100, 150, 142), score=0.5), scored=True)
    # The official tool's way: the small one has the higher score, so that the object is found, but does not count.
    assert ap(labels, results, level="easy") == 0.0
    assert ap(labels, results, level="moderate") == pytest.approx(100.0)


def test_greatest_overlap_wins_among_equal_scores() -> None:
    near_miss = detection(box2d=(102, 100, 150, 150), alpha=np.pi)
    results = objects(near_miss, detection(), scored=True)
    assert ap(objects(label()), results, view="bbox") == pytest.approx(50.0)
    assert ap(objects(label()), results, view="aos") == pytest.approx(50.0)


def test_detections_in_a_dontcare_region() -> None:
    region = ("DontCare", -1, -1, -10, (480.0, 90.0, 700.0, 200.0), (-1000, -1000, -1000, -1, -1, -1, -10))
    results = objects(detection(score=0.5), detection(box2d=AWAY, x=20, score=0.9), scored=True)
    assert ap(objects(label(), region), results) == pytest.approx(100.0)
    # A region has no place in space.
    assert ap(objects(label(), region), results, view="3d") == pytest.approx(50.0)


def test_depth_range_takes_near_out_and_far_in() -> None:
    places = (10.0, 20.0, 30.0)
    boxes = [(left, 100.0, left + 50, 150.0) for left in (0.0, 200.0, 400.0)]
    labels = objects(*(label(box2d=box, z=z) for box, z in zip(boxes, places, strict=True)))
    results = objects(*(detection(box2d=box, z=z) for box, z in zip(boxes, places, strict=True)), scored=True)
    for limits, count in (((10, 20), 1), ((0, 20), 2), ((10, 30), 2), ((30, 40), 0)):
        evaluation = evaluate([labels], [results], difficulties=("all",), depth_range=limits)
        assert evaluation.curves["Car", "3d", "all"].object_count == count
    shifted = dataclasses.replace(results, box3d=results.box3d + np.array([0, 0, 0.01, 0, 0, 0, 0]))
    assert evaluate([labels], [shifted], depth_range=(0, 20)).ap("Car", "3d", "easy") == pytest.approx(50.0)


def test_orientation_similarity() -> None:
    for turn in (0.0, np.pi / 3, np.pi):
        result = objects(detection(alpha=turn), scored=True)
        assert ap(objects(label()), result, view="aos") == pytest.approx(50 * (1 + np.cos(turn)))


def test_what_has_no_number_is_null() -> None:
    labels = objects(label())
    table = evaluate([labels], [Objects.empty(scored=True)]).to_dict()
    assert table["Car"]["3d"] == {"AP11": [0.0] * 3, "AP40": [0.0] * 3}
    assert table["Pedestrian"]["bbox"] == {"AP11": [None] * 3, "AP40": [None] * 3}
    no_angle = evaluate([labels], [objects(detection(alpha=-10), scored=True)]).to_dict()
    assert no_angle["Car"]["bbox"]["AP40"] == [100.0] * 3
    assert no_angle["Car"]["aos"]["AP40"] == [None] * 3
    region = ("DontCare", -1, -1, -10, AWAY, (-1000, -1000, -1000, -1, -1, -1, -10), 0.5)
    with_region = evaluate([labels], [objects(detection(), region, scored=True)]).to_dict()
    assert with_region["Car"]["aos"]["AP40"] == [100.0] * 3
    flat = ("Car", -1, -1, 0, BOX, (-1000, -1000, -1000, -1, -1, -1, -10), 0.5)
    only_2d = evaluate([labels], [objects(flat, scored=True)]).to_dict()
    assert (only_2d["Car"]["bbox"]["AP40"][0], only_2d["Car"]["bev"]["AP40"][0]) == (100.0, None)


def test_no_frames_and_empty_frames() -> None:
    for count in (0, 2):
        evaluation = evaluate([Objects.empty()] * count, [Objects.empty(scored=True)] * count)
        assert all(np.isnan(curve.ap40) for curve in evaluation.curves.values())
    alone = evaluate([Objects.empty()], [objects(detection(), scored=True)])
    assert alone.to_dict()["Car"]["3d"]["AP40"] == [None] * 3


def test_looser_overlap() -> None:
    results = [objects(detection(x=1.0), scored=True)]  # overlap 2.9 / 4.9 = 0.59
    labels = [objects(label())]
    assert evaluate(labels, results).ap("Car", "3d", "easy") == 0.0
    assert evaluate(labels, results, min_overlap=LOOSE_OVERLAP).ap("Car", "3d", "easy") == 100.0
    at = {"Car": {"bev": 0.58}}
    evaluation = evaluate(labels, results, min_overlap=at)
    assert (evaluation.ap("Car", "bev", "easy"), evaluation.ap("Car", "3d", "easy")) == (100.0, 0.0)


def test_resampled_frames_are_like_frames_given_again() -> None:
    rng = np.random.default_rng(3)
    frames = [random_frame(rng) for _ in range(40)]
    labels, results = [list(side) for side in zip(*frames, strict=True)]
    picked = rng.integers(0, 40, 300)
    scored = ("Car", "hard", "bev", 0.5)
    tally = tally_scenes(build_scenes(labels, results, None), *scored)
    again = tally_scenes(build_scenes([labels[i] for i in picked], [results[i] for i in picked], None), *scored)
    resampled = tally.curves(np.bincount(picked, minlength=40)[None])
    expected = again.curves(np.ones((1, 300), np.int64))
    assert resampled[2] == expected[2] > 41
    for ours, theirs in zip(resampled[:2], expected[:2], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 7, 39, 40, 41, 42, 60, 100, 12345])
def test_recall_grid_of_a_perfect_detector_is_whole(count: int) -> None:
    def recall_points(found: int) -> int:
        """At how many points the precision of a detector is 1 that finds some of the objects, in one frame."""
        scores, frame = np.linspace(1, 0, found), np.zeros(found, np.int64)
        change = np.tile([1.0, 0.0, 1.0], (found, 1))
        tally = Tally(np.array([count]), scores, frame, scores, frame, change, frame)
        return int((tally.curves(np.ones((1, 1), np.int64))[0] == 1).sum())

    assert recall_points(count) == 41
    assert abs(recall_points(count // 2) - 21) <= 1 + 40 / count


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ("Truck",)}, "classes: found"),
        ({"classes": "Car"}, "classes: found"),
        ({"difficulties": ()}, "difficulties: found"),
        ({"difficulties": ("easy", "easy")}, "difficulties: found"),
        ({"depth_range": (20, 0)}, "depth_range: found"),
        ({"depth_range": 20}, "depth_range: found"),
        ({"min_overlap": {"Car": {"aos": 0.5}}}, "view 'aos'"),
        ({"min_overlap": {"Car": {"3d": 70}}}, "found 70"),
        ({"min_overlap": {"Car": 0.5}}, "found 0.5"),
        ({"min_overlap": {"Bus": {"3d": 0.5}}}, "class 'Bus'"),
    ],
)
def test_options_that_make_no_sense(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate([objects(label())], [objects(detection(), scored=True)], **options)


def test_results_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="1 frames, expected 2"):
        evaluate([objects(label())] * 2, [objects(detection(), scored=True)])
    with pytest.raises(ValueError, match="no scores"):
        evaluate([objects(label())], [objects(label())])
    with pytest.raises(ValueError, match="NaN or infinity in score"):
        evaluate([objects(label())], [objects(detection(score=float("nan")), scored=True)])
