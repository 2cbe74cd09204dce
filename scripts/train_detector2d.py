"""Train a 2D detector: python scripts/train_detector2d.py data=DIR output=model.pt.

On several GPUs: torchrun --nproc-per-node 8 scripts/train_detector2d.py data=DIR output=model.pt device=cuda.
"""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from pseudolidar.command_line import clear_errors, instantiate
from pseudolidar.detectors.boxes2d import train_detector2d
from pseudolidar.kitti import ObjectDataset
from pseudolidar.training import is_first_process, let_one_process_speak


@hydra.main(version_base="1.3", config_path="../configs", config_name="train_detector2d")
def main(config: DictConfig) -> None:
    """Train; a killed run goes on where it was."""
    with clear_errors():
        let_one_process_speak()
        settings = instantiate(config.training)
        train_detector2d(
            settings, ObjectDataset(config.data, config.split), Path(config.output), config.seed, config.device
        )
        if is_first_process():
            print(f"model: {config.output}")


if __name__ == "__main__":
    main()
