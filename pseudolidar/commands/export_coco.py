"""2D labels or 2D boxes of a data set as COCO JSON.

pseudolidar export_coco data=DIR split=train output=FILE.json [boxes=DIR]
"""

from pathlib import Path

from pseudolidar.detectors.boxes2d import ScoreKind, read_boxes, write_coco_annotations, write_coco_results
from pseudolidar.kitti import ObjectDataset


def main(
    *, data: Path, split: str, output: Path, classes: list[str], boxes: Path | None, boxes_scores: ScoreKind
) -> None:
    """One file: annotations of the labels or, of `boxes`, results."""
    dataset = ObjectDataset(data, split)
    if boxes is None:
        write_coco_annotations(output, dataset, classes)
        print(f"annotations: {output}")
    else:
        found = read_boxes(boxes, dataset.frame_ids, boxes_scores)
        write_coco_results(output, found, dataset.frame_ids, classes)
        print(f"results: {output}")
