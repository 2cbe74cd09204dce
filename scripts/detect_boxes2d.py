"""Detect 2D boxes: python scripts/detect_boxes2d.py model=FILE data=DIR split=val output=DIR."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from pseudolidar.command_line import clear_errors
from pseudolidar.detectors.boxes2d import read_result_boxes, write_detections_file
from pseudolidar.files import InputError, require_output_file
from pseudolidar.inference import Shard, run_job
from pseudolidar.inference.boxes2d import Boxes2dJob
from pseudolidar.kitti import ObjectDataset


@hydra.main(version_base="1.3", config_path="../configs", config_name="detect_boxes2d")
def main(config: DictConfig) -> None:
    """Write a KITTI result file for every frame of the split; files that are there are kept."""
    with clear_errors():
        if config.detections is not None and config.shard is not None:
            expected = "one of them: the file holds the boxes of all shards; run again without shard when all are done"
            raise InputError(f"detections, shard: found both, expected {expected}")
        if config.detections is not None:
            require_output_file(config.detections, (".txt",), "2D detections")
        dataset = ObjectDataset(config.data, config.split)
        job = Boxes2dJob(config.model, dataset, Path(config.output), config.min_score, config.device)
        run_job(job, config.workers, Shard.from_text(config.shard))
        print(f"2D boxes: {config.output}")
        if config.detections is not None:
            write_detections_file(config.detections, read_result_boxes(config.output, dataset.frame_ids))
            print(f"2D boxes in one file: {config.detections}")


if __name__ == "__main__":
    main()
