"""Disparity maps of a data set or of one pair.

pseudolidar predict_disparity model=FILE (or sgm) data=DIR output=DIR
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pseudolidar.ensembles import trained_disparity
from pseudolidar.files import InputError, require_output_file
from pseudolidar.inference import Shard, run_job
from pseudolidar.inference.disparity import DisparityJob
from pseudolidar.kitti import DISPARITY_SUFFIXES, ObjectDataset, read_image
from pseudolidar.stereo import DisparityModel, SemiGlobalMatching
from pseudolidar.stereo.inference import InferencePrecision, write_prediction
from pseudolidar.stereo.pairs import StereoPairs
from pseudolidar.weights import weights_digest


def main(
    *,
    model: str,
    data: Path | None,
    pairs: Callable[..., StereoPairs] | None,
    split: str | None,
    left: Path | None,
    right: Path | None,
    output: Path,
    overwrite: bool,
    max_disparity: int | None,
    workers: int,
    shard: str | None,
    align_corners: bool | None,
    precision: InferencePrecision | None,
    device: str,
    threads: int | None,
    compile: bool,
) -> None:
    """Predict for every frame of `data`, or for the pair `left`, `right`."""
    if (data is None) == (left is None or right is None):
        raise InputError("expected data=DIR, or left=FILE right=FILE")
    if data is None:
        require_output_file(output, DISPARITY_SUFFIXES, "a disparity map")
    load: Callable[[], DisparityModel]
    settings: dict[str, Any] = {"model": model, "max_disparity": max_disparity}
    if model == "sgm":
        load = partial(SemiGlobalMatching, **({} if max_disparity is None else {"max_disparity": max_disparity}))
    else:
        load = partial(
            trained_disparity, Path(model), align_corners, max_disparity, precision, device, threads, compile
        )
        computed = {"precision": precision, "device": device.partition(":")[0], "compile": compile}
        settings |= {"model": weights_digest(model), "align_corners": align_corners, **computed}
    if data is not None:
        dataset = ObjectDataset(data, split) if pairs is None else pairs(root=data, split=split)
        job = DisparityJob(load, dataset, output, f"disparity of {Path(model).stem}", settings)
        run_job(job, workers, Shard.from_text(shard), overwrite)
    elif left is not None and right is not None:
        write_prediction(load(), read_image(left), read_image(right), output)
    print(f"disparity: {output}")
