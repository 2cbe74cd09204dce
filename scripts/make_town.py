"""Write a synthetic town as a KITTI object data set: make_town.py output=DIR preset=mini train=300 val=100 seed=0."""

from __future__ import annotations

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from pseudolidar.synthetic import PRESETS, write_town


@hydra.main(version_base=None, config_path="../configs", config_name="make_town")
def main(config: DictConfig) -> None:
    """Render what the configuration asks for and say where it is."""
    if config.preset not in PRESETS:
        sys.exit(f"preset: found {config.preset!r}, expected one of {', '.join(PRESETS)}")
    splits = {name: int(config[name]) for name in ("train", "val") if config[name] > 0}
    output = Path(config.output)
    try:
        write_town(output, PRESETS[config.preset], splits, int(config.seed), int(config.workers))
    except ValueError as error:
        sys.exit(str(error))
    print(f"{sum(splits.values())} frames at {output}")


if __name__ == "__main__":
    main()
