"""Two sets of result files and the interval of their difference: python scripts/compare.py labels=DIR a=DIR b=DIR."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from pseudolidar.evaluation import (
    METRICS,
    compare,
    comparison_note,
    comparison_table,
    evaluate_folders,
    require_table_paths,
    write_comparison_csv,
    write_comparison_json,
)


def main(
    *,
    labels: Path,
    a: Path,
    b: Path,
    bootstrap: int,
    confidence: float,
    seed: int,
    split_file: Path | None,
    missing_results: str,
    classes: list[str],
    difficulties: list[str],
    depth_range: tuple[float, float] | None,
    min_overlap: str | dict[str, dict[str, float]],
    official_grid: bool,
    output: Path | None,
    csv: Path | None,
) -> None:
    """Evaluate both, print the table, write the files."""
    require_table_paths(output, csv)
    evaluate = partial(
        evaluate_folders,
        labels,
        split_file=split_file,
        missing_results=missing_results,
        classes=classes,
        difficulties=difficulties,
        depth_range=depth_range,
        min_overlap=min_overlap,
        official_grid=official_grid,
    )
    comparison = compare(evaluate(a), evaluate(b), np.random.default_rng(seed), bootstrap, confidence)
    # Wide enough for the whole table when the output goes into a file.
    console = Console(width=None if sys.stdout.isatty() else 140)
    for metric in METRICS:
        console.print(comparison_table(comparison, metric))
    print(f"{comparison_note(comparison)}\na: {a}\nb: {b}")
    if output is not None:
        write_comparison_json(comparison, output)
        print(f"written to {output}")
    if csv is not None:
        write_comparison_csv(comparison, csv)
        print(f"written to {csv}")
