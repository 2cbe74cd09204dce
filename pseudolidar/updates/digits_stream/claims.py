"""Claims about prediction updates (fewer flips, same accuracy, entropy selection), tested on the streams."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pseudolidar.statistics import Estimate, student_interval
from pseudolidar.updates import Never, Replace, Rule, Selection
from pseudolidar.updates.digits_stream.experiment import SELECTIONS, Experiment, Scores

FLIPS_FRACTION = 0.5
"""Fraction of replace's accumulated negative flips that a rule must not exceed."""
ACCURACY_LOSS = 0.5
"""Points of final accuracy that a rule may lose against replace."""

ClaimVerdict = Literal["holds", "fails", "undecided"]


@dataclass(frozen=True)
class AgainstReplace:
    """A rule compared with replace under the same selection and budget.

    Attributes:
        flips_fraction: accumulated negative flips as a fraction of replace's mean; the interval is that of the flips
            minus `FLIPS_FRACTION` of replace's, paired by seed.
        accuracy_points: final accuracy minus replace's, paired by seed.
        flips_verdict, accuracy_verdict: whether they are at most `FLIPS_FRACTION` and at least -`ACCURACY_LOSS`.
    """

    rule: Rule
    selection: Selection
    budget: float
    flips_fraction: Estimate
    flips_verdict: ClaimVerdict
    accuracy_points: Estimate
    accuracy_verdict: ClaimVerdict


@dataclass(frozen=True)
class EntropyAgainstRandom:
    """Final accuracy of a rule with entropy selection minus that with random selection, points, paired by seed."""

    rule: Rule
    budget: float
    accuracy_points: Estimate
    verdict: ClaimVerdict


def against_replace(experiment: Experiment) -> list[AgainstReplace]:
    """MaxBelief and every CostRatio under every budget and selection."""
    rows = []
    for budget, selection in experiment.settings:
        replaced = experiment.of(Replace(), selection, budget)
        for rule in experiment.weighing_rules:
            fraction, gain = beside_replace(experiment.of(rule, selection, budget), replaced)
            verdicts = _at_most(fraction, FLIPS_FRACTION), _at_least(gain, -ACCURACY_LOSS)
            rows.append(AgainstReplace(rule, selection, budget, fraction, verdicts[0], gain, verdicts[1]))
    return rows


def beside_replace(own: Scores, replaced: Scores) -> tuple[Estimate, Estimate]:
    """The flips as a fraction of replace's, and the gain in points of accuracy, as in `AgainstReplace`."""
    replaced_flips = replaced.negative.sum(axis=1)
    excess = student_interval(own.negative.sum(axis=1) - FLIPS_FRACTION * replaced_flips)
    fraction = excess.scaled(1 / (float(replaced_flips.mean()) or float("nan")), FLIPS_FRACTION)
    return fraction, student_interval(own.final_accuracy - replaced.final_accuracy, signed=True)


def entropy_against_random(experiment: Experiment) -> list[EntropyAgainstRandom]:
    """Every rule that ever changes a label, under every budget below 1."""
    rows = []
    for budget in experiment.budgets:
        for rule in experiment.rules:
            if budget < 1 and not isinstance(rule, Never):
                final = [experiment.of(rule, selection, budget).final_accuracy for selection in SELECTIONS]
                gain = student_interval(np.subtract(*final), signed=True)
                rows.append(EntropyAgainstRandom(rule, budget, gain, _at_least(gain, 0.0)))
    return rows


def _at_most(found: Estimate, bound: float) -> ClaimVerdict:
    return _at_least(found.scaled(-1), -bound)


def _at_least(found: Estimate, bound: float) -> ClaimVerdict:
    """Decided where the interval lies on one side of the bound."""
    if found.interval.low >= bound:
        return "holds"
    return "fails" if found.interval.high < bound else "undecided"
