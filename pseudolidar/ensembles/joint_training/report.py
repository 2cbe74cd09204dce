"""The report on joint training, its tables, and its numbers as plain data."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pseudolidar.ensembles.joint_training.comparison import (
    OBJECTIVE_QUANTITIES,
    QUANTITIES,
    SPLITS,
    change,
    collusion_verdict,
    mean,
    percent,
)
from pseudolidar.ensembles.joint_training.experiments import Experiment, Snapshot, Training
from pseudolidar.statistics import Estimate
from pseudolidar.tables import Heading, Row, Table, Value
from pseudolidar.viewing import Picture, Report, Section

_CAPTIONS = {
    "diversity": "Diversity over training, mean and 95 % interval over seeds, one scale: what appears on the left "
    "alone does not generalise.",
    "losses": "At the end of training, mean and 95 % interval over seeds. Right: paired differences from beta 0 of the "
    "diversity gap (on training less on test data) and of the ensemble's loss gap (on test less on training data).",
    "codependence": "Left: codependence, the mean test loss over all choices of the members kept, less that of the "
    "whole ensemble; the steeper, the less a member is worth without the others. Right: the share of diversity (with "
    "cross-entropy, of the variance of the members' probabilities) that goes when each member's constant deviation is "
    "subtracted.",
}

_METHOD = (
    "An averaged ensemble's loss is the mean loss of its members less their diversity. Members are trained on "
    "(1 - beta) x the mean of their own losses + beta x the loss of the ensemble: independently with "
    "beta 0, jointly with beta 1 (Jeffares et al., Joint Training of Deep Ensembles Fails Due to Learner Collusion, "
    "NeurIPS 2023).",
    "Learner collusion is called seen where, with the largest beta against 0, three intervals lie above 0: the "
    "diversity on training data, its lead over the diversity on test data, and the ensemble's gap between test and "
    "training loss. It is called not seen where one of them lies below 0, and undecided otherwise. The criterion "
    'was fixed before there were results. "Not seen" is likelier by chance alone than with a single interval, since '
    "any of the three will do.",
    "Intervals are Student's over seeds, 95 %. What is compared with beta 0 is paired: the same seed gives every beta "
    "the same data, initial weights and batches.",
)


def joint_training_report(
    experiments: Sequence[Experiment], figures: Mapping[str, Mapping[str, Figure]], configuration: str
) -> Report:
    """The verdicts, then each experiment with its figures (by its name, of `draw_experiment`) and tables."""
    return Report(
        title="What joint training does to an ensemble",
        lead=" ".join(collusion_verdict(experiment).headline for experiment in experiments),
        facts=tuple((f"{one.design.title}: trainings", str(len(one.trainings))) for one in experiments),
        sections=(
            *(_section(experiment, figures[experiment.design.name]) for experiment in experiments),
            Section("How it is measured", _METHOD),
        ),
        configuration=configuration,
    )


def _section(experiment: Experiment, figures: Mapping[str, Figure]) -> Section:
    diversity = {
        "on training data": "train_diversity",
        "on test data": "test_diversity",
        "training less test": "diversity_gap",
    }
    tables = (
        _changes(experiment, "diversity", diversity),
        loss_table(experiment),
        _end_table(experiment),
        _objective_table(experiment),
        _bias_table(experiment),
    )
    return Section(
        experiment.design.title,
        (
            experiment.design.setting,
            collusion_verdict(experiment).reasons,
            *(Picture(figure, _CAPTIONS[name]) for name, figure in figures.items()),
            *(table for table in tables if table is not None),
        ),
    )


def loss_table(experiment: Experiment) -> Table:
    """The change of test losses and gap by each beta against independent training, with intervals."""
    columns = {
        "individual": "test_individual",
        "ensemble": "test_ensemble",
        "ensemble, lowest": "lowest_test_ensemble",
        "ensemble, test less training": "loss_gap",
    }
    return _changes(experiment, "test losses", columns)


def _changes(experiment: Experiment, what: str, columns: Mapping[str, str]) -> Table:
    return _table(
        experiment,
        f"change of {what} against independent training (beta 0)",
        (("beta", *columns),),
        lambda beta: (change(experiment, beta, QUANTITIES[name]) for name in columns.values()),
        f"{experiment.design.measure.capitalize()}: mean [95 % interval] of the differences over "
        f"{_seeds(experiment)}, Student's t, paired by seed; not corrected for the number of betas.",
        experiment.betas[1:],
        figures=2,
    )


def _end_table(experiment: Experiment) -> Table:
    names = [f"{split}_{part}" for split in SPLITS for part in ("individual", "diversity", "ensemble")]
    names += ["loss_gap", "lowest_test_ensemble"]
    return _table(
        experiment,
        "losses and diversity at the end of training",
        (
            ("", Heading("training data", 3), Heading("test data", 3), "", ""),
            ("beta", *(["individual", "diversity", "ensemble"] * 2), "loss gap", "lowest on test"),
        ),
        lambda beta: (mean(experiment, beta, QUANTITIES[name]).value for name in names),
        f"{experiment.design.measure.capitalize()}, means over {_seeds(experiment)}. Individual loss less diversity "
        "is the ensemble's loss. Loss gap: the ensemble's loss on test less that on training data. Lowest on test: the "
        f"ensemble's, at its best of {len(experiment.of(0.0)[0].snapshots)} measurements, chosen by looking at the "
        "test data.",
        experiment.betas,
    )


def _bias_table(experiment: Experiment) -> Table:
    return _table(
        experiment,
        "share of diversity that is only bias (%)",
        (("beta", "training data", "test data"),),
        lambda beta: (mean(experiment, beta, percent(QUANTITIES[f"{split}_bias_share"])) for split in SPLITS),
        f"Means over {_seeds(experiment)} with 95 % intervals. What goes of the diversity when each member's "
        "constant deviation, in each of its outputs, is subtracted; with cross-entropy, of the variance of the "
        "members' probabilities.",
        experiment.betas,
        digits=1,
    )


def _objective_table(experiment: Experiment) -> Table | None:
    """Losses at the end in the loss that was trained on; None where it is the one that is compared."""
    first = experiment.of(0.0)[0]
    if first.end.test.objective is None:
        return None

    def gap(training: Training) -> float:
        return OBJECTIVE_QUANTITIES["test_ensemble"](training) - OBJECTIVE_QUANTITIES["train_ensemble"](training)

    quantities = (*OBJECTIVE_QUANTITIES.values(), gap)
    return _table(
        experiment,
        f"the same in the loss that was trained on ({first.loss})",
        (
            ("", Heading("training data", 2), Heading("test data", 2), Heading("gap", 2)),
            ("beta", *(["individual", "ensemble"] * 2), "test less training", "against beta 0"),
        ),
        lambda beta: (
            *(mean(experiment, beta, quantity) for quantity in quantities),
            None if beta == 0 else change(experiment, beta, gap),
        ),
        f"Means over {_seeds(experiment)} with 95 % intervals.",
        experiment.betas,
    )


def _table(
    experiment: Experiment,
    caption: str,
    header: tuple[tuple[str | Heading, ...], ...],
    values_of: Callable[[float], Iterable[Value]],
    note: str,
    betas: Sequence[float],
    figures: int = 3,
    digits: int | None = None,
) -> Table:
    """A row for each beta; without `digits`, every column's largest value has `figures` significant figures or more."""
    rows = tuple(Row((f"{beta:g}", *values_of(beta))) for beta in betas)
    if digits is None:
        values = [[cell.value if isinstance(cell, Estimate) else cell for cell in row.cells[1:]] for row in rows]
        largest = np.nanmax(np.abs(np.array(values, np.float64)), axis=0, initial=0.0)
        smallest = float(np.min(largest[largest > 0], initial=1.0))
        digits = int(np.clip(figures - 1 - np.floor(np.log10(smallest)), 0, 9))
    return Table(f"{experiment.design.title}: {caption}", header, rows, (note,), digits)


def _seeds(experiment: Experiment) -> str:
    count = len(experiment.seeds)
    return "one seed" if count == 1 else f"{count} seeds"


def joint_training_data(experiments: Sequence[Experiment]) -> dict[str, Any]:
    """The numbers of all experiments for JSON; intervals are None with a single seed."""
    return {experiment.design.name: _data(experiment) for experiment in experiments}


def _data(experiment: Experiment) -> dict[str, Any]:
    found, design = collusion_verdict(experiment), experiment.design
    return {
        "verdict": found.collusion,
        "headline": found.headline,
        "reasons": found.reasons,
        "compared": design.compared,
        "unit": design.unit,
        "trained_on": experiment.of(0.0)[0].loss,
        "betas": {
            f"{beta:g}": {
                "mean": {name: _numbers(mean(experiment, beta, of)) for name, of in QUANTITIES.items()},
                "change": {name: _numbers(change(experiment, beta, of)) for name, of in QUANTITIES.items()},
                "objective": {name: _numbers(mean(experiment, beta, of)) for name, of in OBJECTIVE_QUANTITIES.items()},
            }
            for beta in experiment.betas
        },
        "trainings": [
            {"beta": beta, "seed": seed, "snapshots": [_plain(snapshot) for snapshot in training.snapshots]}
            for (beta, seed), training in experiment.trainings.items()
        ],
    }


def _plain(snapshot: Snapshot) -> dict[str, Any]:
    """None for NaN, which JSON lacks: the share of bias where members agree on everything."""
    plain = asdict(snapshot)
    for split in (plain["train"], plain["test"]):
        split["bias_share"] = split["bias_share"] if isfinite(split["bias_share"]) else None
    return plain


def _numbers(found: Estimate) -> dict[str, float | None]:
    """Value, low and high; None for NaN, which JSON lacks."""
    numbers = {"value": found.value, "low": found.interval.low, "high": found.interval.high}
    return {name: number if isfinite(number) else None for name, number in numbers.items()}
