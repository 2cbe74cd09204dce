"""Write a synthetic town as a KITTI object data set: make_town.py output=DIR preset=mini train=300 val=100 seed=0."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from pseudolidar.command_line import clear_errors
from pseudolidar.files import InputError
from pseudolidar.synthetic import PRESETS, write_town


@hydra.main(version_base="1.3", config_path="../configs", config_name="make_town")
def main(config: DictConfig) -> None:
    """Render what the configuration asks for and say where it is."""
    with clear_errors():
        if config.preset not in PRESETS:
            raise InputError(f"preset: found {config.preset!r}, expected one of {', '.join(PRESETS)}")
        splits = {name: int(config[name]) for name in ("train", "val") if config[name] > 0}
        write_town(Path(config.output), PRESETS[config.preset], splits, config.seed, config.workers)
        print(f"{sum(splits.values())} frames at {config.output}")


if __name__ == "__main__":
    main()
