"""A loss or a recall against depth, with bands over the frames and seeds that were drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pseudolidar.cloud.files import disparity_path
from pseudolidar.kitti import FormatError, ObjectDataset, read_disparity, track
from pseudolidar.stereo import target_disparity
from pseudolidar.stereo.losses import MIN_DISPARITY_PX
from pseudolidar.viewing import DepthCurve


@dataclass(frozen=True, eq=False)
class SumsByDepth:
    """What a mean in each of B depth bins needs to know of F frames, whichever frames are chosen.

    Attributes:
        edges_m: float64 (B + 1,), rising; bin b holds what lies at a depth in (edges_m[b], edges_m[b + 1]].
        total: float64 (F, B), sums of the values.
        count: float64 (F, B), how many values.
    """

    edges_m: NDArray[np.float64]
    total: NDArray[np.float64]
    count: NDArray[np.float64]

    def __post_init__(self) -> None:
        edges = np.asarray(self.edges_m, np.float64)
        if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
            raise ValueError(f"edges_m: found {self.edges_m}, expected two or more rising depths in m")
        object.__setattr__(self, "edges_m", edges)
        for name in ("total", "count"):
            table = getattr(self, name)
            if table.ndim != 2 or table.shape[1] != len(edges) - 1 or table.shape != self.total.shape:
                raise ValueError(f"{name}: found shape {table.shape}, expected (frames, {len(edges) - 1})")

    def means(self) -> NDArray[np.float64]:
        """(B,), NaN in an empty bin."""
        return _ratio(self.total.sum(axis=0), self.count.sum(axis=0))


def sums_by_depth(
    frames: int,
    frame: NDArray[np.integer],
    depth_m: NDArray[np.floating],
    values: NDArray[np.floating] | NDArray[np.bool_],
    edges_m: Sequence[float] | NDArray[np.float64],
) -> SumsByDepth:
    """Sort N values into frames and bins; those at a depth outside of all bins are left out.

    Args:
        frames: how many there are, F.
        frame: (N,) the frame of each value, 0 to F - 1.
        depth_m: (N,).
        values: (N,); of a mask the mean is a share.
        edges_m: see `SumsByDepth`.
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

    Args:
        predicted_dir: ID.npy or ID.png for every frame.
        data: with exact disparity or LiDAR.
        edges_m: see `SumsByDepth`.

    Raises:
        FormatError: a frame's map is missing, broken or of another size.
    """
    totals, counts = [], []
    for frame in track(data, "disparity errors by depth", len(data)):
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


def depth_curve(
    by_seed: Sequence[SumsByDepth], random: np.random.Generator, replicates: int = 1000, confidence: float = 0.95
) -> DepthCurve:
    """The mean in each bin, over all seeds, with a percentile bootstrap band (Efron & Tibshirani 1993, chapter 13).

    A replicate draws as many frames as there are, the same for every seed, and as many seeds as there are, both with
    replacement. The band of each bin stands for itself. One seed's band knows nothing of how trainings differ.

    Args:
        by_seed: of the same frames and bins, one for each seed of the training.
        random: draws frames and seeds.
        replicates: how many times.
        confidence: share of the replicates between low and high.

    Raises:
        ValueError: no seed, seeds of other frames or bins, no replicate, a confidence outside of (0, 1).
    """
    if not by_seed:
        raise ValueError("by_seed: found none, expected the sums of one seed or more")
    if replicates < 1 or not 0.0 < confidence < 1.0:
        found = f"{replicates} replicates, confidence {confidence}"
        raise ValueError(f"bootstrap: found {found}, expected one or more, and a share between 0 and 1")
    first, seeds = by_seed[0], len(by_seed)
    for other in by_seed[1:]:
        if other.total.shape != first.total.shape or not np.array_equal(other.edges_m, first.edges_m):
            raise ValueError("by_seed: found other frames or bins than the first seed's, expected the same")
    frames = len(first.total)
    total, count = np.stack([one.total for one in by_seed]), np.stack([one.count for one in by_seed])
    values = np.empty((replicates, total.shape[2]))
    for replicate in range(replicates):
        frame_weights = np.bincount(random.integers(0, frames, frames), minlength=frames).astype(np.float64)
        seed_weights = np.bincount(random.integers(0, seeds, seeds), minlength=seeds).astype(np.float64)
        values[replicate] = _ratio(seed_weights @ (frame_weights @ total), seed_weights @ (frame_weights @ count))
    low, high = np.full((2, values.shape[1]), np.nan)
    # A bin of few objects may be empty in a replicate.
    filled = ~np.isnan(values).all(axis=0)
    ends = ((1 - confidence) / 2, (1 + confidence) / 2)
    low[filled], high[filled] = np.nanquantile(values[:, filled], ends, axis=0)
    return DepthCurve(first.edges_m, _ratio(total.sum(axis=(0, 1)), count.sum(axis=(0, 1))), low, high)


def _ratio(total: NDArray[np.float64], count: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
