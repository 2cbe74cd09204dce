"""Test loss of a disparity model: by depth range, over all pixels and over those of cars and of pedestrians."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import FormatError, read_npz, replacing, track
from pseudolidar.kitti import (
    DISPARITY_SUFFIXES,
    Calibration,
    Frame,
    ObjectDataset,
    Objects,
    disparity_path,
    read_disparity,
)
from pseudolidar.ops import points_in_box
from pseudolidar.stereo.pairs import StereoPairs
from pseudolidar.stereo.targets import target_disparity

REGIONS = ("all", "car", "pedestrian")
"""Which pixels: all valid ones, or those on the surface of an object of a class."""

RANGES_M: tuple[tuple[float, float], ...] = ((0.0, np.inf), (0.0, 20.0), (20.0, 40.0), (40.0, np.inf))
"""(near, far] of the true depth, metres: the paper's Table 2."""

FARTHEST_PREDICTION_M = 200.0
"""Predicted depths beyond it count as this far, m, so that a few disparities near 0 don't decide the error of all."""

MIN_DISPARITY_PX = 1e-8
"""Predicted disparities are clamped here before they are inverted, as in the paper's runs (Wu et al., 2021)."""

_REGION_CLASSES = ("Car", "Pedestrian")
_D1_PX, _D1_FRACTION = 3.0, 0.05
_ARRAYS = ("pixels", "disparity_error", "depth_error", "outliers", "mean_error")


def range_name(bounds: tuple[float, float]) -> str:
    """A depth range as the paper writes it: `0-20`, `40-max`."""
    return "-".join("max" if np.isinf(bound) else f"{bound:g}" for bound in bounds)


@dataclass(frozen=True, eq=False)
class StereoMetrics:
    """Errors of a disparity model, summed frame by frame, so that intervals can be computed by resampling frames.

    Arrays are (F, R, D): F frames, R `REGIONS`, D `RANGES_M`; counts are int64, sums float64.

    Attributes:
        pixels: how many are valid.
        disparity_error: sum of |disparity - true disparity|, px.
        depth_error: sum of |C / disparity - true depth|, m.
        outliers: pixels whose disparity is wrong by more than 3 px and more than 5 % of the true one.
        mean_error: px, `disparity_error` of a model that always answers `mean_disparity`.
        mean_disparity: px; NaN if none was given.
    """

    frame_ids: tuple[str, ...]
    pixels: NDArray[np.int64]
    disparity_error: NDArray[np.float64]
    depth_error: NDArray[np.float64]
    outliers: NDArray[np.int64]
    mean_error: NDArray[np.float64]
    mean_disparity: float

    def disparity_mae(self) -> NDArray[np.float64]:
        """(R, D) px, NaN where there is no pixel. Optical flow's end-point error, since a disparity has one axis."""
        return self._mean(self.disparity_error)

    def depth_mae(self) -> NDArray[np.float64]:
        """(R, D) m, NaN where there is no pixel."""
        return self._mean(self.depth_error)

    def d1(self) -> NDArray[np.float64]:
        """(R, D) percent of outliers, NaN where there is no pixel: KITTI 2015's D1 (Menze and Geiger, CVPR 2015)."""
        return 100 * self._mean(self.outliers)

    def mean_predictor_mae(self) -> NDArray[np.float64]:
        """(R, D) px, the disparity MAE of always predicting `mean_disparity`; NaN where there is no pixel."""
        return self._mean(self.mean_error)

    def to_dict(self) -> dict[str, Any]:
        """The table as plain data, None where there is no pixel.

        Region -> range -> disparity_mae_px, depth_mae_m, d1_percent, pixels, and mean_predictor_mae_px if a mean was
        given.
        """
        columns = {"disparity_mae_px": self.disparity_mae(), "depth_mae_m": self.depth_mae(), "d1_percent": self.d1()}
        if not np.isnan(self.mean_disparity):
            columns["mean_predictor_mae_px"] = self.mean_predictor_mae()
        table: dict[str, Any] = {}
        for row, region in enumerate(REGIONS):
            table[region] = {}
            for column, bounds in enumerate(RANGES_M):
                cells = {name: float(values[row, column]) for name, values in columns.items()}
                table[region][range_name(bounds)] = {
                    **{name: None if np.isnan(cell) else cell for name, cell in cells.items()},
                    "pixels": int(self.pixels[:, row, column].sum()),
                }
        return table

    def save(self, path: str | Path) -> None:
        """Write all of it to an .npz, whole or not at all."""
        with replacing(path) as temporary, temporary.open("wb") as file:
            arrays = {name: getattr(self, name) for name in _ARRAYS}
            np.savez_compressed(file, frame_ids=np.array(self.frame_ids), mean=np.array(self.mean_disparity), **arrays)

    @classmethod
    def of_frames(cls, frames: Sequence["StereoMetrics"]) -> "StereoMetrics":
        """Those of one or more frames (or sets of them) in a row, compared with one `mean_disparity`."""
        arrays = {name: np.concatenate([getattr(frame, name) for frame in frames]) for name in _ARRAYS}
        names = tuple(name for frame in frames for name in frame.frame_ids)
        return cls(names, **arrays, mean_disparity=frames[0].mean_disparity)

    @classmethod
    def load(cls, path: str | Path) -> "StereoMetrics":
        """Read what `save` wrote; FormatError if it isn't there, or is something else."""
        stored = read_npz(path, (*_ARRAYS, "frame_ids", "mean"), "an .npz of errors by frame, region and depth")
        arrays = {name: stored[name] for name in _ARRAYS}
        return cls(tuple(map(str, stored["frame_ids"])), **arrays, mean_disparity=float(stored["mean"]))

    def _mean(self, errors: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):
            return errors.sum(axis=0) / self.pixels.sum(axis=0)


def disparity_metrics(
    predicted_dir: Path,
    data: ObjectDataset | StereoPairs,
    mean_disparity: float | None = None,
    truth_dir: Path | None = None,
) -> StereoMetrics:
    """Compare the maps of a folder, see `disparity_path`, with the true disparity of every frame of a data set.

    In KITTI's object layout the truth is exact disparity or LiDAR, and a frame without labels has neither cars nor
    pedestrians; pairs of another data set have no labels. `mean_disparity`: see `mean_disparity_of`.
    `truth_dir`, for the object layout: another folder of true maps, such as KITTI 2015's `disp_occ_0`; frames without
    one are left out.

    Raises:
        FormatError: no frame; a file that is missing, broken or of another size; a pair without a camera constant.
    """
    if truth_dir is not None and isinstance(data, ObjectDataset):
        data = data.only([name for name in data.frame_ids if _true_map(truth_dir, name) is not None])
    names = data.frame_ids if isinstance(data, ObjectDataset) else data.names
    frames = []
    truths = track(_truths(data, truth_dir), "disparity errors", len(names))
    for name, (truth, constant, regions) in zip(names, truths, strict=True):
        path = disparity_path(predicted_dir, name)
        predicted = read_disparity(path)
        if predicted.shape != truth.shape:
            found, expected = (f"{shape[1]} x {shape[0]} px" for shape in (predicted.shape, truth.shape))
            raise FormatError(path, "size", found, f"{expected}, the size of the frame")
        frames.append(map_metrics(predicted, truth, constant, name, regions, mean_disparity))
    if not frames:
        raise FormatError(predicted_dir, "data set", "no frames", "frames to compare with")
    return StereoMetrics.of_frames(frames)


def frame_metrics(predicted: NDArray[np.floating], frame: Frame) -> StereoMetrics:
    """Compare a map, (H, W) px, with a frame's exact disparity or LiDAR; with labels, on cars and pedestrians too.

    ValueError for a map of another size than the frame's, FormatError for a missing or broken file of the frame.
    """
    truth, constant, regions = _truth(frame, None)
    return map_metrics(predicted, truth, constant, frame.frame_id, regions)


def map_metrics(
    predicted: NDArray[np.floating],
    truth: NDArray[np.floating],
    camera_constant_px_m: float | None,
    name: str,
    regions: NDArray[np.bool_] | None = None,
    mean_disparity: float | None = None,
) -> StereoMetrics:
    """Compare a frame's disparity map, (H, W) px, with the true one, over the pixels where the truth is known (not 0).

    Args:
        camera_constant_px_m: focal length x baseline, px m; None: no pixel is in a range but the first, of all depths,
            and depth errors are NaN.
        regions: (R, N) bool, which of the N pixels with known disparity, in row-major order, lie in each of `REGIONS`;
            None: all in the first, none in the others.
        mean_disparity: px, see `mean_disparity_of`.

    Raises:
        ValueError: maps of two sizes, or regions of another number of pixels.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"predicted: found shape {predicted.shape}, expected the truth's, {truth.shape}")
    baseline = np.nan if mean_disparity is None else mean_disparity
    row, column = np.nonzero(truth > 0)
    true_px = truth[row, column].astype(np.float64)
    found_px = np.maximum(predicted[row, column].astype(np.float64), MIN_DISPARITY_PX)
    constant = np.nan if camera_constant_px_m is None else camera_constant_px_m
    depth_m = constant / true_px
    error_px = np.abs(found_px - true_px)
    errors = np.stack(
        [
            error_px,
            np.abs(np.minimum(constant / found_px, FARTHEST_PREDICTION_M) - depth_m),
            (error_px > _D1_PX) & (error_px > _D1_FRACTION * true_px),
            np.abs(baseline - true_px),
        ]
    )
    shape = (1, len(REGIONS), len(RANGES_M))
    pixels, sums = np.zeros(shape, np.int64), np.zeros((len(errors), *shape))
    if regions is None:
        regions = np.zeros((len(REGIONS), len(row)), bool)
        regions[0] = True
    if regions.shape != (len(REGIONS), len(row)):
        raise ValueError(f"regions: found shape {regions.shape}, expected {(len(REGIONS), len(row))}")
    for place, bounds in enumerate(RANGES_M):
        chosen = regions & ((depth_m > bounds[0]) & (depth_m <= bounds[1]) | (bounds == (0.0, np.inf)))
        pixels[0, :, place] = chosen.sum(axis=1)
        sums[:, 0, :, place] = errors @ chosen.T
    return StereoMetrics((name,), pixels, sums[0], sums[1], sums[2].astype(np.int64), sums[3], baseline)


def mean_disparity_of(dataset: ObjectDataset) -> float:
    """Mean true disparity over the valid pixels of a data set, px."""
    total, count = 0.0, 0
    for frame in track(dataset, "mean disparity", len(dataset)):
        truth = target_disparity(frame)
        total += float(truth.sum(dtype=np.float64))
        count += int((truth > 0).sum())
    if not count:
        raise FormatError(dataset.root, f"split {dataset.split}", "no valid pixel", "frames with known disparity")
    return total / count


def object_pixels(
    objects: Objects,
    class_name: str,
    calibration: Calibration,
    column: NDArray[np.integer],
    row: NDArray[np.integer],
    depth_m: NDArray[np.floating],
) -> NDArray[np.bool_]:
    """Which of N pixels with their true depth lie on an object of a class, (N,) bool.

    Such a pixel lies inside the object's 2D box, its 3D point inside the 3D box. `class_name` is KITTI's.
    """
    points = calibration.image_to_rect(np.stack([column, row], axis=1), depth_m)
    found = np.zeros(len(points), bool)
    for index in np.flatnonzero(objects.class_name == class_name):
        x1, y1, x2, y2 = objects.box2d[index]
        near = np.flatnonzero((column >= x1) & (column <= x2) & (row >= y1) & (row <= y2))
        found[near[points_in_box(points[near], objects.box3d[index])]] = True
    return found


def _true_map(folder: Path, name: str) -> Path | None:
    return next((path for suffix in DISPARITY_SUFFIXES if (path := folder / f"{name}{suffix}").is_file()), None)


def _truths(
    data: ObjectDataset | StereoPairs, truth_dir: Path | None
) -> Iterator[tuple[NDArray[np.float32], float, NDArray[np.bool_] | None]]:
    """The true disparity, camera constant and, if there are labels, regions of every frame."""
    if isinstance(data, ObjectDataset):
        for frame in data:
            yield _truth(frame, truth_dir)
        return
    for index in range(len(data.names)):
        pair = data.read(index)
        if pair.camera_constant_px_m is None:
            expected = "a calibration: depth is focal length x baseline / disparity"
            raise FormatError(pair.source, "camera constant", "no record of it", expected)
        yield pair.disparity, pair.camera_constant_px_m, None


def _truth(frame: Frame, truth_dir: Path | None) -> tuple[NDArray[np.float32], float, NDArray[np.bool_] | None]:
    calibration = frame.calibration
    other = None if truth_dir is None else _true_map(truth_dir, frame.frame_id)
    truth = target_disparity(frame, calibration) if other is None else read_disparity(other)
    labelled = frame.path("label_2").is_file()
    regions = _regions(frame.objects(), calibration, truth) if labelled else None
    return truth, calibration.camera_constant_px_m, regions


def _regions(objects: Objects, calibration: Calibration, truth: NDArray[np.floating]) -> NDArray[np.bool_]:
    row, column = np.nonzero(truth > 0)
    depth_m = calibration.camera_constant_px_m / truth[row, column].astype(np.float64)
    on_objects = [object_pixels(objects, name, calibration, column, row, depth_m) for name in _REGION_CLASSES]
    return np.stack([np.ones(len(row), bool), *on_objects])
