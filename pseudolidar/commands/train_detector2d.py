"""Train a 2D detector.

    pseudolidar train_detector2d data=DIR output=model.pt

On several GPUs: torchrun --nproc-per-node 8 -m pseudolidar train_detector2d ... device=cuda.
"""

import dataclasses
from pathlib import Path

from pseudolidar.commands.outputs import plotted_curves
from pseudolidar.detectors.boxes2d import Detector2dTraining, train_detector2d
from pseudolidar.files import is_first_process
from pseudolidar.kitti import ObjectDataset
from pseudolidar.training import Logger, TrainingRun, Validation


def main(
    *,
    data: Path,
    split: str,
    output: Path,
    overwrite: bool,
    seed: int,
    device: str | None,
    training: Detector2dTraining,
    logger: Logger,
    validation: Validation,
    plot: bool,
) -> None:
    """Train; a killed run goes on where it was."""
    if device is not None:
        training = dataclasses.replace(training, device=device)
    run = TrainingRun(output, seed, overwrite, logger=logger, validation=validation)
    validation_data = None if validation.every is None else ObjectDataset(data, validation.split)
    with plotted_curves(output, plot):
        train_detector2d(training, ObjectDataset(data, split), run, validation_data)
    if is_first_process():
        print(f"model: {output}")
