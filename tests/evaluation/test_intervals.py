"""Resampled frames against evaluating them from scratch, reproducible intervals, and their coverage."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.benchmarks.coverage import coverage_table
from pseudolidar.evaluation import Evaluation, ap_intervals, compare, evaluate, evaluate_folders
from pseudolidar.kitti import Objects
from tests.evaluation.scenes import detection, label, objects, random_frame

LEVELS = ("easy", "moderate", "hard", "all")


def frames_of(seed: int, count: int) -> tuple[list[Objects], list[Objects]]:
    rng = np.random.default_rng(seed)
    labels, results = zip(*(random_frame(rng) for _ in range(count)), strict=True)
    return list(labels), list(results)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 12, 60]), st.sampled_from([None, (0.0, 8.0)]), st.booleans())
def test_a_replicate_is_an_evaluation_of_the_drawn_frames(
    seed: int, count: int, depth_range: tuple[float, float] | None, official_grid: bool
) -> None:
    labels, results = frames_of(seed, count)
    options = {"difficulties": LEVELS, "depth_range": depth_range, "official_grid": official_grid}
    # A single replicate is both ends of its interval.
    whole = evaluate(labels, results, **options)  # type: ignore[arg-type]
    intervals = ap_intervals(whole, np.random.default_rng(seed), replicates=1)
    drawn = np.random.default_rng(seed).integers(0, count, count)
    again = evaluate([labels[i] for i in drawn], [results[i] for i in drawn], **options)  # type: ignore[arg-type]
    assert intervals
    for key, interval in intervals.items():
        np.testing.assert_allclose([interval.low, interval.high], again.ap(*key), atol=1e-9, err_msg=str(key))


def test_paired_replicates_take_the_same_frames() -> None:
    labels, results = frames_of(5, 50)
    others = [dataclasses.replace(one, score=1 - one.score) for one in results if one.score is not None]
    a, b = (evaluate(labels, side, difficulties=LEVELS) for side in (results, others))
    found = compare(a, b, np.random.default_rng(0), replicates=1).differences
    drawn = np.random.default_rng(0).integers(0, 50, 50)
    again = [
        evaluate([labels[i] for i in drawn], [side[i] for i in drawn], difficulties=LEVELS)
        for side in (results, others)
    ]
    for key, interval in found.items():
        np.testing.assert_allclose(interval.low, again[1].ap(*key) - again[0].ap(*key), atol=1e-9, err_msg=str(key))
    # A detector against itself: no difference in any replicate.
    itself = compare(a, a, np.random.default_rng(0), 20).differences
    assert {(i.low, i.high) for i in itself.values() if not np.isnan(i.low)} == {(0.0, 0.0)}


def test_percentiles_of_the_replicates(kitti_sample: Path) -> None:
    folder = kitti_sample / "evaluation"
    evaluation = evaluate_folders(folder / "label_2", folder / "results", classes=("Pedestrian",))
    key = ("Pedestrian", "3d", "hard", "AP40")
    intervals = ap_intervals(evaluation, np.random.default_rng(3), replicates=200)
    assert intervals == ap_intervals(evaluation, np.random.default_rng(3), replicates=200)
    assert intervals != ap_intervals(evaluation, np.random.default_rng(4), replicates=200)
    assert intervals[key].low < evaluation.ap(*key) < intervals[key].high
    narrow = ap_intervals(evaluation, np.random.default_rng(3), replicates=200, confidence=0.5)[key]
    assert intervals[key].low < narrow.low < narrow.high < intervals[key].high
    rng = np.random.default_rng(3)
    weights = [np.bincount(rng.integers(0, 997, 997), minlength=997) for _ in range(200)]
    values = [evaluation.average_precisions(chosen[None], *key)[0] for chosen in weights]
    assert (intervals[key].low, intervals[key].high) == pytest.approx(tuple(np.quantile(values, (0.025, 0.975))))


def pair_of_evaluations() -> tuple[Evaluation, Evaluation]:
    labels, results = frames_of(1, 6)
    return evaluate(labels, results), evaluate(labels, results)


def test_what_has_no_interval() -> None:
    labels = [objects(label()), Objects.empty()]
    results = [objects(detection(), scored=True), Objects.empty(scored=True)]
    found = ap_intervals(evaluate(labels, results), np.random.default_rng(0), 100)
    # A quarter of the drawn pairs holds no car: those have no average precision, the others 100.
    assert (found["Car", "3d", "easy", "AP40"].low, found["Car", "3d", "easy", "AP40"].high) == (100.0, 100.0)
    assert np.isnan(found["Cyclist", "3d", "easy", "AP40"].low)
    assert not found["Cyclist", "3d", "easy", "AP40"].excludes_zero


def test_arguments_that_make_no_sense() -> None:
    a, b = pair_of_evaluations()
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="replicates: found 0"):
        ap_intervals(a, rng, 0)
    with pytest.raises(ValueError, match="confidence: found 95"):
        compare(a, b, rng, confidence=95)
    with pytest.raises(ValueError, match="frames: found none"):
        ap_intervals(evaluate([], []), rng)
    labels, results = frames_of(1, 6)
    for name, other in (
        ("depth_range", evaluate(labels, results, depth_range=(0, 9))),
        ("frame_ids", evaluate(labels[:5], results[:5])),
        ("min_overlap", evaluate(labels, results, min_overlap="loose")),
        ("labels", evaluate(frames_of(2, 6)[0], results)),
    ):
        with pytest.raises(ValueError, match=f"{name}: found other"):
            compare(a, other, rng)


def test_coverage_of_known_differences() -> None:
    # Give or take three standard deviations of the simulation itself; `benchmark.py coverage` runs more trials.
    table = coverage_table(pairs=10, trials=30, frames=100, replicates=200, population=20_000, seed=1)
    assert [row.cells[0] for row in table.rows] == ["a", "b", "b - a"]
    for row in table.rows:
        assert isinstance(row.cells[1], float) and 91 <= row.cells[1] <= 99
