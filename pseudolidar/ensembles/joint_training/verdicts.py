"""Whether learner collusion is seen: what joint training does to diversity and to the gap, by their intervals."""

from dataclasses import dataclass
from typing import Literal

from pseudolidar.ensembles.joint_training.comparison import QUANTITIES, change, mean
from pseudolidar.ensembles.joint_training.experiments import Experiment
from pseudolidar.statistics import Estimate, signed

Word = Literal["seen", "not seen", "undecided"]

SIGNS = {
    "train_diversity": "the diversity on training data",
    "diversity_gap": "its lead over the diversity on test data",
    "loss_gap": "the gap between the ensemble's loss on test and on training data",
}
"""What has to grow, with every seed's noise, for collusion to be seen (Jeffares et al., NeurIPS 2023): diversity that
is there on training data, is missing on test data, and so widens the gap. Written down before any result."""


@dataclass(frozen=True)
class Verdict:
    """What the largest beta does against beta 0.

    Attributes:
        word: seen where all `SIGNS` have intervals above 0, not seen where one has its interval below 0.
        headline: the word, and what became of the test loss.
        reasons: the intervals that the word rests on.
    """

    word: Word
    headline: str
    reasons: str


def verdict(experiment: Experiment) -> Verdict:
    """The verdict on an experiment.

    "seen" needs no correction for three intervals, since all of them have to agree. "not seen" takes one of the three:
    where beta changes nothing, chance alone gives it more often than a single interval would.
    """
    beta = experiment.betas[-1]
    signs = {name: change(experiment, beta, QUANTITIES[name]) for name in SIGNS}
    word: Word = "undecided"
    if all(sign.interval.direction > 0 for sign in signs.values()):
        word = "seen"
    elif any(sign.interval.direction < 0 for sign in signs.values()):
        word = "not seen"
    opening = f"{experiment.design.title}: learner collusion is {word}"
    seeds = len(experiment.seeds)
    if seeds < 2:
        return Verdict(word, f"{opening}.", "One seed says nothing about others.")
    grown = [f"{text} {_verb(signs[name])} ({_text(signs[name])})" for name, text in SIGNS.items()]
    trained = change(experiment, beta, QUANTITIES["train_ensemble"])
    reasons = (
        f"With beta {beta:g} against 0, {grown[0]}, {grown[1]}, and {grown[2]}: mean change and 95 % interval over "
        f"{seeds} seeds, {experiment.design.measure}. After the same schedule, the ensemble's loss on training data "
        f"{_verb(trained)} ({_text(trained)})."
    )
    return Verdict(word, f"{opening}, {_outcome(experiment, beta)}", reasons)


def _outcome(experiment: Experiment, beta: float) -> str:
    """The test loss, in the second half of a sentence."""
    loss = change(experiment, beta, QUANTITIES["test_ensemble"])
    before, after = (mean(experiment, b, QUANTITIES["test_ensemble"]).value for b in (0.0, beta))
    made = {1: "makes a worse ensemble", -1: "makes a better ensemble", 0: "makes an ensemble not shown to differ"}
    digits, unit = loss.interval.digits, f" {experiment.design.unit}".rstrip()
    return (
        f"and joint training {made[loss.interval.direction]}: its test loss is {after:.{digits}f}{unit} "
        f"with beta {beta:g} and {before:.{digits}f} with independent training ({_text(loss)})."
    )


def _verb(found: Estimate) -> str:
    return {1: "grows", -1: "shrinks", 0: "is not shown to change"}[found.interval.direction]


def _text(found: Estimate) -> str:
    ends = (found.value, found.interval.low, found.interval.high)
    value, low, high = (signed(number, found.interval.digits).replace("-", "−") for number in ends)
    return f"{value}, {low} to {high}"
