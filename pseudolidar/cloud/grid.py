"""The angular grid of sparse clouds: one point for each cell, as if a spinning LiDAR had measured it."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import InputError

# Beyond this angle a tangent grows too fast for tables; no camera that a disparity map fits sees as much.
_WIDEST_DEG = 80.0
_MOST_BINS = 1 << 15


@dataclass(frozen=True)
class AngularGrid:
    """Rows of elevation and columns of azimuth in the velodyne frame (Pseudo-LiDAR++, You et al., ICLR 2020).

    A point's row is floor((top_deg - elevation) / row_deg), its column floor((left_deg - azimuth) / column_deg), both
    clamped to the grid. Points outside the crop have no cell.

    Attributes:
        top_deg, row_deg: elevation of the upper edge of row 0, height of a row.
        left_deg, column_deg: azimuth of the left edge of column 0, to the left of x; width of a column.
        x_m, y_m, z_m: the crop in the velodyne frame, [low, high).

    Raises:
        InputError: an edge between two rows or two columns beyond 80 deg, an empty crop, one behind the sensor.
    """

    rows: int
    columns: int
    top_deg: float
    row_deg: float
    left_deg: float
    column_deg: float
    x_m: tuple[float, float]
    y_m: tuple[float, float]
    z_m: tuple[float, float]

    def __post_init__(self) -> None:
        for name in ("x_m", "y_m", "z_m"):
            first, end = (float(value) for value in getattr(self, name))
            object.__setattr__(self, name, (first, end))
            if not first < end or (name == "x_m" and first < 0):
                expected = "two increasing numbers" + (", the first of them not negative" if name == "x_m" else "")
                raise InputError(f"{name}: found {(first, end)}, expected {expected}")
        for kind, count, first, step in (
            ("row", self.rows, self.top_deg, self.row_deg),
            ("column", self.columns, self.left_deg, self.column_deg),
        ):
            if count < 1 or not step > 0:
                raise InputError(f"{kind}s: found {count} of {step} deg, expected one or more of a positive size")
            if count > 1 and not max(abs(first - step), abs(first - step * (count - 1))) <= _WIDEST_DEG:
                found = f"edges from {first - step:g} to {first - step * (count - 1):g} deg"
                raise InputError(f"{kind}s: found {found}, expected edges within {_WIDEST_DEG:g} deg of x")


LIDAR_GRID = AngularGrid(
    rows=64,
    columns=512,
    top_deg=2.0,
    row_deg=0.4,
    left_deg=45.0,
    column_deg=90.0 / 512,
    x_m=(0.0, 120.0),
    y_m=(-50.0, 50.0),
    z_m=(-2.5, 1.5),
)
"""A 64-beam LiDAR's, 90 deg to the front: what Pseudo-LiDAR++ gives to PointRCNN."""


class Edges(NamedTuple):
    """Edges between cells along one angle, for finding a cell without an inverse sine.

    Edge k lies between cells k - 1 and k. Angles and tangents grow together: the cell of a tangent t is the number of
    edges 1 .. n - 1 with t <= tangent[k]. Written without a division (y <= tangent[k] * x for the azimuth, z |z| <=
    tangent[k] |tangent[k]| (x^2 + y^2) for the elevation), products of float32 coordinates are exact in float64, and
    the rest is rounded once: every backend finds the same cell, with fused multiplications or without.

    Attributes:
        edge: float64 (n + 1,): tangent[k], or tangent[k] |tangent[k]|, at 1 .. n - 1; minus infinity, which nothing is
            below, at n.
        first: float32 lowest tangent of the table `least`.
        scale: bins per unit of tangent.
        least: int32 (bins,), for a bin of tangents the lowest cell in it; the next one, if any, is the only other.
    """

    edge: NDArray[np.float64]
    first: np.float32
    scale: np.float32
    least: NDArray[np.int32]


class Cells(NamedTuple):
    """An `AngularGrid` as kernels take it; the crop's limits are float32, as the coordinates are."""

    elevation: Edges
    azimuth: Edges
    rows: int
    columns: int
    low: NDArray[np.float32]
    high: NDArray[np.float32]


@lru_cache(maxsize=16)
def grid_cells(grid: AngularGrid) -> Cells:
    """The tables of a grid, cached."""
    low, high = np.array([grid.x_m, grid.y_m, grid.z_m], np.float32).T.copy()
    elevation = _edges(grid.rows, grid.top_deg, grid.row_deg)
    azimuth = _edges(grid.columns, grid.left_deg, grid.column_deg)
    squared = elevation._replace(edge=elevation.edge * np.abs(elevation.edge))
    return Cells(squared, azimuth, grid.rows, grid.columns, low, high)


def _edges(count: int, first_deg: float, step_deg: float) -> Edges:
    tangent = np.array([math.tan(math.radians(first_deg - step_deg * k)) for k in range(count + 1)])
    tangent[-1] = -math.inf
    inner = tangent[1:-1][::-1]
    if not len(inner):
        return Edges(tangent, np.float32(0), np.float32(1), np.zeros(1, np.int32))
    # A kernel may find a tangent in the bin beside its own, by rounding: bins are taken a tenth wider on both sides.
    bins = 64
    span = inner[-1] - inner[0]
    margin = 0.1
    while bins <= _MOST_BINS:
        width = span / bins if span else 1.0
        first = inner[0] - width
        starts = first + width * np.arange(bins + 3)
        passed_low = np.searchsorted(inner, starts - margin * width)
        passed_high = np.searchsorted(inner, starts + (1 + margin) * width, side="right")
        if (passed_high - passed_low).max() <= 1:
            # `passed` counts edges below the bin; a cell is the number of edges that are not below its tangents.
            least = (len(inner) - passed_high).astype(np.int32)
            return Edges(tangent, np.float32(first), np.float32(1 / width), least)
        bins *= 2
    raise InputError(
        f"cells: found {count} of {step_deg:g} deg from {first_deg:g} deg on, expected fewer or larger ones"
    )
