"""KITTI average precision of result files.

pseudolidar evaluate labels=DIR results=DIR output=FILE.json
"""

from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np

from pseudolidar.evaluation import (
    ap_intervals,
    evaluate_folders,
    evaluation_table,
    interval_table,
    precision_panels,
    require_table_paths,
    write_csv,
    write_json,
    write_outcomes,
)
from pseudolidar.tables import print_tables


class EvaluationProtocol(TypedDict):
    """How result files are evaluated, see `configs/protocol/kitti.yaml`."""

    split_file: Path | None
    missing_results: str
    classes: list[str]
    difficulties: list[str]
    depth_range: tuple[float, float] | None
    min_overlap: str | dict[str, dict[str, float]]
    official_grid: bool


def main(
    *,
    labels: Path,
    results: Path,
    bootstrap: int | None,
    confidence: float,
    seed: int,
    output: Path,
    csv: Path | None,
    figure: Path | None,
    outcomes: Path | None,
    **protocol: Unpack[EvaluationProtocol],
) -> None:
    """Evaluate, print the tables, write the files."""
    require_table_paths(output, csv, outcomes)
    if figure is not None:
        # Here, since drawing takes longer to import than everything else to run.
        from pseudolidar.viewing import precision_recall_figure, require_figure_path, save_figure

        require_figure_path(figure)
    evaluation = evaluate_folders(labels, results, **protocol)
    tables = [evaluation_table(evaluation)]
    intervals = None
    if bootstrap is not None:
        intervals = ap_intervals(evaluation, np.random.default_rng(seed), bootstrap, confidence)
        tables.append(interval_table(evaluation, intervals, confidence))
    print_tables(tables)
    write_json(evaluation, output, intervals)
    if csv is not None:
        write_csv(evaluation, csv, intervals)
    if outcomes is not None:
        write_outcomes(evaluation, outcomes)
    if figure is not None:
        save_figure(precision_recall_figure(precision_panels(evaluation)), figure)
    print("written to " + ", ".join(str(path) for path in (output, csv, figure, outcomes) if path is not None))
