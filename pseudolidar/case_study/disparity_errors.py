"""The test of every disparity model, the study's own and others: disparity MAE by frame, region and depth."""

import json
from pathlib import Path

from pseudolidar.files import replacing
from pseudolidar.kitti import ObjectDataset
from pseudolidar.stereo import StereoMetrics, disparity_metrics, mean_disparity_of
from pseudolidar.systems import Inputs, MeanLoss

TEST_VERSION = 2
"""Raised when the same maps give other errors."""

_ERRORS_FILE = "errors.npz"


def measure_disparity(inputs: Inputs, folder: Path) -> None:
    """Measure the predicted maps; writes errors by frame, region and depth, and their sums for people."""
    assert inputs.predictions is not None
    mean = mean_disparity_of(ObjectDataset(inputs.data, "train"))
    metrics = disparity_metrics(inputs.predictions, ObjectDataset(inputs.data, "val"), mean)
    metrics.save(folder / _ERRORS_FILE)
    with replacing(folder / "errors.json") as temporary:
        temporary.write_text(json.dumps(metrics.to_dict(), indent=1))


def disparity_loss(inputs: Inputs) -> MeanLoss:
    """The test loss: disparity MAE over the valid pixels of the validation split, px, by frame."""
    assert inputs.tested is not None
    metrics = read_errors(inputs.tested)
    total, count = metrics.disparity_error[:, 0, 0], metrics.pixels[:, 0, 0].astype(float)
    return MeanLoss(metrics.frame_ids, total, count, "px")


def read_errors(tested: Path) -> StereoMetrics:
    """The errors in the folder that a disparity model's test filled."""
    return StereoMetrics.load(tested / _ERRORS_FILE)
