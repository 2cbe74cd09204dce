"""Joint against independent training over seeds, and the verdict on learner collusion."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from pseudolidar.ensembles.joint_training.experiments import Experiment, Training
from pseudolidar.statistics import Estimate, signed, student_interval

Quantity = Callable[[Training], float]

SPLITS = ("train", "test")


def _part(split: str, part: str) -> Quantity:
    return lambda training: float(getattr(getattr(training.end, split).decomposition, part))


def _bias_share(split: str) -> Quantity:
    return lambda training: float(getattr(training.end, split).bias_share)


QUANTITIES: Mapping[str, Quantity] = {
    **{f"{split}_{part}": _part(split, part) for split in SPLITS for part in ("individual", "diversity", "ensemble")},
    "loss_gap": lambda training: training.end.test.decomposition.ensemble - training.end.train.decomposition.ensemble,
    "diversity_gap": lambda training: (
        training.end.train.decomposition.diversity - training.end.test.decomposition.diversity
    ),
    **{f"{split}_bias_share": _bias_share(split) for split in SPLITS},
    "lowest_test_ensemble": lambda training: min(
        snapshot.test.decomposition.ensemble for snapshot in training.snapshots
    ),
}
"""At the end of training. `loss_gap` is the ensemble loss on test less that on training data, `diversity_gap` the
diversity on training less that on test data; so the loss gap is the gap of the individual losses + the diversity gap.
`lowest_test_ensemble` is chosen by looking at the test data."""


def _of_objective(split: str, part: str) -> Quantity:
    def value(training: Training) -> float:
        losses = getattr(training.end, split).objective
        return float("nan") if losses is None else float(getattr(losses, part))

    return value


OBJECTIVE_QUANTITIES: Mapping[str, Quantity] = {
    f"{split}_{part}": _of_objective(split, part) for split in SPLITS for part in ("individual", "ensemble")
}
"""Values of the loss that was trained on, at the end of training; NaN if it is the one that is compared anyway."""


def percent(quantity: Quantity) -> Quantity:
    """The quantity, from 0 to 1, in percent."""
    return lambda training: 100 * quantity(training)


def mean(experiment: Experiment, beta: float, quantity: Quantity) -> Estimate:
    """The mean over the seeds, with its Student's interval."""
    return student_interval([quantity(training) for training in experiment.of(beta)])


def change(experiment: Experiment, beta: float, quantity: Quantity) -> Estimate:
    """The change by a beta against beta 0: the mean over seeds of the differences, each between the same seeds."""
    pairs = zip(experiment.of(0.0), experiment.of(beta), strict=True)
    return student_interval([quantity(after) - quantity(before) for before, after in pairs], signed=True)


SIGNS = {
    "train_diversity": "the diversity on training data",
    "diversity_gap": "its lead over the diversity on test data",
    "loss_gap": "the gap between the ensemble's loss on test and on training data",
}
"""These have to grow, with every seed's noise, for collusion to be seen (Jeffares et al., NeurIPS 2023): diversity that
is there on training data, is missing on test data, and so widens the gap. Written down before any result."""


@dataclass(frozen=True)
class CollusionVerdict:
    """The effect of the largest beta against beta 0.

    Attributes:
        collusion: seen where all `SIGNS` have intervals above 0, not seen where one has its interval below 0.
        headline: the same in words, with the change of the test loss.
        reasons: the intervals behind it.
    """

    collusion: Literal["seen", "not seen", "undecided"]
    headline: str
    reasons: str


def collusion_verdict(experiment: Experiment) -> CollusionVerdict:
    """The verdict on an experiment.

    "seen" needs no correction for three intervals, since all of them have to agree. "not seen" takes one of the three:
    where beta changes nothing, chance alone gives it more often than a single interval would.
    """
    beta = experiment.betas[-1]
    changes = {name: change(experiment, beta, QUANTITIES[name]) for name in (*SIGNS, "train_ensemble", "test_ensemble")}
    directions = [changes[name].interval.direction for name in SIGNS]
    collusion: Literal["seen", "not seen", "undecided"] = "undecided"
    if min(directions) > 0:
        collusion = "seen"
    elif min(directions) < 0:
        collusion = "not seen"
    opening = f"{experiment.design.title}: learner collusion is {collusion}"
    seeds = len(experiment.seeds)
    if seeds < 2:
        return CollusionVerdict(collusion, f"{opening}.", "One seed says nothing about others.")
    grown = [f"{text} {_verb(changes[name])} ({_text(changes[name])})" for name, text in SIGNS.items()]
    trained, tested = changes["train_ensemble"], changes["test_ensemble"]
    reasons = (
        f"With beta {beta:g} against 0, {grown[0]}, {grown[1]}, and {grown[2]}: mean change and 95 % interval over "
        f"{seeds} seeds, {experiment.design.measure}. After the same schedule, the ensemble's loss on training data "
        f"{_verb(trained)} ({_text(trained)})."
    )
    made = {1: "makes a worse ensemble", -1: "makes a better ensemble", 0: "makes an ensemble not shown to differ"}
    before, after = (mean(experiment, b, QUANTITIES["test_ensemble"]).value for b in (0.0, beta))
    digits, unit = tested.interval.digits, f" {experiment.design.unit}".rstrip()
    headline = (
        f"{opening}, and joint training {made[tested.interval.direction]}: its test loss is {after:.{digits}f}{unit} "
        f"with beta {beta:g} and {before:.{digits}f} with independent training ({_text(tested)})."
    )
    return CollusionVerdict(collusion, headline, reasons)


def _verb(found: Estimate) -> str:
    return {1: "grows", -1: "shrinks", 0: "is not shown to change"}[found.interval.direction]


def _text(found: Estimate) -> str:
    ends = (found.value, found.interval.low, found.interval.high)
    value, low, high = (signed(number, found.interval.digits) for number in ends)
    return f"{value}, {low} to {high}"
