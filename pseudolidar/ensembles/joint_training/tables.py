"""An experiment as tables: losses and diversity at the end of training, and what each beta changes."""

from collections.abc import Mapping, Sequence

import numpy as np

from pseudolidar.ensembles.joint_training.comparison import OBJECTIVE_QUANTITIES, QUANTITIES, change, mean, percent
from pseudolidar.ensembles.joint_training.experiments import Experiment
from pseudolidar.ensembles.joint_training.measurements import Training
from pseudolidar.statistics import Estimate
from pseudolidar.tables import Heading, Row, Table


def end_table(experiment: Experiment) -> Table:
    """Losses and diversity at the end of training, means over seeds."""
    names = [f"{split}_{part}" for split in ("train", "test") for part in ("individual", "diversity", "ensemble")]
    names += ["loss_gap", "lowest_test_ensemble"]
    rows = [
        Row((f"{beta:g}", *(mean(experiment, beta, QUANTITIES[name]).value for name in names)))
        for beta in experiment.betas
    ]
    return Table(
        f"{experiment.design.title}: losses and diversity at the end of training",
        (
            ("", Heading("training data", 3), Heading("test data", 3), "", ""),
            ("beta", *(["individual", "diversity", "ensemble"] * 2), "loss gap", "lowest on test"),
        ),
        tuple(rows),
        (
            f"{experiment.design.measure.capitalize()}, means over {_seeds(experiment)}. "
            "Individual loss less diversity is the ensemble's loss. Loss gap: the ensemble's loss on test less that on "
            f"training data. Lowest on test: the ensemble's, at its best of {_snapshots(experiment)} measurements, "
            "chosen by looking at the test data.",
        ),
        _decimals(rows, 3),
    )


def diversity_table(experiment: Experiment) -> Table:
    """What each beta changes in diversity against independent training, with intervals."""
    columns = {
        "on training data": "train_diversity",
        "on test data": "test_diversity",
        "training less test": "diversity_gap",
    }
    return _changes(experiment, "diversity", columns)


def loss_table(experiment: Experiment) -> Table:
    """What each beta changes in the test losses and the gap against independent training, with intervals."""
    columns = {
        "individual": "test_individual",
        "ensemble": "test_ensemble",
        "ensemble, lowest": "lowest_test_ensemble",
        "ensemble, test less training": "loss_gap",
    }
    return _changes(experiment, "test losses", columns)


def _changes(experiment: Experiment, what: str, columns: Mapping[str, str]) -> Table:
    rows = [
        Row((f"{beta:g}", *(change(experiment, beta, QUANTITIES[name]) for name in columns.values())))
        for beta in experiment.betas[1:]
    ]
    return Table(
        f"{experiment.design.title}: change of {what} against independent training (beta 0)",
        (("beta", *columns),),
        tuple(rows),
        (
            f"{experiment.design.measure.capitalize()}: mean [95 % interval] of the differences over "
            f"{_seeds(experiment)}, Student's t, paired by seed; not corrected for the number of betas.",
        ),
        _decimals(rows, 2),
    )


def bias_table(experiment: Experiment) -> Table:
    """The share of diversity that is only bias, percent."""
    rows = [
        Row((f"{beta:g}", *(mean(experiment, beta, percent(QUANTITIES[f"{split}_bias_share"])) for split in _SPLITS)))
        for beta in experiment.betas
    ]
    return Table(
        f"{experiment.design.title}: share of diversity that is only bias (%)",
        (("beta", "training data", "test data"),),
        tuple(rows),
        (
            f"Means over {_seeds(experiment)} with 95 % intervals. What goes of the diversity when each member's "
            "constant deviation, in each of its outputs, is subtracted; with cross-entropy, of the variance of the "
            "members' probabilities.",
        ),
        digits=1,
    )


def objective_table(experiment: Experiment) -> Table | None:
    """Losses at the end in the loss that was trained on; None where it is the one that is compared."""
    training = experiment.of(0.0)[0]
    if training.end.test.objective is None:
        return None

    def gap(training: Training) -> float:
        return OBJECTIVE_QUANTITIES["test_ensemble"](training) - OBJECTIVE_QUANTITIES["train_ensemble"](training)

    rows = [
        Row(
            (
                f"{beta:g}",
                *(mean(experiment, beta, quantity) for quantity in (*OBJECTIVE_QUANTITIES.values(), gap)),
                None if beta == 0 else change(experiment, beta, gap),
            )
        )
        for beta in experiment.betas
    ]
    return Table(
        f"{experiment.design.title}: the same in the loss that was trained on ({training.loss})",
        (
            ("", Heading("training data", 2), Heading("test data", 2), Heading("gap", 2)),
            ("beta", *(["individual", "ensemble"] * 2), "test less training", "against beta 0"),
        ),
        tuple(rows),
        (f"Means over {_seeds(experiment)} with 95 % intervals.",),
        _decimals(rows, 3),
    )


_SPLITS = ("train", "test")


def _seeds(experiment: Experiment) -> str:
    count = len(experiment.seeds)
    return "one seed" if count == 1 else f"{count} seeds"


def _snapshots(experiment: Experiment) -> int:
    return len(experiment.of(0.0)[0].snapshots)


def _decimals(rows: Sequence[Row], figures: int) -> int:
    """Decimals that show at least `figures` significant figures of the largest value of each column."""
    values = [[cell.value if isinstance(cell, Estimate) else cell for cell in row.cells[1:]] for row in rows]
    largest = np.nanmax(np.abs(np.array(values, np.float64)), axis=0, initial=0.0)
    smallest = float(np.min(largest[largest > 0], initial=1.0))
    return int(np.clip(figures - 1 - np.floor(np.log10(smallest)), 0, 9))
