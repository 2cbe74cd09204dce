"""Train a disparity model: PSMNet, or an ensemble.

    pseudolidar train_stereo data=DIR output=model.pt [training.loss=depth] [stereo@training=ensemble]

On several GPUs: torchrun --nproc-per-node 8 -m pseudolidar train_stereo ... training.device=cuda.
"""

from collections.abc import Callable
from pathlib import Path

from pseudolidar.commands.outputs import plotted_curves
from pseudolidar.ensembles import train_disparity
from pseudolidar.files import InputError, is_first_process
from pseudolidar.stereo import StereoTraining
from pseudolidar.stereo.pairs import StereoPairs
from pseudolidar.training import Logger, TrainingRun, Validation
from pseudolidar.weights import weights_file


def main(
    *,
    data: Path,
    pairs: Callable[..., StereoPairs],
    split: str,
    output: Path,
    overwrite: bool,
    init: Path | None,
    seed: int,
    training: StereoTraining,
    logger: Logger,
    validation: Validation,
    plot: bool,
) -> None:
    """Train; a killed run goes on where it was."""
    if init is not None and not weights_file(init).is_file():
        expected = "weights to start from (the paper's runs start from SceneFlow's); init=null takes random ones"
        raise InputError(f"init: found no file {init}, expected {expected}")
    run = TrainingRun(output, seed, overwrite, logger=logger, validation=validation)
    validation_data = None if validation.every is None else pairs(root=data, split=validation.split)
    with plotted_curves(output, plot):
        train_disparity(training, pairs(root=data, split=split), run, init, validation_data)
    if is_first_process():
        print(f"model: {output}")
