"""Detect objects of one class: python scripts/detect_objects.py model=FILE data=DIR clouds=DIR output=DIR."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from pseudolidar.command_line import clear_errors
from pseudolidar.detectors.boxes2d import Boxes2d, ground_truth_boxes, read_detections_file, read_result_boxes
from pseudolidar.detectors.frustum_pointnet import FrustumDetector, detect
from pseudolidar.kitti import ObjectDataset


@hydra.main(version_base="1.3", config_path="../configs", config_name="detect_objects")
def main(config: DictConfig) -> None:
    """Write a KITTI result file for every frame of the split; files that are there are kept."""
    with clear_errors():
        dataset = ObjectDataset(config.data, config.split)
        class_name = FrustumDetector.from_checkpoint(Path(config.model)).class_name
        boxes = boxes_of(dataset, class_name, None if config.boxes is None else Path(config.boxes))
        detect(Path(config.model), dataset, Path(config.clouds), boxes, Path(config.output))
        print(f"results: {config.output}")


def boxes_of(dataset: ObjectDataset, class_name: str, source: Path | None) -> dict[str, Boxes2d]:
    """2D boxes from the labels, from a folder of KITTI results, or from a file in the published format."""
    if source is None:
        return ground_truth_boxes(dataset, class_name)
    return read_result_boxes(source, dataset.frame_ids) if source.is_dir() else read_detections_file(source)


if __name__ == "__main__":
    main()
