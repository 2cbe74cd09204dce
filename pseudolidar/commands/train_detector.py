"""Train a detector: train_detector.py data=DIR clouds=DIR class_name=Car output=model.pt [detector@training=...].

On several GPUs: torchrun --nproc-per-node 8 scripts/train_detector.py ... device=cuda.
"""

from pathlib import Path

from pseudolidar.detectors import train_detector
from pseudolidar.detectors.frustum_pointnet import FrustumTraining
from pseudolidar.detectors.pointrcnn import PointRCNNTraining
from pseudolidar.files import is_first_process
from pseudolidar.kitti import ObjectDataset


def main(
    *,
    data: Path,
    split: str,
    clouds: Path,
    class_name: str | list[str],
    output: Path,
    overwrite: bool,
    max_depth: float | None,
    device: str | None,
    seed: int,
    training: FrustumTraining | PointRCNNTraining,
) -> None:
    """Train; a killed run goes on where it was."""
    names = [class_name] if isinstance(class_name, str) else class_name
    dataset = ObjectDataset(data, split)
    train_detector(training, dataset, clouds, names, output, seed, max_depth, device, overwrite)
    if is_first_process():
        print(f"model: {output}")
