"""Train a disparity model: train_stereo.py data=DIR output=model.pt [training.loss=depth] [stereo@training=ensemble].

On several GPUs: torchrun --nproc-per-node 8 scripts/train_stereo.py data=DIR output=model.pt training.device=cuda.
"""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from pseudolidar.command_line import clear_errors, instantiate
from pseudolidar.ensembles import train_disparity
from pseudolidar.files import InputError
from pseudolidar.training import is_first_process, let_one_process_speak


@hydra.main(version_base="1.3", config_path="../configs", config_name="train_stereo")
def main(config: DictConfig) -> None:
    """Train; a killed run goes on where it was."""
    with clear_errors():
        let_one_process_speak()
        init = None if config.init is None else Path(config.init)
        if init is not None and not init.is_file():
            expected = "weights to start from (the paper's runs start from SceneFlow's); init=null takes random ones"
            raise InputError(f"init: found no file {init}, expected {expected}")
        pairs = instantiate(config.pairs, root=config.data, split=config.split)
        settings = instantiate(config.training)
        train_disparity(settings, pairs, Path(config.output), init, config.seed)
        if is_first_process():
            print(f"model: {config.output}")


if __name__ == "__main__":
    main()
