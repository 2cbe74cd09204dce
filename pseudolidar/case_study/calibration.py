"""u' calibrated: its disparity mapped to what is true on average where it says so, as a vertex behind it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pseudolidar.case_study.disparity import TEST_VERSION, MeasuredDisparity, frames_of_splits
from pseudolidar.files import FormatError, track, write_file
from pseudolidar.kitti import ObjectDataset, disparity_path, read_disparity, write_disparity
from pseudolidar.stereo import target_disparity
from pseudolidar.systems import Inputs, Step

UNCALIBRATED = "uncalibrated"
"""The vertex whose disparity is calibrated."""

_CALIBRATION_FILE = "calibration.json"
_BIN_PX = 1 / 16


@dataclass(frozen=True, eq=False)
class DisparityCalibration:
    """A rising map from the disparity that a model says to the true one, px: float64 (K,) each, linear between."""

    said: NDArray[np.float64]
    true: NDArray[np.float64]

    def of(self, disparity: NDArray[np.floating]) -> NDArray[np.float32]:
        """The calibrated map, float32 (H, W) px, of one of the model's, (H, W) px; 0, unknown, stays 0.

        Below what was seen in fitting the first ratio holds, above it the last difference.
        """
        said = disparity.astype(np.float64)
        calibrated = np.interp(said, self.said, self.true)
        calibrated = np.where(said < self.said[0], said * (self.true[0] / self.said[0]), calibrated)
        calibrated = np.where(said > self.said[-1], said + (self.true[-1] - self.said[-1]), calibrated)
        return np.where(said > 0, calibrated, 0.0).astype(np.float32)


def fit_calibration(maps: Path, frames: ObjectDataset) -> DisparityCalibration:
    """The mean true disparity given the one that a model's maps say, by isotonic regression over the frames' pixels.

    Least squares under order (Barlow et al., Statistical Inference under Order Restrictions, 1972) from means in bins
    of 1/16 px, weighted by their pixels. FormatError for a missing map, or frames without a pixel that both know.
    """
    sums = np.zeros((3, 0))
    for frame in track(frames, "calibration", len(frames)):
        truth, said = target_disparity(frame), read_disparity(disparity_path(maps, frame.frame_id))
        known = (truth > 0) & (said > 0)
        true_px, said_px = truth[known].astype(np.float64), said[known].astype(np.float64)
        bins = (said_px / _BIN_PX).astype(np.int64)
        more = max(int(bins.max(initial=-1)) + 1 - sums.shape[1], 0)
        sums = np.pad(sums, ((0, 0), (0, more)))
        for row, weights in zip(sums, (np.ones_like(said_px), said_px, true_px), strict=True):
            row += np.bincount(bins, weights, minlength=len(row))
    count, said_sum, true_sum = sums[:, sums[0] > 0]
    if not len(count):
        raise FormatError(maps, "maps", "no pixel that has a true disparity", "some to calibrate by")
    # Slow to import, and few studies need it.
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression().fit(said_sum / count, true_sum / count, sample_weight=count)
    return DisparityCalibration(fitted.X_thresholds_, fitted.y_thresholds_)


@dataclass(frozen=True)
class CalibratedDisparity(MeasuredDisparity):
    """The maps of the parent `UNCALIBRATED`, calibrated on the training split; nothing is trained.

    A model that was trained on the same frames is better there than elsewhere, and so is what it needs of calibration.
    """

    versions: ClassVar[Mapping[Step, int]] = {"predict": 1, "test": TEST_VERSION}

    def run_predict(self, inputs: Inputs, folder: Path) -> None:
        """Fit, write down the fit, then the maps of both splits that are missing."""
        maps = inputs.parents[UNCALIBRATED]
        calibration = fit_calibration(maps, ObjectDataset(inputs.data, "train"))
        values = {"said_px": calibration.said.tolist(), "true_px": calibration.true.tolist()}
        write_file(folder / _CALIBRATION_FILE, json.dumps(values))
        for frame in track(frames_of_splits(inputs.data), "disparity maps, calibrated"):
            path = folder / f"{frame.frame_id}.npy"
            if not path.is_file():
                write_disparity(path, calibration.of(read_disparity(disparity_path(maps, frame.frame_id))))
