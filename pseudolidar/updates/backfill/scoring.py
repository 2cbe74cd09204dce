"""What changed labels mean for a labelled archive: objects found and lost, false detections added and removed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from pseudolidar.evaluation import CLASSES, LOOSE_OVERLAP, StackedObjects
from pseudolidar.evaluation.flips import Criterion, FoundObjects, ObjectFlips, find_objects
from pseudolidar.kitti import Objects
from pseudolidar.systems import Change, MeanLoss, change
from pseudolidar.updates.backfill.candidates import Candidates
from pseudolidar.updates.backfill.labelling import BACKGROUND, Answers, Truth
from pseudolidar.updates.backfill.results import stored_objects


@dataclass(frozen=True)
class Changes:
    """Two sets of labels of the same items, against the truth.

    Attributes:
        found: objects of which only the later label is right (positive flips).
        lost: of which only the earlier one is (negative flips).
        added: items that only the later labels wrongly call a class: background, or an object of another class.
        removed: that only the earlier ones do.
        accuracy: share of the items that the later labels have right.
    """

    found: int
    lost: int
    added: int
    removed: int
    accuracy: float


def changes(before: NDArray[np.int16], after: NDArray[np.int16], truth: Truth) -> Changes:
    """Compare labels (N,) of the items that count."""
    old, new, true = before[truth.counts], after[truth.counts], truth.label[truth.counts]
    is_object = true != BACKGROUND
    was_right, is_right = old == true, new == true
    was_false, is_false = ((label != BACKGROUND) & (label != true) for label in (old, new))
    return Changes(
        int((is_object & ~was_right & is_right).sum()),
        int((is_object & was_right & ~is_right).sum()),
        int((~was_false & is_false).sum()),
        int((was_false & ~is_false).sum()),
        float(is_right.mean()) if len(true) else float("nan"),
    )


def accuracy_change(
    candidates: Candidates,
    before: NDArray[np.int16],
    after: NDArray[np.int16],
    truth: Truth,
    random: np.random.Generator,
) -> Change:
    """How the share of wrong labels among the items that count changes, %, with its interval over frames.

    Args:
        candidates: N boxes.
        before, after: labels (N,).
        truth: of the candidates.
        random: draws frames, see `study.change`.
    """
    frames = len(candidates.frame_ids)
    count: NDArray[np.float64] = np.bincount(candidates.frame, truth.counts, frames).astype(np.float64)
    losses = []
    for label in (before, after):
        is_wrong = truth.counts & (label != truth.label)
        total: NDArray[np.float64] = np.bincount(candidates.frame, 100.0 * is_wrong, frames).astype(np.float64)
        losses.append(MeanLoss(candidates.frame_ids, total, count, "%"))
    return change("stored labels", losses[:1], losses[1:], random, trained=False)


def object_flips(
    candidates: Candidates,
    labels: StackedObjects,
    before: tuple[NDArray[np.int16], Sequence[Answers]],
    after: tuple[NDArray[np.int16], Sequence[Answers]],
) -> dict[str, ObjectFlips]:
    """Objects found and lost by their place on the ground, whether a candidate covers them or not.

    Args:
        candidates: N boxes.
        labels: of the archive's frames.
        before, after: labels (N,), and the versions behind them, oldest first, as for `results.stored_objects`.

    Returns:
        by class, KITTI's matching in bird's eye view at the looser overlaps; what the labels stand for is kept whole.
    """
    ends = [stored_objects(candidates, label, np.ones(len(label)), sources) for label, sources in (before, after)]
    flips = {}
    for class_name in CLASSES:
        criterion = Criterion(class_name, "bev", "all", LOOSE_OVERLAP[class_name]["bev"])
        flips[class_name] = ObjectFlips(
            *(_all_found(labels, results, criterion, candidates.frame_ids) for results in ends)
        )
    return flips


def _all_found(
    labels: StackedObjects, results: Sequence[Objects], criterion: Criterion, frame_ids: Sequence[str]
) -> FoundObjects:
    # A 2D box alone, as of a class that no version detects, has no place on the ground: it matches nothing there.
    placed = [one[one.box3d[:, 3] > 0] for one in results]
    flat = sum(int((one.class_name == criterion.class_name)[one.box3d[:, 3] <= 0].sum()) for one in results)
    found = find_objects(labels, placed, criterion, frame_ids)
    false_count = found.false_count
    if not isfinite(found.threshold):
        # Of equal scores all are kept; but where none matches an object none is, and all are false.
        tally = criterion.evaluate(labels, placed).tallies[criterion.class_name, criterion.view, criterion.difficulty]
        false_count = int(tally.change[:, 1].sum())
    return replace(found, false_count=false_count + flat)
