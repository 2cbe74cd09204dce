"""How the case study scores detections: KITTI average precision on the validation split."""

from pathlib import Path

from pseudolidar.evaluation import LOOSE_OVERLAP, Evaluation, evaluate
from pseudolidar.kitti import ObjectDataset, read_objects


def evaluate_results(
    results_dir: Path, frames: ObjectDataset, class_name: str, near_m: float, loose: bool = False
) -> Evaluation:
    """KITTI average precision of one detector's result files.

    Pedestrians are scored at 0 to `near_m` m, as in the paper, everything else at any distance.

    Args:
        results_dir: ID.txt of every frame.
        frames: with labels.
        class_name: of the detector.
        near_m: m.
        loose: at the IoU of `LOOSE_OVERLAP` for 3D and BEV instead of the official one.

    Raises:
        FormatError: a missing or broken file.
    """
    return evaluate(
        [frame.objects() for frame in frames],
        [read_objects(results_dir / f"{frame_id}.txt", scored=True) for frame_id in frames.frame_ids],
        classes=(class_name,),
        difficulties=("easy", "moderate", "hard", "all"),
        depth_range=(0.0, near_m) if class_name == "Pedestrian" else None,
        min_overlap={class_name: LOOSE_OVERLAP[class_name]} if loose else None,
        frame_ids=frames.frame_ids,
    )
