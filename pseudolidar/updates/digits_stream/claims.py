"""What prediction updates are said to achieve, held against the streams as they are."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pseudolidar.statistics import Estimate, student_interval
from pseudolidar.updates import CostRatio, MaxBelief, Never, Replace, Rule
from pseudolidar.updates.digits_stream.experiment import SELECTIONS, Experiment, selections_under
from pseudolidar.updates.digits_stream.runs import Selection

FLIPS_SHARE = 0.5
"""Share of replace's accumulated negative flips that a rule must not exceed."""
ACCURACY_LOSS = 0.5
"""Points of final accuracy that a rule may lose against replace."""

Verdict = Literal["holds", "fails", "undecided"]


@dataclass(frozen=True)
class AgainstReplace:
    """A rule beside replace, with the same selection and budget.

    Attributes:
        rule, selection, budget: whose.
        share: accumulated negative flips as a share of replace's mean; the interval is that of the flips minus
            `FLIPS_SHARE` of replace's, paired by seed.
        flips_verdict: whether the share is at most `FLIPS_SHARE`.
        accuracy: final accuracy minus replace's, points, paired by seed.
        accuracy_verdict: whether it is at least -`ACCURACY_LOSS`.
    """

    rule: Rule
    selection: Selection
    budget: float
    share: Estimate
    flips_verdict: Verdict
    accuracy: Estimate
    accuracy_verdict: Verdict


@dataclass(frozen=True)
class EntropyAgainstRandom:
    """Final accuracy of a rule with entropy selection minus that with random selection, points, paired by seed."""

    rule: Rule
    budget: float
    accuracy: Estimate
    verdict: Verdict


def against_replace(experiment: Experiment) -> list[AgainstReplace]:
    """MaxBelief and every CostRatio under every budget and selection."""
    return [
        _beside_replace(experiment, rule, selection, budget)
        for budget in experiment.budgets
        for selection in selections_under(budget)
        for rule in experiment.rules
        if isinstance(rule, MaxBelief | CostRatio)
    ]


def _beside_replace(experiment: Experiment, rule: Rule, selection: Selection, budget: float) -> AgainstReplace:
    own, replaced = (experiment.of(which, selection, budget) for which in (rule, Replace()))
    flips, replaced_flips = own.negative.sum(axis=1), replaced.negative.sum(axis=1)
    excess = student_interval(flips - FLIPS_SHARE * replaced_flips)
    whole = float(replaced_flips.mean()) or float("nan")
    accuracy = student_interval(own.accuracy[:, -1] - replaced.accuracy[:, -1], signed=True)
    return AgainstReplace(
        rule=rule,
        selection=selection,
        budget=budget,
        share=excess.scaled(1 / whole, FLIPS_SHARE),
        flips_verdict=_at_least(excess.scaled(-1), 0.0),
        accuracy=accuracy,
        accuracy_verdict=_at_least(accuracy, -ACCURACY_LOSS),
    )


def entropy_against_random(experiment: Experiment) -> list[EntropyAgainstRandom]:
    """Every rule that ever changes a label, under every budget that leaves a choice."""
    rows = []
    for budget in experiment.budgets:
        for rule in experiment.rules:
            if budget < 1 and not isinstance(rule, Never):
                final = [experiment.of(rule, selection, budget).accuracy[:, -1] for selection in SELECTIONS]
                gain = student_interval(np.subtract(*final), signed=True)
                rows.append(EntropyAgainstRandom(rule, budget, gain, _at_least(gain, 0.0)))
    return rows


def _at_least(found: Estimate, bound: float) -> Verdict:
    """Decided where the interval lies on one side of the bound."""
    if found.interval.low >= bound:
        return "holds"
    return "fails" if found.interval.high < bound else "undecided"
