"""Objects in the point clouds of a data set, by one detector.

pseudolidar detect_objects model=FILE data=DIR clouds=DIR output=DIR
"""

from pathlib import Path

from pseudolidar.detectors import log_tallies
from pseudolidar.detectors.boxes2d import ScoreKind
from pseudolidar.inference import Shard, run_job
from pseudolidar.inference.objects import ObjectsJob
from pseudolidar.kitti import ObjectDataset


def main(
    *,
    model: Path,
    data: Path,
    split: str,
    clouds: Path,
    boxes: Path | None,
    boxes_scores: ScoreKind,
    output: Path,
    overwrite: bool,
    device: str,
    workers: int,
    shard: str | None,
) -> None:
    """Write a KITTI result file for every frame of the split; files that are there are kept."""
    job = ObjectsJob(model, ObjectDataset(data, split), clouds, output, boxes, device, boxes_scores)
    tallies = run_job(job, workers, Shard.from_text(shard), overwrite)
    if workers > 1:
        log_tallies(tallies)
    print(f"results: {output}")
