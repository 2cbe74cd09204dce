"""Intervals for average precision and for the difference of two, by resampling frames."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pseudolidar.evaluation.average_precision import METRICS, average_precision
from pseudolidar.evaluation.evaluator import Evaluation
from pseudolidar.files import InputError
from pseudolidar.statistics import CONFIDENCE, Interval, percentile_interval

Key = tuple[str, str, str, str]
"""Class, view, difficulty, metric."""

_NUMBERS_AT_ONCE = 1 << 20


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two sets of results on the same frames; `differences` are intervals of b's average precision minus a's."""

    a: Evaluation
    b: Evaluation
    differences: dict[Key, Interval]
    replicates: int
    confidence: float


def ap_intervals(
    evaluation: Evaluation, random: np.random.Generator, replicates: int = 1000, confidence: float = CONFIDENCE
) -> dict[Key, Interval]:
    """Percentile bootstrap intervals over frames (Efron & Tibshirani 1993, chapter 13) of every average precision.

    Every replicate is the average precision of as many frames as were evaluated, drawn with replacement; the frames are
    the independent observations, so neighbours in a video make intervals too narrow. All numbers of an evaluation get
    the same drawn frames. `confidence` is the fraction of the replicates inside of an interval.

    By its definition AP40 jumps by up to 2.5, and AP11 by up to 9, where the recall that a detector reaches passes a
    point of the grid. Near such a jump it is luck on which side the value for infinitely many frames lies, and interval
    and value may part more often than `confidence` says; over many detectors they do not (`benchmark.py coverage`).

    Raises:
        InputError: no replicates, a confidence outside of (0, 1), no frames.
    """
    (averages,) = _replicates((evaluation,), random, replicates, confidence)
    return {key: percentile_interval(values, confidence) for key, values in averages.items()}


def compare(
    a: Evaluation, b: Evaluation, random: np.random.Generator, replicates: int = 1000, confidence: float = CONFIDENCE
) -> Comparison:
    """Compare two sets of results on the same drawn frames, with paired intervals of b minus a, see `ap_intervals`.

    What makes a frame hard is hard for both and cancels: the interval is narrower than two separate ones suggest.

    Raises:
        ValueError: also where a and b were not evaluated alike on the same labels.
    """
    for name in ("classes", "difficulties", "depth_range", "min_overlap", "official_grid", "frame_ids"):
        if getattr(a, name) != getattr(b, name):
            raise ValueError(f"{name}: found others for a than for b, expected the same")
    for key in a.tallies.keys() & b.tallies.keys():
        if not np.array_equal(a.tallies[key].object_count, b.tallies[key].object_count):
            raise ValueError(f"labels: found other {key[0]} objects for a than for b, expected the same frames")
    of_a, of_b = _replicates((a, b), random, replicates, confidence)
    both = {key: of_b[key] - values for key, values in of_a.items() if key in of_b}
    intervals = {key: percentile_interval(values, confidence) for key, values in both.items()}
    return Comparison(a, b, intervals, replicates, confidence)


def _replicates(
    evaluations: tuple[Evaluation, ...], random: np.random.Generator, replicates: int, confidence: float
) -> list[dict[Key, NDArray[np.float64]]]:
    """Average precisions (replicates,) of each evaluation, on the same drawn frames."""
    if replicates < 1:
        raise InputError(f"replicates: found {replicates}, expected one or more")
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence: found {confidence}, expected a number between 0 and 1")
    frames = evaluations[0].frame_count
    if not frames:
        raise InputError("frames: found none, expected one or more to draw from")
    averages: list[defaultdict[Key, list[NDArray[np.float64]]]] = [defaultdict(list) for _ in evaluations]
    step = max(1, _NUMBERS_AT_ONCE // frames)
    for first in range(0, replicates, step):
        count = min(step, replicates - first)
        drawn = random.integers(0, frames, (count, frames)) + frames * np.arange(count)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=count * frames).reshape(count, frames)
        for evaluation, of_one in zip(evaluations, averages, strict=True):
            for key, values in _averages(evaluation, weights):
                of_one[key].append(values)
    return [{key: np.concatenate(values) for key, values in of_one.items()} for of_one in averages]


def _averages(evaluation: Evaluation, weights: NDArray[np.int64]) -> Iterator[tuple[Key, NDArray[np.float64]]]:
    """Every average precision (R,) of R choices of the frames; each tally makes its curves once."""
    for (class_name, view, level), tally in evaluation.tallies.items():
        precision, similarity, object_count = tally.curves(weights, evaluation.official_grid)
        for of_view, curve in ((view, precision), ("aos", similarity))[: 2 if view == "bbox" else 1]:
            if (class_name, of_view, level) in evaluation.curves:
                for metric in METRICS:
                    key = class_name, of_view, level, metric
                    yield key, average_precision(curve, object_count, metric)
