"""What training an ensemble jointly does to it.

pseudolidar joint_training [output=DIR]
"""

from pathlib import Path

from pseudolidar.commands.outputs import write_outputs
from pseudolidar.ensembles.joint_training import (
    DigitsEnsembles,
    StereoEnsembles,
    draw_experiment,
    joint_training_data,
    joint_training_report,
    run_experiments,
)
from pseudolidar.files import InputError
from pseudolidar.systems import ArtifactStore, default_workers


def main(
    *,
    digits: DigitsEnsembles | None,
    digits_squared_error: DigitsEnsembles | None,
    output: Path,
    workers: int | None,
    stereo: StereoEnsembles | None,
    configuration: str,
) -> None:
    """Train what is not there yet, print the tables, write NAME-*.png, report.html, results.json."""
    designs = [choice.design() for choice in (digits, digits_squared_error, stereo) if choice is not None]
    if not designs:
        raise InputError("digits, digits_squared_error, stereo: found none of them, expected one or more")
    store = ArtifactStore(output / "artifacts")
    experiments = run_experiments(store, designs, default_workers() if workers is None else workers)
    drawn = {experiment.design.name: draw_experiment(experiment) for experiment in experiments}
    report = joint_training_report(experiments, drawn, configuration)
    figures = {f"{design}-{name}": figure for design, each in drawn.items() for name, figure in each.items()}
    write_outputs(output, report, figures, joint_training_data(experiments))
    print(f"{report.lead}\nreport: {output / 'report.html'}")
