"""What joint training did, as one report and as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

from matplotlib.figure import Figure

from pseudolidar.ensembles.joint_training.comparison import OBJECTIVE_QUANTITIES, QUANTITIES, change, mean
from pseudolidar.ensembles.joint_training.experiments import Experiment
from pseudolidar.ensembles.joint_training.measurements import Snapshot
from pseudolidar.ensembles.joint_training.tables import (
    bias_table,
    diversity_table,
    end_table,
    loss_table,
    objective_table,
)
from pseudolidar.ensembles.joint_training.verdicts import verdict
from pseudolidar.statistics import Estimate
from pseudolidar.tables import Table
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


def joint_training_report(
    experiments: Sequence[Experiment], figures: Mapping[str, Mapping[str, Figure]], configuration: str
) -> Report:
    """The verdicts, then each experiment with its figures and tables.

    Args:
        experiments: in the order of reading.
        figures: by experiment's name, as `draw_experiment` made them.
        configuration: the resolved configuration, as text.
    """
    return Report(
        title="What joint training does to an ensemble",
        lead=" ".join(verdict(experiment).headline for experiment in experiments),
        facts=tuple((f"{one.design.title}: trainings", str(len(one.trainings))) for one in experiments),
        sections=(
            *(_section(experiment, figures[experiment.design.name]) for experiment in experiments),
            Section("How it is measured", _METHOD),
        ),
        configuration=configuration,
    )


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


def _section(experiment: Experiment, figures: Mapping[str, Figure]) -> Section:
    tables: tuple[Table | None, ...] = (
        diversity_table(experiment),
        loss_table(experiment),
        end_table(experiment),
        objective_table(experiment),
        bias_table(experiment),
    )
    return Section(
        experiment.design.title,
        (
            experiment.design.setting,
            verdict(experiment).reasons,
            *(Picture(figure, _CAPTIONS[name]) for name, figure in figures.items()),
            *(table for table in tables if table is not None),
        ),
    )


def joint_training_data(experiments: Sequence[Experiment]) -> dict[str, Any]:
    """The numbers of all experiments, JSON-able; intervals are None with a single seed."""
    return {experiment.design.name: _data(experiment) for experiment in experiments}


def _data(experiment: Experiment) -> dict[str, Any]:
    found, design = verdict(experiment), experiment.design
    return {
        "verdict": found.word,
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
    """JSON has no NaN, which the share of bias is where members agree on everything."""
    plain = asdict(snapshot)
    for split in (plain["train"], plain["test"]):
        split["bias_share"] = split["bias_share"] if isfinite(split["bias_share"]) else None
    return plain


def _numbers(found: Estimate) -> dict[str, float | None]:
    """Value, low and high for JSON, which has no NaN: None instead."""
    numbers = {"value": found.value, "low": found.interval.low, "high": found.interval.high}
    return {name: number if isfinite(number) else None for name, number in numbers.items()}
