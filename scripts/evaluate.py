"""KITTI average precision of result files: python scripts/evaluate.py labels=DIR results=DIR output=FILE.json."""

import sys

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from pseudolidar.command_line import clear_errors
from pseudolidar.evaluation import OVERLAP_SETS, evaluate_folders, evaluation_table, write_json


@hydra.main(version_base="1.3", config_path="../configs", config_name="evaluate")
def main(config: DictConfig) -> None:
    """Evaluate, print the table, write the JSON file; the user's mistakes end in one line and exit code 2."""
    with clear_errors():
        _run(OmegaConf.to_container(config, resolve=True, throw_on_missing=True))


def _run(options: object) -> None:
    assert isinstance(options, dict)
    labels, results, output = options.pop("labels"), options.pop("results"), options.pop("output")
    chosen = options.pop("min_overlap")
    if isinstance(chosen, str):
        if chosen not in OVERLAP_SETS:
            raise ValueError(f"min_overlap: found {chosen!r}, expected {', '.join(OVERLAP_SETS)} or IoUs by class")
        chosen = OVERLAP_SETS[chosen]
    evaluation = evaluate_folders(labels, results, min_overlap=chosen, **options)
    # Wide enough for the whole table when the output goes into a file.
    Console(width=None if sys.stdout.isatty() else 140).print(evaluation_table(evaluation))
    write_json(evaluation, output)
    print(f"written to {output}")


if __name__ == "__main__":
    main()
