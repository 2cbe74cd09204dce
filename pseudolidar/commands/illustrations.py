"""The paper's Figures 2 to 4, and two more, on known distributions.

pseudolidar illustrations [output=DIR]
"""

from pathlib import Path

from pseudolidar.commands.outputs import write_outputs
from pseudolidar.illustrations import (
    draw_illustration,
    illustrations,
    illustrations_data,
    illustrations_report,
    run_illustrations,
    run_remedies,
)
from pseudolidar.systems import ArtifactStore


def main(*, output: Path, workers: int, configuration: str) -> None:
    """Train what is not there yet, print the tables, write figure-*.png, report.html, results.json."""
    store, cases = ArtifactStore(output / "artifacts"), illustrations()
    results, remedied = run_illustrations(store, cases, workers), run_remedies(store, cases, workers)
    figures = {result.illustration.name: draw_illustration(result) for result in results}
    report = illustrations_report(results, remedied, figures, configuration)
    write_outputs(output, report, figures, illustrations_data(results, remedied))
    print(f"report: {output / 'report.html'}")
