"""What training an ensemble jointly does to it: python scripts/joint_training.py [output=DIR]."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pseudolidar.ensembles.joint_training import (
    Design,
    DigitsEnsembles,
    StereoEnsembles,
    draw_experiment,
    joint_training_data,
    joint_training_report,
    run_experiments,
)
from pseudolidar.files import InputError, write_file
from pseudolidar.systems import ArtifactStore, default_workers
from pseudolidar.tables import print_tables
from pseudolidar.viewing import save_figure, tables_of, write_report


def main(
    *,
    digits: DigitsEnsembles | None,
    digits_squared_error: DigitsEnsembles | None,
    output: Path,
    workers: int | None,
    stereo: StereoEnsembles | None,
    configuration: str,
) -> None:
    """Train what is not there yet, print the tables, write figures and the report."""
    designs = [choice.design() for choice in (digits, digits_squared_error, stereo) if choice is not None]
    if not designs:
        raise InputError("digits, digits_squared_error, stereo: found none of them, expected one or more")
    run(output, designs, default_workers() if workers is None else workers, configuration)


def run(output: Path, designs: Sequence[Design], workers: int, configuration: str) -> None:
    """Train in `output`, print the tables, write NAME-*.png, report.html, results.json."""
    experiments = run_experiments(ArtifactStore(output / "artifacts"), designs, workers)
    write_file(output / "config.yaml", configuration)
    figures = {experiment.design.name: draw_experiment(experiment) for experiment in experiments}
    report = joint_training_report(experiments, figures, configuration)
    print_tables(tables_of(report))
    for experiment, drawn in figures.items():
        for name, figure in drawn.items():
            save_figure(figure, output / f"{experiment}-{name}.png")
    write_file(output / "results.json", json.dumps(joint_training_data(experiments), indent=1))
    write_report(report, output / "report.html")
    console = Console()
    for text in (report.lead, f"report: {output / 'report.html'}"):
        console.print(text, highlight=False, soft_wrap=True)
