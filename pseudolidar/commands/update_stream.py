"""Stored predictions and streams of better classifiers, on digits: python scripts/update_stream.py [output=DIR]."""

import json
from pathlib import Path

from rich.console import Console

from pseudolidar.files import require_output_folder, write_file
from pseudolidar.tables import print_tables
from pseudolidar.updates.digits_stream import (
    ALIKE,
    DIVERSE,
    Experiment,
    run_experiment,
    stream_data,
    stream_figures,
    stream_report,
)
from pseudolidar.viewing import save_figure, tables_of, write_report


def main(
    *,
    output: Path,
    seeds: int,
    budgets: tuple[float, ...],
    growing_budget: float,
    cost_ratios: tuple[float, ...],
    configuration: str,
) -> None:
    """Play both streams, print the tables, write figures and the report."""
    require_output_folder(output, "the report")
    diverse = run_experiment(DIVERSE, seeds, budgets, cost_ratios, growing_budget)
    alike = run_experiment(ALIKE, seeds, (1.0,), cost_ratios)
    write(diverse, alike, output, configuration)


def write(diverse: Experiment, alike: Experiment, output: Path, configuration: str) -> None:
    """Print the tables, write a figure a selection (random.png), report.html, results.json and config.yaml."""
    write_file(output / "config.yaml", configuration)
    figures = stream_figures(diverse)
    report = stream_report(diverse, alike, figures, configuration)
    print_tables(tables_of(report))
    for name, figure in figures.items():
        save_figure(figure, output / f"{name}.png")
    results = {"diverse": stream_data(diverse), "alike": stream_data(alike)}
    write_file(output / "results.json", json.dumps(results, indent=1))
    write_report(report, output / "report.html")
    Console().print(f"report: {output / 'report.html'}", highlight=False, soft_wrap=True)
