"""Detect objects: python scripts/detect_objects.py model=FILE data=DIR clouds=DIR output=DIR."""

from collections.abc import Sequence
from pathlib import Path

import hydra
from omegaconf import DictConfig

from pseudolidar.command_line import clear_errors
from pseudolidar.detectors import (
    Boxes2d,
    boxes_of_frames,
    detect,
    ground_truth_boxes,
    load_detector,
    read_detections_file,
    read_result_boxes,
)
from pseudolidar.kitti import ObjectDataset


@hydra.main(version_base="1.3", config_path="../configs", config_name="detect_objects")
def main(config: DictConfig) -> None:
    """Write a KITTI result file for every frame of the split; files that are there are kept."""
    with clear_errors():
        dataset = ObjectDataset(config.data, config.split)
        detector = load_detector(config.model, config.device)
        boxes = boxes_of(dataset, detector.class_names, config.boxes) if detector.starts_from_boxes2d else None
        detect(detector, dataset, Path(config.clouds), Path(config.output), boxes)
        print(f"results: {config.output}")


def boxes_of(dataset: ObjectDataset, class_names: Sequence[str], source: str | None) -> dict[str, Boxes2d]:
    """2D boxes from the labels, from a folder of KITTI results, or from a file in the published format."""
    if source is None:
        return ground_truth_boxes(dataset, class_names)
    found = read_result_boxes(source, dataset.frame_ids) if Path(source).is_dir() else read_detections_file(source)
    return boxes_of_frames(found, dataset)


if __name__ == "__main__":
    main()
