"""What the commands with a report leave behind."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from pseudolidar.files import write_file
from pseudolidar.tables import print_tables
from pseudolidar.viewing import Report, save_figure, tables_of, write_report


def write_outputs(output: Path, report: Report, figures: Mapping[Any, Figure], results: Any) -> None:
    """Print the report's tables; write config.yaml, NAME.png of each figure, results.json and report.html."""
    write_file(output / "config.yaml", report.configuration)
    print_tables(tables_of(report))
    for name, figure in figures.items():
        save_figure(figure, output / f"{name}.png")
    write_file(output / "results.json", json.dumps(results, indent=1))
    write_report(report, output / "report.html")
