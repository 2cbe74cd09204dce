"""Changed labels against ground truth: flips, false detections, objects on the ground; policies compared."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from pseudolidar.evaluation import CLASSES, LOOSE_OVERLAP, StackedObjects
from pseudolidar.evaluation.flips import Criterion, FoundObjects, ObjectFlips, find_objects
from pseudolidar.files import track
from pseudolidar.kitti import Objects
from pseudolidar.systems import Change, MeanLoss, change
from pseudolidar.updates import PredictionStore, Replace, Rule, Selection, accuracy, flips
from pseudolidar.updates.backfill.candidates import Candidates, frame_count, frames_to_run
from pseudolidar.updates.backfill.labelling import BACKGROUND, LABELS, LabelledFrames, Predictions, Truth
from pseudolidar.updates.backfill.results import stored_objects
from pseudolidar.updates.backfill.versions import Classifier


@dataclass(frozen=True)
class Changes:
    """Two sets of labels of the same items, compared with the truth.

    Attributes:
        positive, negative: flips of objects: only the later label is right (the object is found), only the earlier one
            (the object is lost).
        added, removed: items (background, or an object of another class) that only the later labels, only the earlier
            labels wrongly call a class.
        accuracy: fraction of the items whose later label is right.
    """

    positive: int
    negative: int
    added: int
    removed: int
    accuracy: float


def changes(before: NDArray[np.int16], after: NDArray[np.int16], truth: Truth) -> Changes:
    """Compare labels (N,) on the items that count."""
    old, new, true = (label[truth.counts] for label in (before, after, truth.label))
    is_object = true != BACKGROUND
    of_objects = flips(old[is_object], new[is_object], true[is_object])
    was_false, is_false = ((label != BACKGROUND) & (label != true) for label in (old, new))
    return Changes(
        int(of_objects.positive.sum()),
        int(of_objects.negative.sum()),
        int((~was_false & is_false).sum()),
        int((was_false & ~is_false).sum()),
        accuracy(new, true),
    )


def accuracy_change(
    candidates: Candidates,
    before: NDArray[np.int16],
    after: NDArray[np.int16],
    truth: Truth,
    random: np.random.Generator,
) -> Change:
    """The change of the percentage of wrong labels (N,) among the items that count, with its interval over frames."""
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
    before: tuple[NDArray[np.int16], Sequence[Predictions]],
    after: tuple[NDArray[np.int16], Sequence[Predictions]],
) -> dict[str, ObjectFlips]:
    """By class, flips of all objects by their place on the ground, whether or not a candidate covers them.

    KITTI's matching in bird's eye view at the looser IoUs; every stored object is kept, whatever its score. `before`
    and `after`: labels (N,) and the predictions that gave them, oldest first, see `stored_objects`.
    """
    ends = [stored_objects(candidates, label, np.ones(len(label)), sources) for label, sources in (before, after)]
    by_class = {}
    for class_name in CLASSES:
        criterion = Criterion(class_name, "bev", "all", LOOSE_OVERLAP[class_name]["bev"])
        found = (_all_found(labels, results, criterion, candidates.frame_ids) for results in ends)
        by_class[class_name] = ObjectFlips(*found)
    return by_class


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


@dataclass(frozen=True)
class Trial:
    """One rule and selection at one budget, scored against the labels of the first version.

    Each later version was run on `frames` frames; several `runs` have other seeds where frames are chosen at random.
    """

    rule: Rule
    selection: Selection
    frames: int
    runs: tuple[Changes, ...]

    def mean(self, name: str) -> float:
        """The mean of a field of `Changes` over the runs."""
        return float(np.mean([getattr(run, name) for run in self.runs]))


def compare_policies(
    candidates: Candidates,
    labelled: LabelledFrames,
    truth: Truth,
    versions: Sequence[tuple[Classifier, Predictions]],
    policies: Sequence[tuple[Rule, Selection]],
    budgets: Sequence[float],
    seeds: Sequence[int],
) -> list[Trial]:
    """Update the archive by all versions under each policy and budget; the stored state is not touched.

    `labelled` gives the prior; `versions` come with their predictions of all candidates, oldest first; `budgets` are as
    for `frame_count`. Each seed is a run where frames are chosen at random; otherwise only the first seed is used.
    """
    tasks = [(*policy, budget) for policy in policies for budget in budgets]
    trials = []
    for rule, selection, budget in track(tasks, "budgets"):
        count = frame_count(budget, len(candidates.frame_ids))
        runs = []
        for seed in seeds if selection == "random" else seeds[:1]:
            with (
                TemporaryDirectory() as folder,
                PredictionStore.create(folder, len(candidates), len(LABELS), labelled.prior, keep_votes=True) as store,
            ):
                for number, (version, predicted) in enumerate(versions):
                    items = np.arange(len(candidates))
                    if number:
                        frames = frames_to_run(candidates, store.entropy, count, selection, seed + number)
                        items = candidates.items_of(frames)
                    store.request(items)
                    store.update(items, predicted.label[items], version.confusion, rule if number else Replace())
                runs.append(changes(versions[0][1].label, np.asarray(store.labels), truth))
        trials.append(Trial(rule, selection, count, tuple(runs)))
    return trials
