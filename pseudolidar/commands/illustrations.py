"""How a better model makes a system worse, in four small systems: python scripts/illustrations.py [output=DIR]."""

import json
from pathlib import Path

from rich.console import Console

from pseudolidar.files import write_file
from pseudolidar.illustrations import (
    draw_illustration,
    illustrations,
    illustrations_data,
    illustrations_report,
    run_illustrations,
)
from pseudolidar.systems import ArtifactStore
from pseudolidar.tables import print_tables
from pseudolidar.viewing import save_figure, tables_of, write_report


def main(*, output: Path, workers: int, configuration: str) -> None:
    """Train what is not there yet, print the tables, write figures and the report."""
    run(output, workers, configuration)


def run(output: Path, workers: int, configuration: str) -> None:
    """Run the illustrations in `output`, print their tables, write figure-*.png, report.html, results.json."""
    results = run_illustrations(ArtifactStore(output / "artifacts"), illustrations(), workers)
    write_file(output / "config.yaml", configuration)
    figures = {result.illustration.name: draw_illustration(result) for result in results}
    report = illustrations_report(results, figures, configuration)
    print_tables(tables_of(report))
    for name, figure in figures.items():
        save_figure(figure, output / f"{name}.png")
    write_file(output / "results.json", json.dumps(illustrations_data(results), indent=1))
    write_report(report, output / "report.html")
    Console().print(f"report: {output / 'report.html'}", highlight=False, soft_wrap=True)
