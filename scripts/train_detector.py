"""Train a detector: train_detector.py data=DIR clouds=DIR class_name=Car output=model.pt [detector@training=...]."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from pseudolidar.command_line import clear_errors, instantiate
from pseudolidar.detectors import train_detector
from pseudolidar.kitti import ObjectDataset


@hydra.main(version_base="1.3", config_path="../configs", config_name="train_detector")
def main(config: DictConfig) -> None:
    """Train; a killed run goes on where it was."""
    with clear_errors():
        names = config.class_name
        train_detector(
            instantiate(config.training),
            ObjectDataset(config.data, config.split),
            Path(config.clouds),
            [names] if isinstance(names, str) else list(names),
            Path(config.output),
            config.seed,
            config.max_depth,
            config.device,
        )
        print(f"model: {config.output}")


if __name__ == "__main__":
    main()
