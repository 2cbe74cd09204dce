"""Train a detector: train_detector.py data=DIR clouds=DIR class_name=Car output=model.pt [detector@training=...].

On several GPUs: torchrun --nproc-per-node 8 scripts/train_detector.py ... device=cuda.
"""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from pseudolidar.command_line import clear_errors, instantiate
from pseudolidar.detectors import train_detector
from pseudolidar.kitti import ObjectDataset
from pseudolidar.training import is_first_process, let_one_process_speak


@hydra.main(version_base="1.3", config_path="../configs", config_name="train_detector")
def main(config: DictConfig) -> None:
    """Train; a killed run goes on where it was."""
    with clear_errors():
        let_one_process_speak()
        names = config.class_name
        settings = instantiate(config.training)
        train_detector(
            settings,
            ObjectDataset(config.data, config.split),
            Path(config.clouds),
            [names] if isinstance(names, str) else list(names),
            Path(config.output),
            config.seed,
            config.max_depth,
            config.device or settings.device,
        )
        if is_first_process():
            print(f"model: {config.output}")


if __name__ == "__main__":
    main()
