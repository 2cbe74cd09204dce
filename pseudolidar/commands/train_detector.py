"""Train a detector: PointRCNN or Frustum PointNet.

    pseudolidar train_detector data=DIR clouds=DIR class_name=Car output=model.pt [detector@training=...]

On several GPUs: torchrun --nproc-per-node 8 -m pseudolidar train_detector ... device=cuda.
"""

import dataclasses
from pathlib import Path

from pseudolidar.commands.outputs import plotted_curves
from pseudolidar.detectors import train_detector
from pseudolidar.detectors.frustum_pointnet import FrustumTraining
from pseudolidar.detectors.pointrcnn import PointRCNNTraining, rpn_path
from pseudolidar.files import is_first_process
from pseudolidar.kitti import ObjectDataset
from pseudolidar.training import Logger, TrainingRun, Validation


def main(
    *,
    data: Path,
    split: str,
    clouds: Path | list[Path],
    class_name: str | list[str],
    output: Path,
    init: Path | None,
    overwrite: bool,
    max_depth: float | None,
    device: str | None,
    seed: int,
    training: FrustumTraining | PointRCNNTraining,
    logger: Logger,
    validation: Validation,
    plot: bool,
) -> None:
    """Train; a killed run goes on where it was."""
    names = [class_name] if isinstance(class_name, str) else class_name
    dataset = ObjectDataset(data, split)
    if device is not None:
        training = dataclasses.replace(training, device=device)
    run = TrainingRun(output, seed, overwrite, logger=logger, validation=validation)
    validation_data = None if validation.every is None else ObjectDataset(data, validation.split)
    phases = [rpn_path(output)] if isinstance(training, PointRCNNTraining) and not training.joint else []
    with plotted_curves(output, plot, *phases):
        train_detector(training, dataset, clouds, names, run, max_depth, validation_data, init)
    if is_first_process():
        print(f"model: {output}")
