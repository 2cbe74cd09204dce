"""Two sets of result files and the interval of their difference: python scripts/compare.py labels=DIR a=DIR b=DIR."""

from functools import partial
from pathlib import Path

import numpy as np

from pseudolidar.evaluation import (
    compare,
    comparison_tables,
    evaluate_folders,
    require_table_paths,
    write_comparison_csv,
    write_comparison_json,
)
from pseudolidar.tables import print_tables


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
    print_tables(comparison_tables(comparison))
    print(f"a: {a}\nb: {b}")
    if output is not None:
        write_comparison_json(comparison, output)
        print(f"written to {output}")
    if csv is not None:
        write_comparison_csv(comparison, csv)
        print(f"written to {csv}")
