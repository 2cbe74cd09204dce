"""Stored predictions and streams of better classifiers, on digits.

pseudolidar update_stream [output=DIR]
"""

from pathlib import Path

from pseudolidar.commands.outputs import write_outputs
from pseudolidar.files import require_output_folder
from pseudolidar.updates.digits_stream import ALIKE, DIVERSE, run_experiment, stream_data, stream_figures, stream_report


def main(
    *,
    output: Path,
    seeds: int,
    budgets: tuple[float, ...],
    growing_budget: float,
    cost_ratios: tuple[float, ...],
    neutral_cost: float,
    configuration: str,
) -> None:
    """Play both streams, print the tables, write a figure a selection (random.png), report.html and results.json."""
    require_output_folder(output, "the report")
    diverse = run_experiment(DIVERSE, seeds, budgets, cost_ratios, neutral_cost, growing_budget)
    alike = run_experiment(ALIKE, seeds, (1.0,), cost_ratios, neutral_cost)
    figures = stream_figures(diverse)
    report = stream_report(diverse, alike, figures, configuration)
    write_outputs(output, report, figures, {"diverse": stream_data(diverse), "alike": stream_data(alike)})
    print(f"report: {output / 'report.html'}")
