"""Two sets of result files and the interval of their difference.

pseudolidar compare labels=DIR a=DIR b=DIR
"""

from pathlib import Path
from typing import Unpack

import numpy as np

from pseudolidar.commands.evaluate import EvaluationProtocol
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
    output: Path | None,
    csv: Path | None,
    **protocol: Unpack[EvaluationProtocol],
) -> None:
    """Evaluate both, print the table, write the files."""
    require_table_paths(output, csv)
    before, after = (evaluate_folders(labels, results, **protocol) for results in (a, b))
    comparison = compare(before, after, np.random.default_rng(seed), bootstrap, confidence)
    print_tables(comparison_tables(comparison))
    print(f"a: {a}\nb: {b}")
    if output is not None:
        write_comparison_json(comparison, output)
        print(f"written to {output}")
    if csv is not None:
        write_comparison_csv(comparison, csv)
        print(f"written to {csv}")
