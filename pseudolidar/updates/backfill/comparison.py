"""Budgets and policies compared where every version has results on the whole archive."""

from collections.abc import Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import track
from pseudolidar.updates import PredictionStore, Replace, Rule
from pseudolidar.updates.backfill.candidates import Candidates
from pseudolidar.updates.backfill.frames import Selection, frame_count, frames_to_run
from pseudolidar.updates.backfill.labelling import LABELS, Answers, LabelledFrames, Truth
from pseudolidar.updates.backfill.scoring import Changes, changes
from pseudolidar.updates.backfill.versions import Classifier


@dataclass(frozen=True)
class Policy:
    """How frames are chosen and stored labels changed."""

    rule: Rule
    selection: Selection


@dataclass(frozen=True)
class Trial:
    """One policy at one budget, against the labels of the first version.

    Attributes:
        policy: that was followed for every later version.
        frames: each of them was run on.
        runs: one, or several with other seeds where frames are chosen by chance.
    """

    policy: Policy
    frames: int
    runs: tuple[Changes, ...]

    def mean(self, name: str) -> float:
        """The mean over the runs of a field of `Changes`."""
        return float(np.mean([getattr(run, name) for run in self.runs]))


def compare_policies(
    candidates: Candidates,
    labelled: LabelledFrames,
    truth: Truth,
    versions: Sequence[tuple[Classifier, Answers]],
    policies: Sequence[Policy],
    budgets: Sequence[float],
    seeds: Sequence[int],
) -> list[Trial]:
    """Take the archive through all versions under each policy and budget; nothing stored is touched.

    Args:
        candidates: N boxes of the archive.
        labelled: for the prior.
        truth: of the candidates.
        versions: with what they say of all candidates, oldest first.
        policies: to compare.
        budgets: see `frame_count`.
        seeds: a run for each where frames are chosen by chance; otherwise the first one alone.
    """
    tasks = [(policy, budget) for policy in policies for budget in budgets]
    trials = []
    for policy, budget in track(tasks, "budgets"):
        count = frame_count(budget, len(candidates.frame_ids))
        used = seeds if policy.selection == "random" else seeds[:1]
        final = [final_labels(candidates, labelled.prior, versions, policy, count, seed) for seed in used]
        runs = tuple(changes(versions[0][1].label, label, truth) for label in final)
        trials.append(Trial(policy, count, runs))
    return trials


def final_labels(
    candidates: Candidates,
    prior: NDArray[np.float64],
    versions: Sequence[tuple[Classifier, Answers]],
    policy: Policy,
    count: int,
    seed: int,
) -> NDArray[np.int16]:
    """The stored labels (N,) after all versions, `count` frames each; other arguments as for `compare_policies`."""
    with (
        TemporaryDirectory() as folder,
        PredictionStore.create(folder, len(candidates), len(LABELS), prior, keep_votes=True) as store,
    ):
        for number, (version, said) in enumerate(versions):
            items = np.arange(len(candidates))
            if number:
                frames = frames_to_run(candidates, store.entropy, count, policy.selection, seed + number)
                items = candidates.items_of(frames)
            rule = policy.rule if number else Replace()
            store.update(store.request(items), said.label[items], version.confusion, rule)
        return np.array(store.labels)
