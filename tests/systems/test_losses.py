"""Test losses of any choice of items against computing them from scratch, and files of them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.case_study.scores import AveragePrecisionLoss, PrecisionChoice, ScoredDetector
from pseudolidar.evaluation import evaluate
from pseudolidar.files import FormatError, InputError
from pseudolidar.kitti import read_objects, write_objects
from pseudolidar.synthetic import PRESETS, write_town
from pseudolidar.systems import Inputs, MeanLoss, MeanOfLosses
from tests.evaluation.scenes import detection, label, objects, random_frame


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_a_mean_of_chosen_items_is_the_mean_over_their_parts(seed: int, items: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [rng.normal(size=rng.integers(0, 4)) for _ in range(items)]
    names = tuple(f"{i:06d}" for i in range(items))
    loss = MeanLoss(names, np.array([one.sum() for one in parts]), np.array([float(len(one)) for one in parts]))
    drawn = rng.integers(0, items, (5, items))
    weights = np.stack([np.bincount(one, minlength=items) for one in drawn])
    for found, choice in zip(loss.of(weights), drawn, strict=True):
        chosen = np.concatenate([parts[i] for i in choice])
        np.testing.assert_allclose(found, chosen.mean() if len(chosen) else np.nan, atol=1e-12)
    whole = np.concatenate(parts)
    np.testing.assert_allclose(loss.value(), whole.mean() if len(whole) else np.nan, atol=1e-12)


def test_a_file_brings_back_what_was_saved(tmp_path: Path) -> None:
    loss = MeanLoss(("000003", "Straße"), np.array([0.1, np.pi]), np.array([3.0, 0.0]), "px")
    loss.save(tmp_path / "losses.npz")
    again = MeanLoss.load(tmp_path / "losses.npz")
    assert (again.items, again.unit, again.total.tolist(), again.count.tolist()) == (
        ("000003", "Straße"),
        "px",
        [0.1, np.pi],
        [3.0, 0.0],
    )


def test_files_that_hold_something_else(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="losses by item"):
        MeanLoss.load(tmp_path / "none.npz")
    whole = tmp_path / "whole.npz"
    MeanLoss(("a", "b"), np.zeros(2), np.ones(2)).save(whole)
    np.savez(tmp_path / "lacks.npz", items=np.array(["a"]), total=np.zeros(1))
    np.savez(tmp_path / "unequal.npz", items=np.array(["a"]), total=np.zeros(2), count=np.ones(2), unit=np.array(""))
    np.save(tmp_path / "plain.npy", np.zeros(3))
    (tmp_path / "cut.npz").write_bytes(whole.read_bytes()[:200])
    (tmp_path / "empty.npz").write_bytes(b"")
    for name in ("lacks.npz", "unequal.npz", "plain.npy", "cut.npz", "empty.npz"):
        with pytest.raises(FormatError, match="items, total, count and unit"):
            MeanLoss.load(tmp_path / name)


def test_losses_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match=r"total: found shape \(3,\), expected \(2,\)"):
        MeanLoss(("a", "b"), np.zeros(3), np.ones(2))
    with pytest.raises(ValueError, match="items: found a name twice"):
        MeanLoss(("a", "a"), np.zeros(2), np.ones(2))
    with pytest.raises(ValueError, match="count: found a value that is negative"):
        MeanLoss(("a", "b"), np.zeros(2), np.array([1.0, -1.0]))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["bbox", "aos", "bev", "3d"]), st.sampled_from(["AP11", "AP40"]))
def test_average_precision_of_chosen_frames_is_that_of_evaluating_them(seed: int, view: str, metric: str) -> None:
    rng = np.random.default_rng(seed)
    labels, results = zip(*(random_frame(rng) for _ in range(30)), strict=True)
    loss = AveragePrecisionLoss(evaluate(labels, results), "Car", view, "moderate", metric)
    drawn = rng.integers(0, 30, (3, 30))
    found = loss.of(np.stack([np.bincount(one, minlength=30) for one in drawn]))
    for value, choice in zip(found, drawn, strict=True):
        again = evaluate([labels[i] for i in choice], [results[i] for i in choice])
        np.testing.assert_allclose(value, 100 - again.ap("Car", view, "moderate", metric), atol=1e-9)
    np.testing.assert_allclose(loss.of(np.ones((1, 30), np.int64))[0], loss.value(), atol=1e-9)


def test_average_precision_where_there_is_none() -> None:
    evaluation = evaluate([objects(label())], [objects(detection(), scored=True)])
    weights = np.array([[1], [0]])
    np.testing.assert_array_equal(AveragePrecisionLoss(evaluation, "Car", "3d", "easy").of(weights), [0.0, np.nan])
    cyclist = AveragePrecisionLoss(evaluation, "Cyclist", "3d", "easy")
    assert np.isnan(cyclist.value())
    assert np.isnan(cyclist.of(weights)).all()
    # A detector that gives no angle has no orientation similarity, though its boxes were tallied.
    flat = evaluate([objects(label())], [objects(detection(alpha=-10), scored=True)])
    assert np.isnan(AveragePrecisionLoss(flat, "Car", "aos", "easy").of(weights)).all()


def test_average_precision_of_arguments_that_make_no_sense() -> None:
    evaluation = evaluate([objects(label())], [objects(detection(), scored=True)])
    with pytest.raises(ValueError, match=r"weights: found shape \(1, 2\), expected \(R, 1\)"):
        AveragePrecisionLoss(evaluation, "Car", "3d", "easy").of(np.ones((1, 2), np.int64))
    with pytest.raises(ValueError, match="metric: found 'AP'"):
        evaluation.average_precisions(np.ones((1, 1), np.int64), "Car", "3d", "easy", "AP")


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["moderate", "all"]))
def test_the_mean_over_ious_of_chosen_frames_is_that_of_evaluating_them(seed: int, difficulty: str) -> None:
    rng = np.random.default_rng(seed)
    labels, results = zip(*(random_frame(rng) for _ in range(20)), strict=True)

    def precision(frames: Sequence[int], iou: float) -> float:
        overlap = {"Car": {"bev": iou}}
        chosen = [labels[i] for i in frames], [results[i] for i in frames]
        return evaluate(*chosen, difficulties=("moderate", "all"), min_overlap=overlap).ap("Car", "bev", difficulty)

    ious = [tenths / 10 for tenths in range(1, 10)]
    parts = [
        AveragePrecisionLoss(
            evaluate(labels, results, difficulties=("moderate", "all"), min_overlap={"Car": {"bev": iou}}),
            "Car", "bev", difficulty,
        )
        for iou in ious
    ]  # fmt: skip
    loss = MeanOfLosses(tuple(parts))
    np.testing.assert_allclose(loss.value(), 100 - np.mean([precision(range(20), iou) for iou in ious]), atol=1e-9)
    drawn = rng.integers(0, 20, (2, 20))
    found = loss.of(np.stack([np.bincount(one, minlength=20) for one in drawn]))
    for value, choice in zip(found, drawn, strict=True):
        np.testing.assert_allclose(value, 100 - np.mean([precision(choice, iou) for iou in ious]), atol=1e-9)
    assert (loss.items, loss.unit, loss.scored) == (parts[0].items, "points of AP40", parts[0].scored)


def test_means_of_losses_of_other_items_or_units_are_refused() -> None:
    loss = MeanLoss(("a", "b"), np.zeros(2), np.ones(2), "px")
    for other in (MeanLoss(("a", "c"), np.zeros(2), np.ones(2), "px"), MeanLoss(("a", "b"), np.zeros(2), np.ones(2))):
        with pytest.raises(ValueError, match="other items or another unit"):
            MeanOfLosses((loss, other))


@pytest.mark.parametrize(
    ("choice", "ious"),
    [
        (PrecisionChoice("bev", "official", "moderate"), [0.7]),
        (PrecisionChoice("3d", "loose", "all"), [0.5]),
        (PrecisionChoice("3d", "mean", "hard"), [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
    ],
)
def test_a_detector_is_scored_by_what_was_chosen(choice: PrecisionChoice, ious: list[float], tmp_path: Path) -> None:
    names = [f"{number:06d}" for number in range(4)]
    write_town(tmp_path / "town", PRESETS["mini"], {"val": len(names)}, seed=3, workers=1)
    folder = tmp_path / "town" / "training" / "label_2"
    labels = [read_objects(folder / f"{name}.txt", scored=False) for name in names]
    rng = np.random.default_rng(4)
    for name, truth in zip(names, labels, strict=True):
        moved = truth.box3d + rng.normal(0, 0.2, truth.box3d.shape) * [1, 1, 1, 0, 0, 0, 0]
        found = dataclasses.replace(truth, box3d=moved, score=rng.uniform(size=len(moved)))
        write_objects(tmp_path / "found" / f"{name}.txt", found)
    inputs = Inputs(tmp_path / "town", {}, 0, predictions=tmp_path / "found")
    loss = ScoredDetector("Car", loss=choice).test_loss(inputs)
    results = [read_objects(tmp_path / "found" / f"{name}.txt", scored=True) for name in names]
    expected = [
        evaluate(labels, results, ("Car",), (choice.difficulty,), min_overlap={"Car": {choice.view: iou}}).ap(
            "Car", choice.view, choice.difficulty
        )
        for iou in ious
    ]
    assert loss.value() == pytest.approx(100 - np.mean(expected))
    assert min(expected) < max(expected) or len(ious) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("aos", "mean", "all"), "view: found 'aos', expected bev, 3d"),
        (("bev", "tight", "all"), "overlap: found 'tight', expected official, loose, mean"),
        (("bev", "mean", "any"), "difficulty: found 'any', expected easy, moderate, hard, all"),
    ],
)
def test_a_choice_of_precision_that_is_none(given: tuple[Any, Any, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PrecisionChoice(*given)
