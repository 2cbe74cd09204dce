"""u' calibrated: its disparity mapped to the median of what is true where it says so, as a vertex behind it."""

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
_MOST_PIXELS = 2**24


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
    """The median of the true disparity given the one that a model's maps say, made to rise (isotonic regression).

    Not the mean: errors have long tails. Of the pixels that say 7 px on a highway a quarter are mountains at 2 px; the
    mean would move the cars among them back by 20 m. The median also has the least absolute error, which the test loss
    is. Medians are those of bins of 1/16 px, of at most 2^24 pixels, the same number in each frame; then least squares
    under order (Barlow et al., Statistical Inference under Order Restrictions, 1972), weighted by pixels.

    Raises:
        FormatError: a missing map, or no pixel that both know.
    """
    of_frames: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    for frame in track(frames, "calibration", len(frames)):
        truth, said = target_disparity(frame), read_disparity(disparity_path(maps, frame.frame_id))
        known = (truth > 0) & (said > 0)
        step = -(-int(known.sum()) * len(frames) // _MOST_PIXELS) or 1
        of_frames.append((said[known][::step], truth[known][::step]))
    said_px, true_px = (np.concatenate(side) for side in zip(*of_frames, strict=True))
    if not len(said_px):
        raise FormatError(maps, "maps", "no pixel that has a true disparity", "some to calibrate by")
    order = np.argsort(said_px)
    said_px, true_px = said_px[order], true_px[order]
    starts = np.flatnonzero(np.diff((said_px / _BIN_PX).astype(np.int64), prepend=-1))
    count = np.diff(starts, append=len(said_px))
    means = np.add.reduceat(said_px, starts, dtype=np.float64) / count
    medians = [np.median(pixels) for pixels in np.split(true_px, starts[1:])]
    # Slow to import, and few studies need it.
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression().fit(means, medians, sample_weight=count)
    return DisparityCalibration(fitted.X_thresholds_, fitted.y_thresholds_)


@dataclass(frozen=True)
class CalibratedDisparity(MeasuredDisparity):
    """The maps of the parent `UNCALIBRATED`, calibrated on the training split; nothing is trained.

    A model that was trained on the same frames is better there than elsewhere, and so is what it needs of calibration.
    """

    versions: ClassVar[Mapping[Step, int]] = {"predict": 2, "test": TEST_VERSION}

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
