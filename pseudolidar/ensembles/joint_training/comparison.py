"""Quantities of a training, averaged over seeds, and compared with independent training seed by seed."""

from collections.abc import Callable, Mapping

from pseudolidar.ensembles.joint_training.experiments import Experiment
from pseudolidar.ensembles.joint_training.measurements import Training
from pseudolidar.statistics import Estimate, student_interval

Quantity = Callable[[Training], float]

QUANTITIES: Mapping[str, Quantity] = {
    "train_individual": lambda training: training.end.train.decomposition.individual,
    "train_diversity": lambda training: training.end.train.decomposition.diversity,
    "train_ensemble": lambda training: training.end.train.decomposition.ensemble,
    "test_individual": lambda training: training.end.test.decomposition.individual,
    "test_diversity": lambda training: training.end.test.decomposition.diversity,
    "test_ensemble": lambda training: training.end.test.decomposition.ensemble,
    "loss_gap": lambda training: training.end.test.decomposition.ensemble - training.end.train.decomposition.ensemble,
    "diversity_gap": lambda training: (
        training.end.train.decomposition.diversity - training.end.test.decomposition.diversity
    ),
    "train_bias_share": lambda training: training.end.train.bias_share,
    "test_bias_share": lambda training: training.end.test.bias_share,
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
    f"{split}_{part}": _of_objective(split, part) for split in ("train", "test") for part in ("individual", "ensemble")
}
"""Values of the loss that was trained on, at the end of training; NaN if it is the one that is compared anyway."""


def percent(quantity: Quantity) -> Quantity:
    """The quantity, a share from 0 to 1, in percent."""
    return lambda training: 100 * quantity(training)


def mean(experiment: Experiment, beta: float, quantity: Quantity) -> Estimate:
    """The mean over the seeds, with its Student's interval."""
    return student_interval([quantity(training) for training in experiment.of(beta)])


def change(experiment: Experiment, beta: float, quantity: Quantity) -> Estimate:
    """What a beta changes against beta 0: the mean over seeds of the differences, each between the same seeds."""
    pairs = zip(experiment.of(0.0), experiment.of(beta), strict=True)
    return student_interval([quantity(after) - quantity(before) for before, after in pairs], signed=True)
