"""2D boxes in the images of a data set.

pseudolidar detect_boxes2d model=FILE data=DIR split=val output=DIR
"""

from pathlib import Path

from pseudolidar.detectors.boxes2d import read_result_boxes, write_detections_file
from pseudolidar.files import InputError, require_output_file
from pseudolidar.inference import Shard, run_job
from pseudolidar.inference.boxes2d import Boxes2dJob
from pseudolidar.kitti import ObjectDataset


def main(
    *,
    model: Path,
    data: Path,
    split: str,
    output: Path,
    overwrite: bool,
    detections: Path | None,
    min_score: float,
    device: str,
    workers: int,
    shard: str | None,
) -> None:
    """Write a KITTI result file for every frame of the split; files that are there are kept."""
    if detections is not None and shard is not None:
        expected = "one of them: the file holds the boxes of all shards; run again without shard when all are done"
        raise InputError(f"detections, shard: found both, expected {expected}")
    if detections is not None:
        require_output_file(detections, (".txt",), "2D detections")
    dataset = ObjectDataset(data, split)
    run_job(Boxes2dJob(model, dataset, output, min_score, device), workers, Shard.from_text(shard), overwrite)
    print(f"2D boxes: {output}")
    if detections is not None:
        write_detections_file(detections, read_result_boxes(output, dataset.frame_ids))
        print(f"2D boxes in one file: {detections}")
