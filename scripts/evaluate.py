"""KITTI average precision of result files: python scripts/evaluate.py labels=DIR results=DIR output=FILE.json."""

import sys

import hydra
import numpy as np
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from pseudolidar.command_line import clear_errors
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


@hydra.main(version_base="1.3", config_path="../configs", config_name="evaluate")
def main(config: DictConfig) -> None:
    """Evaluate, print the tables, write the files; the user's mistakes end in one line and exit code 2."""
    with clear_errors():
        _run(OmegaConf.to_container(config, resolve=True, throw_on_missing=True))


def _run(options: object) -> None:
    assert isinstance(options, dict)
    files = {name: options.pop(name) for name in ("output", "csv", "figure", "outcomes")}
    require_table_paths(files["output"], files["csv"], files["outcomes"])
    if files["figure"] is not None:
        # Here, since drawing takes longer to import than everything else to run.
        from pseudolidar.viewing import precision_recall_figure, require_figure_path, save_figure

        require_figure_path(files["figure"])
    replicates, confidence, seed = (options.pop(name) for name in ("bootstrap", "confidence", "seed"))
    evaluation = evaluate_folders(options.pop("labels"), options.pop("results"), **options)
    # Wide enough for the whole table when the output goes into a file.
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(evaluation_table(evaluation))
    intervals = None
    if replicates is not None:
        intervals = ap_intervals(evaluation, np.random.default_rng(seed), replicates, confidence)
        console.print(interval_table(evaluation, intervals, confidence))
    write_json(evaluation, files["output"], intervals)
    if files["csv"] is not None:
        write_csv(evaluation, files["csv"], intervals)
    if files["outcomes"] is not None:
        write_outcomes(evaluation, files["outcomes"])
    if files["figure"] is not None:
        save_figure(precision_recall_figure(precision_panels(evaluation)), files["figure"])
    print("written to " + ", ".join(str(path) for path in files.values() if path is not None))


if __name__ == "__main__":
    main()
