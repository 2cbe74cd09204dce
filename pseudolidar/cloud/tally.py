"""Counts of pixels and of the points that they became; a step that drops nearly everything says so."""

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pseudolidar.cloud.grid import AngularGrid
from pseudolidar.cloud.points import crop_sweep, disparity_to_points
from pseudolidar.kitti import Calibration

_MIN_KEPT = 0.05
"""A frame is poor if less than this fraction becomes points; a street keeps a third and more, below a height of 1 m."""
_MIN_KNOWN = 0.005
"""A map is unknown if less than this fraction of its pixels has a disparity; even maps from LiDAR have more."""

_CAUSES = {
    "behind the LiDAR (x < 0)": "is Tr_velo_to_cam this LiDAR's?",
    "at max_height or above": "is max_height, over the LiDAR, or the camera where there is no LiDAR, right for it?",
    "at max_depth or beyond": "are the disparities in px, and the baseline in m?",
    "outside of the grid": "does the grid's crop fit the scene?",
}


@dataclass
class CloudTally:
    """Counts over many frames: sources, points, and reasons for the difference.

    Attributes:
        sources: pixels with a disparity, or points of a sweep.
        poor: frames with points for fewer than 5 % of the sources, or of the grid's cells where these are fewer.
        lost: sources of those frames that became none, by reason.
        unknown: frames whose maps have a disparity in fewer than 0.5 % of the pixels.
    """

    frames: int = 0
    sources: int = 0
    points: int = 0
    poor: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    unknown: int = 0

    def __add__(self, other: "CloudTally") -> "CloudTally":
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return CloudTally(*(mine + theirs for mine, theirs in pairs))

    @classmethod
    def of_map(
        cls,
        disparity: NDArray[np.floating] | Tensor,
        points: int,
        calibration: Calibration,
        max_height: float | None = None,
        max_depth: float | None = None,
        baseline: float | None = None,
        grid: AngularGrid | None = None,
    ) -> "CloudTally":
        """The tally of one map that gave `points` points; other arguments as for `disparity_to_points`."""
        known = int((disparity > 0).sum())
        tally = cls(1, known, points, unknown=int(known < _MIN_KNOWN * math.prod(disparity.shape)))
        # A cell of a grid keeps one point.
        most = known if grid is None else min(known, grid.rows * grid.columns)
        if points >= _MIN_KEPT * most:
            return tally

        def count(height: float | None, depth: float | None) -> int:
            return len(disparity_to_points(disparity, calibration, height, depth, baseline, threads=1))

        return tally._poor(known, count(None, None), count(max_height, None), count(max_height, max_depth))

    @classmethod
    def of_sweep(
        cls, sweep: NDArray[np.float32], points: int, max_height: float | None, max_depth: float | None
    ) -> "CloudTally":
        """The tally of one sweep that gave `points` points; other arguments as for `crop_sweep`."""
        tally = cls(1, len(sweep), points)
        if points >= _MIN_KEPT * len(sweep):
            return tally
        ahead, low = (len(crop_sweep(sweep, height, None)) for height in (None, max_height))
        return tally._poor(len(sweep), ahead, low, points)

    def _poor(self, sources: int, ahead: int, low: int, near: int) -> "CloudTally":
        self.poor = 1
        dropped = (sources - ahead, ahead - low, low - near, near - self.points)
        self.lost = Counter({reason: count for reason, count in zip(_CAUSES, dropped, strict=True) if count})
        return self

    @property
    def notice(self) -> str | None:
        """A line for the user on unknown maps and poor clouds; None if there are neither."""
        said = []
        if self.unknown:
            said.append(f"{self.unknown} of {self.frames} disparity maps have a disparity in under 0.5 % of the pixels")
        if self.poor:
            reasons = self.lost.most_common()
            listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons)
            said.append(
                f"in {self.poor} of {self.frames} frames under 5 % of what was measured became points ({self.points:,} "
                f"of {self.sources:,} in all); dropped there: {listed}; {_CAUSES[reasons[0][0]]}"
            )
        return f"point clouds: {'; '.join(said)}" if said else None
