"""Train a disparity model: python scripts/train_stereo.py data=DIR output=model.pt [training.loss=depth]."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from pseudolidar.command_line import clear_errors, instantiate
from pseudolidar.kitti import ObjectDataset
from pseudolidar.stereo import train_stereo


@hydra.main(version_base="1.3", config_path="../configs", config_name="train_stereo")
def main(config: DictConfig) -> None:
    """Train; a killed run goes on where it was."""
    with clear_errors():
        init = None if config.init is None else Path(config.init)
        dataset = ObjectDataset(config.data, config.split)
        train_stereo(instantiate(config.training), dataset, Path(config.output), init, config.seed)
        print(f"model: {config.output}")


if __name__ == "__main__":
    main()
