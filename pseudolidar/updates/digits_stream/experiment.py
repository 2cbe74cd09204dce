"""Every rule under every budget and selection on the streams of many seeds, scored against the truth."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from tempfile import TemporaryDirectory
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import InputError, track
from pseudolidar.updates import (
    CostRatio,
    FlipCosts,
    MajorityVote,
    MaxBelief,
    MaxBeliefMinEntropy,
    Never,
    PredictionStore,
    Replace,
    Rule,
    Selection,
    accuracy,
    flips,
)
from pseudolidar.updates.digits_stream.classifiers import CLASSES, DigitsStream, Evidence, Kind, digits_stream

SELECTIONS: tuple[Selection, ...] = ("entropy", "random")
ARRIVAL_STEP = 2
"""The step at which a growing data set's second half arrives: with the third classifier."""


@dataclass(frozen=True)
class Policy:
    """How stored predictions are kept up to date.

    A step may evaluate a fraction `budget` of the items, in (0, 1]; the first step evaluates all. With `growing`, half
    of the items arrive only at `ARRIVAL_STEP`. With `spread` the evaluations of all later steps are one budget, spread
    over them by expected information. `evidence` is what a prediction says; expected information supposes independent
    classifiers where that does, and pair tables elsewhere.
    """

    rule: Rule
    selection: Selection
    budget: float
    growing: bool = False
    evidence: Evidence = "independent"
    spread: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.budget <= 1.0:
            raise InputError(f"budget: found {self.budget}, expected a fraction of the items above 0 and at most 1")


@dataclass(frozen=True, eq=False)
class Run:
    """The labels (T, N) of N items after each of T steps of a policy, -1 for none, and which were `evaluated` in it.

    `present` (T,) is how many items, counted from the first, there were at each step.
    """

    labels: NDArray[np.int16]
    evaluated: NDArray[np.bool_]
    present: NDArray[np.int64]


def run_policy(stream: DigitsStream, policy: Policy, seed: int) -> Run:
    """Run a stream through a store with a uniform prior; the seed decides random selection and ties."""
    steps, items = stream.predictions.shape
    labels = np.full((steps, items), -1, np.int16)
    evaluated = np.zeros((steps, items), np.bool_)
    present = np.full(steps, items)
    if policy.growing:
        present[:ARRIVAL_STEP] = items // 2
    classifiers = stream.classifiers[policy.evidence] if policy.evidence != "independent" else stream.confusions
    expected = stream.confusions if policy.evidence in ("independent", "soft") else stream.conditional
    said = stream.logits if policy.evidence.startswith("soft") else stream.predictions
    keep_votes = isinstance(policy.rule, MajorityVote)
    with (
        TemporaryDirectory() as folder,
        PredictionStore.create(folder, int(present[0]), CLASSES, keep_votes=keep_votes, keep_last=True) as store,
    ):
        for step, count in enumerate(present.tolist()):
            if count > store.items:
                store.add(count - store.items)
            budget = round(policy.budget * count) if step else count
            if policy.spread and step:
                left = budget * (steps - 1) - int(evaluated[1:step].sum())
                budget = store.spread_budget(left, stream.conditional_after(step))[0]
            own_seed = seed * steps + step
            if policy.selection == "information":
                asked = store.request_informative(budget, own_seed, expected[step])
            else:
                request = store.request_uncertain if policy.selection == "entropy" else store.request_random
                asked = request(budget, own_seed)
            store.update(asked, said[step, asked], classifiers[step], policy.rule)
            evaluated[step, asked] = True
            labels[step, :count] = store.labels
    return Run(labels, evaluated, present)


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of one policy over S seeds and T steps, against the truth; all (S, T).

    `accuracy` is in percent of the items present, and an item without a label is wrong; `negative`, `positive` and
    `neutral` are the flips of each step; `unlabelled` is how many items have no label after it, `evaluated` how many
    were evaluated in it.
    """

    accuracy: NDArray[np.float64]
    negative: NDArray[np.int64]
    positive: NDArray[np.int64]
    neutral: NDArray[np.int64]
    unlabelled: NDArray[np.int64]
    evaluated: NDArray[np.int64]

    @property
    def final_accuracy(self) -> NDArray[np.float64]:
        """Accuracy after the last step, (S,), percent of the items present."""
        return self.accuracy[:, -1]


def score(run: Run, truth: NDArray[np.int16]) -> Scores:
    """The scores of one run, S = 1; an item's first label is no flip."""
    before = np.concatenate([np.full_like(run.labels[:1], -1), run.labels[:-1]])
    changes = [flips(a, b, truth) for a, b in zip(before, run.labels, strict=True)]
    negative = np.array([[change.negative.sum() for change in changes]])
    positive = np.array([[change.positive.sum() for change in changes]])
    changed = ((before >= 0) & (before != run.labels)).sum(axis=1)
    right = [accuracy(labels[:count], truth[:count]) for labels, count in zip(run.labels, run.present, strict=True)]
    return Scores(
        accuracy=100.0 * np.array([right]),
        negative=negative,
        positive=positive,
        neutral=changed - negative - positive,
        unlabelled=run.present - (run.labels >= 0).sum(axis=1)[None],
        evaluated=run.evaluated.sum(axis=1)[None],
    )


@dataclass(frozen=True, eq=False)
class Experiment:
    """All scores on one kind of stream: T classifiers, S seeds counted from 0, N items of a target half.

    Attributes:
        budgets: fractions of the items, rising.
        growing_budget: the budget where the data set grows; None: it does not.
        rules: in the order of tables and figures.
        source_accuracy, target_accuracy: (S, T), percent, of each classifier by itself.
        error_correlation: (S,), of pairs of classifiers on the source half.
        newly_wrong: (S, T), percent of the target items that a classifier gets wrong and the one before right.
        scores: of each policy; at each budget only the selections of `selections_under`.
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
    def settings(self) -> list[tuple[float, Selection]]:
        """Every budget with each selection that was run under it."""
        return [(budget, selection) for budget in self.budgets for selection in selections_under(budget)]

    @property
    def weighing_rules(self) -> list[Rule]:
        """MaxBelief and every CostRatio: those that are played with every kind of evidence."""
        return [rule for rule in self.rules if isinstance(rule, MaxBelief | CostRatio)]

    def of(
        self,
        rule: Rule,
        selection: Selection,
        budget: float,
        growing: bool = False,
        evidence: Evidence = "independent",
        spread: bool = False,
    ) -> Scores:
        """The scores of one policy; KeyError where it was not run."""
        return self.scores[Policy(rule, selection, budget, growing, evidence, spread)]


def run_experiment(
    kinds: tuple[Kind, ...],
    seeds: int,
    budgets: Sequence[float],
    cost_ratios: Sequence[float],
    neutral_cost: float,
    growing_budget: float | None = None,
) -> Experiment:
    """Run the streams of seeds 0, 1, ... under every policy; InputError for settings out of range.

    Args:
        seeds: how many, two or more; each has its own halves of the images and its own classifiers.
        budgets, growing_budget: fractions of the items that a step may evaluate, each once; the fraction for a data set
            that grows, None: no such policy.
        cost_ratios: |c_NF / c_PF| of each CostRatio rule.
        neutral_cost: of each FlipCosts rule, one beside each CostRatio.
    """
    if seeds < 2:
        raise InputError(f"seeds: found {seeds}, expected two or more, for an interval")
    if not budgets or len(set(budgets)) < len(budgets):
        raise InputError(f"budgets: found {list(budgets)}, expected one or more, each once")
    ratios = [CostRatio(ratio) for ratio in cost_ratios]
    rules: tuple[Rule, ...] = (MaxBelief(), MaxBeliefMinEntropy(), *ratios, Replace(), MajorityVote(), Never())
    rising = tuple(sorted(budgets))
    settings = [(budget, False) for budget in rising] + ([(growing_budget, True)] if growing_budget is not None else [])
    policies = [
        Policy(rule, selection, budget, growing)
        for budget, growing in settings
        for selection in selections_under(budget)
        for rule in rules
    ]
    weighing: tuple[Rule, ...] = (MaxBelief(), *ratios)
    policies += [
        Policy(rule, selection, budget, evidence=evidence)
        for budget in rising
        for selection in informed_selections_under(budget)
        for evidence in get_args(Evidence)
        for rule in weighing
    ]
    policies += [Policy(FlipCosts(each.ratio, neutral_cost), "entropy", budget) for budget in rising for each in ratios]
    policies += [
        Policy(rule, "information", budget, evidence="discounted", spread=True)
        for budget in rising
        if budget < 1
        for rule in weighing
    ]
    policies = list(dict.fromkeys(policies))
    streams, scores = [], []
    for seed in track(range(seeds), f"streams that end with {kinds[-1].short_name}"):
        stream = digits_stream(kinds, seed)
        streams.append(stream)
        scores.append([score(run_policy(stream, policy, seed), stream.truth) for policy in policies])
    of_policy = [
        Scores(*(np.concatenate([getattr(one, each.name) for one in of_seeds]) for each in fields(Scores)))
        for of_seeds in zip(*scores, strict=True)
    ]
    right = np.stack([stream.predictions == stream.truth for stream in streams])
    newly_wrong = np.concatenate([np.zeros_like(right[:, :1]), right[:, :-1] & ~right[:, 1:]], axis=1)
    return Experiment(
        kinds=kinds,
        items=right.shape[2],
        seeds=seeds,
        budgets=rising,
        growing_budget=growing_budget,
        rules=rules,
        source_accuracy=np.stack([stream.source_accuracy for stream in streams]),
        target_accuracy=100.0 * right.mean(axis=2),
        error_correlation=np.array([stream.error_correlation for stream in streams]),
        newly_wrong=100.0 * newly_wrong.mean(axis=2),
        scores=dict(zip(policies, of_policy, strict=True)),
    )


def selections_under(budget: float) -> tuple[Selection, ...]:
    """The selections to run: at the full budget only "entropy", as selection changes nothing there."""
    return SELECTIONS if budget < 1 else SELECTIONS[:1]


def informed_selections_under(budget: float) -> tuple[Selection, ...]:
    """The selections to run with every kind of evidence."""
    return ("entropy", "information") if budget < 1 else ("entropy",)
