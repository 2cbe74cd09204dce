"""Every rule under every budget and selection on the streams of many seeds, with intervals over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import InputError, track
from pseudolidar.updates import (
    CostRatio,
    MajorityVote,
    MaxBelief,
    MaxBeliefMinEntropy,
    Never,
    Replace,
    Rule,
    accuracy,
    flips,
)
from pseudolidar.updates.digits_stream.classifiers import Kind, digits_stream
from pseudolidar.updates.digits_stream.runs import Policy, Run, Selection, run_policy

SELECTIONS: tuple[Selection, ...] = ("entropy", "random")


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of one policy over S seeds and T steps, against the truth.

    Attributes:
        accuracy: float64 (S, T), percent of the items that are there; an item without a label is wrong.
        negative: int64 (S, T), negative flips (right -> wrong) of each step.
        positive: int64 (S, T), positive flips (wrong -> right).
        unlabelled: int64 (S, T), how many items have no label after a step.
    """

    accuracy: NDArray[np.float64]
    negative: NDArray[np.int64]
    positive: NDArray[np.int64]
    unlabelled: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Experiment:
    """All scores on one kind of stream.

    Attributes:
        kinds: the T classifiers.
        items: N, of a target half.
        seeds: S, counted from 0.
        budgets: shares of the items, rising.
        growing_budget: the share where the data set grows; None: it does not.
        rules: in the order of tables and figures.
        source_accuracy, target_accuracy: float64 (S, T), percent, of each classifier by itself.
        error_correlation: float64 (S,), of pairs of classifiers on the source half.
        newly_wrong: float64 (S, T), percent of the target items that a classifier gets wrong and the one before right.
        scores: of each policy; of selections those that `selections_under` its budget.
    """

    kinds: tuple[Kind, ...]
    items: int
    seeds: int
    budgets: tuple[float, ...]
    growing_budget: float | None
    rules: tuple[Rule, ...]
    source_accuracy: NDArray[np.float64]
    target_accuracy: NDArray[np.float64]
    error_correlation: NDArray[np.float64]
    newly_wrong: NDArray[np.float64]
    scores: dict[Policy, Scores]

    @property
    def selections(self) -> tuple[Selection, ...]:
        """The selections that differ from each other under the smallest budget."""
        return selections_under(min(self.budgets))

    def of(self, rule: Rule, selection: Selection, budget: float, growing: bool = False) -> Scores:
        """The scores of one policy; KeyError where it was not run."""
        return self.scores[Policy(rule, selection, budget, growing)]


def run_experiment(
    kinds: tuple[Kind, ...],
    seeds: int,
    budgets: Sequence[float],
    cost_ratios: Sequence[float],
    growing_budget: float | None = None,
) -> Experiment:
    """Play the streams of seeds 0, 1, ... under every policy.

    Args:
        kinds: the classifiers in the order of arrival.
        seeds: how many, two or more; each has its own halves of the images and its own classifiers.
        budgets: shares of the items that a step may evaluate.
        cost_ratios: |c_NF / c_PF| of each CostRatio rule.
        growing_budget: the same share for a data set that grows; None: no such policy.

    Raises:
        InputError: fewer than two seeds, no budget or one twice, a budget outside of (0, 1], a ratio the rule refuses.
    """
    if seeds < 2:
        raise InputError(f"seeds: found {seeds}, expected two or more, for an interval")
    if not budgets or len(set(budgets)) < len(budgets):
        raise InputError(f"budgets: found {list(budgets)}, expected one or more, each once")
    rules: tuple[Rule, ...] = (
        MaxBelief(),
        MaxBeliefMinEntropy(),
        *(CostRatio(ratio) for ratio in cost_ratios),
        Replace(),
        MajorityVote(),
        Never(),
    )
    shares = tuple(sorted(budgets))
    settings = [(share, False) for share in shares] + ([(growing_budget, True)] if growing_budget is not None else [])
    policies = [
        Policy(rule, selection, budget, growing)
        for budget, growing in settings
        for selection in selections_under(budget)
        for rule in rules
    ]
    streams, scores = [], []
    for seed in track(range(seeds), f"streams that end with {kinds[-1].short_name}"):
        stream = digits_stream(kinds, seed)
        streams.append(stream)
        scores.append([score(run_policy(stream, policy, seed), stream.truth) for policy in policies])
    of_policy = [
        Scores(*(np.concatenate([getattr(of_seed[i], each.name) for of_seed in scores]) for each in fields(Scores)))
        for i in range(len(policies))
    ]
    right = np.stack([stream.predictions == stream.truth for stream in streams])
    newly_wrong = np.concatenate([np.zeros_like(right[:, :1]), right[:, :-1] & ~right[:, 1:]], axis=1)
    return Experiment(
        kinds=kinds,
        items=right.shape[2],
        seeds=seeds,
        budgets=shares,
        growing_budget=growing_budget,
        rules=rules,
        source_accuracy=np.stack([stream.source_accuracy for stream in streams]),
        target_accuracy=100.0 * right.mean(axis=2),
        error_correlation=np.array([stream.error_correlation for stream in streams]),
        newly_wrong=100.0 * newly_wrong.mean(axis=2),
        scores=dict(zip(policies, of_policy, strict=True)),
    )


def selections_under(budget: float) -> tuple[Selection, ...]:
    """At the full budget selection selects nothing, and only "entropy" is played."""
    return SELECTIONS if budget < 1 else SELECTIONS[:1]


def score(run: Run, truth: NDArray[np.int16]) -> Scores:
    """The scores of one run, S = 1; items that get their first label do not flip."""
    before = np.concatenate([np.full_like(run.labels[:1], -1), run.labels[:-1]])
    changes = [flips(a, b, truth) for a, b in zip(before, run.labels, strict=True)]
    shares = [accuracy(labels[:count], truth[:count]) for labels, count in zip(run.labels, run.present, strict=True)]
    return Scores(
        accuracy=100.0 * np.array([shares]),
        negative=np.array([[change.negative for change in changes]]),
        positive=np.array([[change.positive for change in changes]]),
        unlabelled=run.present - (run.labels >= 0).sum(axis=1)[None],
    )


def rule_name(rule: Rule) -> str:
    """The rule's name in tables and figures."""
    if isinstance(rule, CostRatio):
        return f"CostRatio {rule.ratio:g}"
    names = {Replace: "replace", MajorityVote: "majority vote", Never: "never"}
    return names.get(type(rule), type(rule).__name__)
