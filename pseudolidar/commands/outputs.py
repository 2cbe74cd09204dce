"""What several commands leave behind: reports, curves of trainings."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from pseudolidar.files import UserError, is_first_process, write_file
from pseudolidar.tables import Table, print_tables
from pseudolidar.training import metrics_path, read_metrics, validation_path
from pseudolidar.viewing import Report, TrainingCurves, save_figure, tables_of, training_figure, write_report

logger = logging.getLogger(__name__)


def write_outputs(
    output: Path, report: Report, figures: Mapping[Any, Figure], results: Any, printed: Sequence[Table] | None = None
) -> None:
    """Print these tables, or all of the report's; write config.yaml, NAME.png of figures, results.json, report.html."""
    write_file(output / "config.yaml", report.configuration)
    print_tables(tables_of(report) if printed is None else printed)
    for name, figure in figures.items():
        save_figure(figure, output / f"{name}.png")
    write_file(output / "results.json", json.dumps(results, indent=1))
    write_report(report, output / "report.html")


def training_curves(checkpoint: Path) -> TrainingCurves:
    """The numbers that a training left beside its checkpoint, or leaves there now; errors as of `read_metrics`."""
    validation = validation_path(checkpoint)
    return TrainingCurves(
        read_metrics(metrics_path(checkpoint)), read_metrics(validation) if validation.exists() else {}
    )


def curves_path(checkpoint: Path) -> Path:
    """The picture of a training's curves, beside its checkpoint."""
    return checkpoint.with_name(f"{checkpoint.name}.curves.png")


@contextmanager
def plotted_curves(checkpoint: Path, plot: bool, *phases: Path) -> Iterator[None]:
    """Draw the curves (`curves_path`) of a training in this context, by the first process, unless there was none.

    Beside them those of the `phases` before, by their checkpoints. A disk that is full is said, no more.
    """
    before = _written_at(metrics_path(checkpoint))
    yield
    if plot and is_first_process() and _written_at(metrics_path(checkpoint)) != before:
        try:
            runs = {path.stem: training_curves(path) for path in (*phases, checkpoint)}
            save_figure(training_figure(runs), curves_path(checkpoint))
        except UserError as error:
            logger.warning("%s; there is no picture of the curves", error)


def _written_at(path: Path) -> int | None:
    """Time of the last change, ns."""
    return path.stat().st_mtime_ns if path.exists() else None
