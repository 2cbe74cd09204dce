"""Sums of an error, or of found objects, by depth and frame: they give the means of any choice of frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import FormatError, InputError, track
from pseudolidar.kitti import ObjectDataset, disparity_path, read_disparity
from pseudolidar.stereo import target_disparity
from pseudolidar.stereo.metrics import MIN_DISPARITY_PX


@dataclass(frozen=True, eq=False)
class SumsByDepth:
    """Sums and numbers (F, B) of values by frame and depth bin: the mean in each bin for any choice of the frames.

    `edges_m`, float64 (B + 1,), rises; bin b holds depths in (edges_m[b], edges_m[b + 1]].
    """

    edges_m: NDArray[np.float64]
    total: NDArray[np.float64]
    count: NDArray[np.float64]

    def __post_init__(self) -> None:
        edges = np.asarray(self.edges_m, np.float64)
        if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
            raise InputError(f"edges_m: found {self.edges_m}, expected two or more rising depths in m")
        object.__setattr__(self, "edges_m", edges)
        for name in ("total", "count"):
            table = getattr(self, name)
            if table.ndim != 2 or table.shape[1] != len(edges) - 1 or table.shape != self.total.shape:
                raise InputError(f"{name}: found shape {table.shape}, expected (frames, {len(edges) - 1})")


def sums_by_depth(
    frames: int,
    frame: NDArray[np.integer],
    depth_m: NDArray[np.floating],
    values: NDArray[np.floating] | NDArray[np.bool_],
    edges_m: Sequence[float] | NDArray[np.float64],
) -> SumsByDepth:
    """Sort N values by `frame`, 0 to `frames` - 1, and depth; those at a depth outside of all bins are left out.

    The mean of a mask is the fraction of True.
    """
    edges = np.asarray(edges_m, np.float64)
    bins = len(edges) - 1
    place = np.searchsorted(edges, depth_m, side="left") - 1
    inside = (place >= 0) & (place < bins)
    cell = np.asarray(frame)[inside] * bins + place[inside]
    weights = np.asarray(values, np.float64)[inside]
    shape = (frames, bins)
    total = np.bincount(cell, weights, minlength=frames * bins).astype(np.float64)
    count = np.bincount(cell, minlength=frames * bins).astype(np.float64)
    return SumsByDepth(edges, total.reshape(shape), count.reshape(shape))


def disparity_error_by_depth(
    predicted_dir: str | Path, data: ObjectDataset, edges_m: Sequence[float] | NDArray[np.float64]
) -> SumsByDepth:
    """Sums of |disparity - true disparity|, px, by true depth, over the pixels whose true disparity is known.

    `data` needs exact disparity or LiDAR, `predicted_dir` a map of every frame (`disparity_path`), else FormatError.
    """
    totals, counts = [], []
    for frame in track(data, "disparity errors by depth"):
        truth = target_disparity(frame)
        path = disparity_path(predicted_dir, frame.frame_id)
        predicted = read_disparity(path)
        if predicted.shape != truth.shape:
            expected = f"{truth.shape[1]} x {truth.shape[0]} px, the size of the frame"
            raise FormatError(path, "size", f"{predicted.shape[1]} x {predicted.shape[0]} px", expected)
        known = truth > 0
        true_px = truth[known].astype(np.float64)
        error_px = np.abs(np.maximum(predicted[known].astype(np.float64), MIN_DISPARITY_PX) - true_px)
        depth_m = frame.calibration.camera_constant_px_m / true_px
        of_frame = sums_by_depth(1, np.zeros(len(true_px), np.int64), depth_m, error_px, edges_m)
        totals.append(of_frame.total)
        counts.append(of_frame.count)
    return SumsByDepth(np.asarray(edges_m, np.float64), np.concatenate(totals), np.concatenate(counts))
