"""Train a detector: python scripts/train_detector.py data=DIR clouds=DIR class_name=Car output=model.pt."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from pseudolidar.command_line import clear_errors, instantiate
from pseudolidar.detectors.frustum_pointnet import train_frustum_pointnet
from pseudolidar.kitti import ObjectDataset


@hydra.main(version_base="1.3", config_path="../configs", config_name="train_detector")
def main(config: DictConfig) -> None:
    """Train; a killed run goes on where it was."""
    with clear_errors():
        train_frustum_pointnet(
            instantiate(config.training),
            ObjectDataset(config.data, config.split),
            Path(config.clouds),
            [config.class_name],
            Path(config.output),
            config.seed,
            config.max_depth,
        )
        print(f"model: {config.output}")


if __name__ == "__main__":
    main()
