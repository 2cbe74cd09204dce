"""Objects that one version of a system finds and another one loses: negative flips, and the reverse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pseudolidar.evaluation.by_depth import SumsByDepth, sums_by_depth
from pseudolidar.evaluation.evaluator import Evaluation, evaluate, object_outcomes
from pseudolidar.evaluation.protocol import VIEWS
from pseudolidar.files import InputError
from pseudolidar.kitti import Objects
from pseudolidar.systems import Fate, Flips
from pseudolidar.tables import Heading, Row, Table


@dataclass(frozen=True)
class Criterion:
    """When an object counts as found, in the terms of KITTI's protocol.

    `min_overlap` is the IoU that a match must exceed, None for the benchmark's. Nothing outside of `depth_range`,
    (near, far] in m, counts; None: any depth.
    """

    class_name: str
    view: Literal["bbox", "bev", "3d"] = "bev"
    difficulty: str = "all"
    min_overlap: float | None = None
    depth_range: tuple[float, float] | None = None

    def evaluate(
        self, labels: Sequence[Objects], results: Sequence[Objects], frame_ids: Sequence[str] | None = None
    ) -> Evaluation:
        """`evaluation.evaluate` for the criterion's class and difficulty."""
        view: str = self.view
        overlap = None if self.min_overlap is None else {self.class_name: {view: self.min_overlap}}
        return evaluate(
            labels, results, (self.class_name,), (self.difficulty,), self.depth_range, overlap, frame_ids=frame_ids
        )

    def __str__(self) -> str:
        limits = "" if self.min_overlap is None else f", IoU > {self.min_overlap:g}"
        if self.depth_range is not None:
            limits += f", {self.depth_range[0]:g} to {self.depth_range[1]:g} m"
        return f"{self.class_name}, {VIEWS[self.view]}, {self.difficulty}{limits}"


@dataclass(frozen=True, eq=False)
class FoundObjects:
    """The objects that one version finds at its operating point, `threshold` (`best_threshold`).

    Attributes:
        frame, row: int64 (N,), of each object that counts: index into `frame_ids`, place in the labels of its frame.
        depth_m: float64 (N,), z in the rectified camera frame.
        is_found: bool (N,).
        false_count: detections that match nothing.
    """

    criterion: Criterion
    frame_ids: tuple[str, ...]
    frame: NDArray[np.int64]
    row: NDArray[np.int64]
    depth_m: NDArray[np.float64]
    is_found: NDArray[np.bool_]
    threshold: float
    false_count: int

    @property
    def recall(self) -> float:
        """Fraction of the objects that are found; NaN without objects."""
        return float(self.is_found.mean()) if len(self.is_found) else float("nan")

    @property
    def precision(self) -> float:
        """Fraction of the kept detections that match an object; NaN where none is kept."""
        found = int(self.is_found.sum())
        return found / (found + self.false_count) if found + self.false_count else float("nan")

    def recall_by_depth(self, edges_m: Sequence[float] | NDArray[np.float64]) -> SumsByDepth:
        """Found objects, and all that count, in each depth bin and frame."""
        return sums_by_depth(len(self.frame_ids), self.frame, self.depth_m, self.is_found, edges_m)


def best_threshold(evaluation: Evaluation, criterion: Criterion) -> float:
    """The highest score at which F1, the harmonic mean of precision and recall, is highest; infinity without a match.

    The scores of two trainings are not on one scale (Frustum PointNet's are sums of log probabilities), so one number
    for both versions would compare two operating points. A common precision need not exist: a weak version may never
    reach it. Every version that finds anything has a highest F1. It is taken on the frames that are compared, with as
    much freedom for one version as for the other.

    Raises:
        InputError: the view is 3D and the results are 2D boxes only.
    """
    key = (criterion.class_name, criterion.view, criterion.difficulty)
    if key not in evaluation.tallies:
        raise InputError(f"results: found 2D boxes only, expected 3D boxes, by which {criterion.view} matches")
    tally = evaluation.tallies[key]
    true, false = np.cumsum(tally.change[:, 0]), np.cumsum(tally.change[:, 1])
    # Of equal scores all are kept, or none.
    is_last = np.append(np.diff(tally.score) < 0, True)[: len(tally.score)]
    f1 = np.where(is_last, 2 * true / np.maximum(true + false + tally.object_count.sum(), 1), 0.0)
    if not len(f1) or f1.max() == 0:
        return float("inf")
    return float(tally.score[f1.argmax()])


def find_objects(
    labels: Sequence[Objects], results: Sequence[Objects], criterion: Criterion, frame_ids: Sequence[str]
) -> FoundObjects:
    """Objects that one version finds with the detections of `best_threshold` and above."""
    place = {frame_id: number for number, frame_id in enumerate(frame_ids)}
    if len(place) != len(labels):
        raise ValueError(f"frame_ids: found {len(place)} different names, expected {len(labels)}, one a frame")
    # Lists: the lines of outcomes are then places in the frame, whatever files the objects come from.
    labels, results = list(labels), list(results)
    threshold = best_threshold(criterion.evaluate(labels, results), criterion)
    kept = [found[found.score >= threshold] if found.score is not None else found for found in results]
    objects, false_count = [], 0
    for one in object_outcomes(criterion.evaluate(labels, kept, frame_ids)):
        if one.view != criterion.view:
            continue
        if one.label_line is None:
            false_count += 1
        else:
            objects.append((place[one.frame], one.label_line - 1, one.outcome == "matched"))
    frame, row, is_found = np.array(objects, np.int64).reshape(-1, 3).T
    depth_m = np.array([labels[f].box3d[i, 2] for f, i, _ in objects], np.float64)
    return FoundObjects(
        criterion, tuple(frame_ids), frame, row, depth_m, is_found.astype(np.bool_), threshold, false_count
    )


@dataclass(frozen=True, eq=False)
class ObjectFlips:
    """Two versions on the same objects; ValueError if they differ in their criterion or their objects."""

    before: FoundObjects
    after: FoundObjects

    def __post_init__(self) -> None:
        a, b = self.before, self.after
        if (a.criterion, a.frame_ids) != (b.criterion, b.frame_ids):
            raise ValueError("after: found another criterion or other frames than before, expected the same")
        if not (np.array_equal(a.frame, b.frame) and np.array_equal(a.row, b.row)):
            raise ValueError("after: found other objects than before, expected the same labels")

    @property
    def flips(self) -> Flips:
        """Flips of the N objects; right means found."""
        return Flips(self.before.is_found, self.after.is_found)

    def in_frame(self, frame_id: str) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
        """Places (n,) in a frame's labels of the objects that count, and their fates (n,)."""
        there = self.before.frame == self.before.frame_ids.index(frame_id)
        return self.before.row[there], self.flips.fates[there]

    def telling_frames(self, labels: Sequence[Objects], fate: Fate, count: int) -> list[str]:
        """At most `count` frames in which most objects have a fate; near and visible objects count most.

        An object counts 1 / (1 + depth / 20 m), and a quarter of that where it is largely hidden (occlusion 2 or 3).
        """
        weights = np.zeros(len(labels))
        found = self.before
        for i in np.flatnonzero(self.flips.fates == fate):
            frame = int(found.frame[i])
            hidden = labels[frame].occlusion[found.row[i]] > 1
            weights[frame] += (0.25 if hidden else 1.0) / (1.0 + max(float(found.depth_m[i]), 0.0) / 20.0)
        ranked = np.argsort(-weights, kind="stable")[:count]
        return [found.frame_ids[frame] for frame in ranked if weights[frame] > 0]


def flips_table(rows: Mapping[str, ObjectFlips], caption: str) -> Table:
    """Counts of each fate, with precision and false detections of both versions at their operating points.

    The keys of `rows` say what is compared, e.g. "u -> u', seed 0", or "u, seed 0 -> seed 1" for flips by seed alone.
    """
    body = []
    for name, flips in rows.items():
        counts = flips.flips.counts()
        versions = flips.before, flips.after
        precision, false = [100 * one.precision for one in versions], [one.false_count for one in versions]
        body.append(Row((name, *counts.values(), sum(counts.values()), *precision, *false)))
    criteria = dict.fromkeys(str(flips.before.criterion) for flips in rows.values())
    return Table(
        caption,
        (
            ("", "", Heading("flips", 2), "", "", Heading("precision (%)", 2), Heading("false detections", 2)),
            ("objects", "kept", "negative", "positive", "missed", "all", *("before", "after") * 2),
        ),
        tuple(body),
        (
            "Negative: found before, not after; positive: the reverse. Each version is taken at the score of "
            "its highest F1, since the scores of two trainings are not on one scale; where the precisions there lie "
            "far apart, part of the flips is the threshold's.",
            f"Counted: {'; '.join(criteria)}.",
        ),
        digits=1,
    )
