"""Detect objects: python scripts/detect_objects.py model=FILE data=DIR clouds=DIR output=DIR."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from pseudolidar.command_line import clear_errors
from pseudolidar.detectors import log_tallies
from pseudolidar.inference import Shard, run_job
from pseudolidar.inference.objects import ObjectsJob
from pseudolidar.kitti import ObjectDataset


@hydra.main(version_base="1.3", config_path="../configs", config_name="detect_objects")
def main(config: DictConfig) -> None:
    """Write a KITTI result file for every frame of the split; files that are there are kept."""
    with clear_errors():
        dataset = ObjectDataset(config.data, config.split)
        clouds, output = Path(config.clouds), Path(config.output)
        job = ObjectsJob(config.model, dataset, clouds, output, config.boxes, config.device)
        tallies = run_job(job, config.workers, Shard.from_text(config.shard))
        if config.workers > 1:
            log_tallies(tallies)
        print(f"results: {config.output}")


if __name__ == "__main__":
    main()
