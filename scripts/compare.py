"""Two sets of result files and the interval of their difference: python scripts/compare.py labels=DIR a=DIR b=DIR."""

import sys

import hydra
import numpy as np
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from pseudolidar.command_line import clear_errors
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


@hydra.main(version_base="1.3", config_path="../configs", config_name="compare")
def main(config: DictConfig) -> None:
    """Evaluate both, print the table, write the files; the user's mistakes end in one line and exit code 2."""
    with clear_errors():
        _run(OmegaConf.to_container(config, resolve=True, throw_on_missing=True))


def _run(options: object) -> None:
    assert isinstance(options, dict)
    labels, output, csv = options.pop("labels"), options.pop("output"), options.pop("csv")
    require_table_paths(output, csv)
    a, b, seed = options.pop("a"), options.pop("b"), options.pop("seed")
    replicates, confidence = options.pop("bootstrap"), options.pop("confidence")
    of_a, of_b = (evaluate_folders(labels, results, **options) for results in (a, b))
    comparison = compare(of_a, of_b, np.random.default_rng(seed), replicates, confidence)
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


if __name__ == "__main__":
    main()
