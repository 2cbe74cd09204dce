"""Disparity maps of a data set or of one pair: predict_disparity.py model=FILE (or sgm) data=DIR output=DIR."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import hydra
from omegaconf import DictConfig

from pseudolidar.command_line import clear_errors, instantiate
from pseudolidar.ensembles import trained_disparity
from pseudolidar.files import InputError
from pseudolidar.inference import Shard, run_job
from pseudolidar.inference.disparity import DisparityJob
from pseudolidar.kitti import ObjectDataset, read_image, require_disparity_output
from pseudolidar.stereo import DisparityModel, SemiGlobalMatching
from pseudolidar.stereo.inference import write_prediction


@hydra.main(version_base="1.3", config_path="../configs", config_name="predict_disparity")
def main(config: DictConfig) -> None:
    """Predict for every frame of `data`, or for the pair `left`, `right`."""
    with clear_errors():
        if (config.data is None) == (config.left is None or config.right is None):
            raise InputError("expected data=DIR, or left=FILE right=FILE")
        if config.data is None:
            require_disparity_output(config.output)
        model = _model(config)
        if config.data is not None:
            if config.get("pairs") is None:
                data = ObjectDataset(config.data, config.split)
            else:
                data = instantiate(config.pairs, root=config.data, split=config.split)
            job = DisparityJob(model, data, Path(config.output), f"disparity of {Path(config.model).stem}")
            run_job(job, config.workers, Shard.from_text(config.shard))
        else:
            write_prediction(model(), read_image(config.left), read_image(config.right), config.output)
        print(f"disparity: {config.output}")


def _model(config: DictConfig) -> Callable[[], DisparityModel]:
    if config.model == "sgm":
        given = {} if config.max_disparity is None else {"max_disparity": config.max_disparity}
        return partial(SemiGlobalMatching, **given)
    return partial(
        trained_disparity,
        Path(config.model),
        config.align_corners,
        config.max_disparity,
        config.precision,
        config.device,
        config.threads,
        config.compile,
    )


if __name__ == "__main__":
    main()
