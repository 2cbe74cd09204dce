"""Precision-recall curves, errors by range, values against depth and changes, as small panels with one scale."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from pseudolidar.statistics import Estimate
from pseudolidar.viewing.canvas import Grid, drawing_style, plot_estimates
from pseudolidar.viewing.colours import INK, PAPER, THEME, source_colours, source_lines

_LINE: dict[str, Any] = {"linewidth": 1.7, "marker": "o", "markersize": 3.2, "clip_on": False}
_LONG_TITLE = 22
RECALL_POINTS = 41
"""KITTI samples precision at recall 0, 1/40, ..., 1."""


class PrecisionCurve(Protocol):
    """Precision over recall, as `pseudolidar.evaluation` computes it."""

    @property
    def precision(self) -> NDArray[np.float64]:
        """(41,) from 0 to 1 at recall 0, 1/40, ..., 1, as KITTI samples it."""

    @property
    def ap40(self) -> float:
        """Mean of the 40 precisions beyond recall 0, percent (Simonelli et al., ICCV 2019)."""


def precision_recall_figure(panels: Mapping[str, Mapping[str, PrecisionCurve]]) -> Figure:
    """Precision over recall, up to three panels in a row, AP40 in the legends, 10 inches wide.

    `panels`: title (e.g. "Car, bird's eye view, IoU 0.7") -> source of the points (y, u, u') -> curve. ValueError for a
    curve with another number of samples.
    """
    for title, curves in panels.items():
        for name, curve in curves.items():
            if (found := np.shape(curve.precision)) != (RECALL_POINTS,):
                raise ValueError(f"curve {name} of '{title}': found shape {found}, expected ({RECALL_POINTS},)")
    grid = _grid(min(max(len(panels), 2), 3))
    recall = np.linspace(0, 1, RECALL_POINTS)
    with drawing_style():
        figure, places = grid.figure(len(panels), min(grid.width_in * 0.95, 2.6))
        for axes, (title, curves) in zip(places, panels.items(), strict=True):
            looks = _looks(curves)
            for name, curve in curves.items():
                # KITTI's precision is 0 beyond the highest recall that was reached; the curve ends there instead.
                reached = np.logical_and.accumulate(curve.precision > 0)
                axes.plot(
                    recall[reached],
                    curve.precision[reached],
                    label=f"{name}  {curve.ap40:.1f}",
                    markevery=[-1] if reached.any() else None,
                    zorder=3,
                    **looks[name],
                )
            for axis, limit in ((axes.xaxis, axes.set_xlim), (axes.yaxis, axes.set_ylim)):
                limit(0, 1)
                axis.set_ticks([0, 0.25, 0.5, 0.75, 1])
                axis.set_major_formatter(PercentFormatter(1.0, symbol=""))
            _finish(axes, title, "recall (%)")
            # The lower left is where a good curve leaves room, the upper right where a poor one does.
            poor = max((float(np.mean(curve.precision)) for curve in curves.values()), default=0.0) < 0.45
            legend = axes.legend(
                title="AP40 (%)",
                loc="upper right" if poor else "lower left",
                alignment="left",
                borderaxespad=0.3,
                frameon=True,
                facecolor=PAPER,
                edgecolor="none",
                framealpha=0.85,
            )
            legend.get_title().set_fontsize(7.5)
        grid.name_rows(places, "precision (%)")
    return figure


def range_figure(panels: Mapping[str, Mapping[str, Sequence[float]]], ranges: Sequence[str], quantity: str) -> Figure:
    """Errors by range of depth as grouped bars with their values, one panel for each study, one scale, 10 inches wide.

    Args:
        panels: title (e.g. "this study") -> model (u, u') -> a value for each range, otherwise ValueError; NaN: a gap.
        ranges: names of the ranges, e.g. ("0–max", "0–20", "20–40", "40–max").
        quantity: name of the values, with the unit, e.g. "disparity MAE (px)".
    """
    for title, models in panels.items():
        for name, values in models.items():
            if len(values) != len(ranges):
                raise ValueError(f"{name} of '{title}': found {len(values)} values, expected {len(ranges)}")
    every = [value for models in panels.values() for values in models.values() for value in values]
    top_value = 1.15 * max([value for value in every if np.isfinite(value)], default=1.0)
    grid = _grid(max(len(panels), 1))
    with drawing_style():
        figure, places = grid.figure(len(panels), 2.3)
        for axes, (title, models) in zip(places, panels.items(), strict=True):
            colours = source_colours(models)
            bar_width = 0.8 / max(len(models), 1)
            for i, (name, values) in enumerate(models.items()):
                middles = np.arange(len(ranges)) + (i - (len(models) - 1) / 2) * bar_width
                bars = axes.bar(middles, values, 0.9 * bar_width, color=colours[name], label=name)
                texts = [f"{value:.2f}" if np.isfinite(value) else "" for value in values]
                axes.bar_label(bars, texts, padding=1.5, fontsize=7, color=INK)
            axes.set_xticks(np.arange(len(ranges)), list(ranges))
            axes.set_ylim(0, top_value)
            axes.spines["left"].set_visible(False)
            axes.tick_params(length=0)
            _finish(axes, title, "depth (m)", grid="y")
            _legend_above(axes, len(models))
        grid.name_rows(places, quantity)
    return figure


@dataclass(frozen=True, eq=False)
class DepthCurve:
    """A value in B bins of depth, with rising edges (B + 1,).

    `estimates` are B values with their intervals; NaN where a bin has no value, or no interval.
    """

    edges_m: NDArray[np.float64]
    estimates: Sequence[Estimate]

    def __post_init__(self) -> None:
        if len(self.estimates) != len(self.edges_m) - 1:
            found, bins = len(self.estimates), len(self.edges_m) - 1
            raise ValueError(f"estimates: found {found}, expected {bins}, one a bin")


def depth_curve_figure(
    panels: Mapping[str, Mapping[str, DepthCurve]], quantity: str, top: float | None = None
) -> Figure:
    """Values against depth with their bands, two or three panels in a row, one scale of values, 10 inches wide.

    Args:
        panels: title (e.g. "Car, PointRCNN") -> source (u, u', the oracle y) -> curve. Values are drawn at the middle
            of their bins and joined by lines; a bin without a value leaves a gap.
        quantity: name of the values, with the unit, e.g. "disparity MAE (px)".
        top: upper end of the scale, e.g. 1 for a recall; None: from the values and bands.
    """
    estimates = [each for curves in panels.values() for curve in curves.values() for each in curve.estimates]
    ends = np.array([end for each in estimates for end in (each.value, each.interval.high)])
    if top is None:
        top = 1.06 * float(np.max(ends[np.isfinite(ends)], initial=0.0)) or 1.0
    # Beside a long title the legend of a narrow panel has no room.
    grid = _grid(2 if max(map(len, panels), default=0) > _LONG_TITLE else min(max(len(panels), 2), 3))
    with drawing_style():
        figure, places = grid.figure(len(panels), 2.3)
        for axes, (title, curves) in zip(places, panels.items(), strict=True):
            looks = _looks(curves)
            for name, curve in curves.items():
                middle = (curve.edges_m[:-1] + curve.edges_m[1:]) / 2
                look = dict(looks[name])
                plot_estimates(axes, middle, curve.estimates, look.pop("color"), label=name, **look)
            axes.set_xlim(0, max((float(curve.edges_m[-1]) for curve in curves.values()), default=1.0))
            axes.set_ylim(0, top)
            axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
            _finish(axes, title, "depth (m)")
            _legend_above(axes, len(curves))
        grid.name_rows(places, quantity)
    return figure


def changes_figure(panels: Mapping[str, Mapping[str, Estimate]], quantity: str) -> Figure:
    """Values with their intervals, one under the other, up to three panels in a row with one scale, 10 inches wide.

    Args:
        panels: title (e.g. "Car, PointRCNN") -> what was changed -> value; its interval may be NaN, for none.
        quantity: name of the values, with the unit. A line marks 0.
    """
    rows = max(map(len, panels.values()), default=1)
    names = list(dict.fromkeys(name for values in panels.values() for name in values))
    grid = Grid(min(max(len(panels), 2), 3), gap_in=0.22, left_in=0.85, right_in=0.14, below_in=0.42)
    ends = np.array([[e.value, e.interval.low, e.interval.high] for values in panels.values() for e in values.values()])
    known = np.append(ends[np.isfinite(ends)], 0.0)
    margin = 0.05 * (known.max() - known.min()) or 1.0
    with drawing_style():
        figure, places = grid.figure(len(panels), 0.3 + 0.24 * rows)
        for axes, (title, values) in zip(places, panels.items(), strict=True):
            axes.axvline(0, color=INK, linewidth=0.8)
            for name, estimate in values.items():
                height = names.index(name)
                low, high = estimate.interval.low, estimate.interval.high
                axes.plot([low, high], [height, height], color=THEME["u-prime"][0], linewidth=2.2, alpha=0.45)
                axes.plot(estimate.value, height, "o", color=THEME["u-prime"][0], markersize=4.5, zorder=3)
            axes.set_xlim(known.min() - margin, known.max() + margin)
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.set_yticks(range(len(names)), names)
            axes.tick_params(axis="y", length=0)
            axes.set_title(title)
            axes.grid(axis="x")
            axes.set_xlabel(quantity, labelpad=2)
        for place, axes in enumerate(places):
            axes.tick_params(labelleft=not place % grid.columns)
    return figure


def _grid(columns: int) -> Grid:
    return Grid(columns, gap_in=0.22, left_in=0.52, right_in=0.14, below_in=0.42)


def _looks(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    return {name: {**line, **_LINE} for name, line in source_lines(names).items()}


def _finish(axes: Axes, title: str, quantity: str, grid: Literal["both", "y"] = "both") -> None:
    axes.set_title(title)
    axes.grid(axis=grid)
    axes.set_xlabel(quantity, labelpad=2)


def _legend_above(axes: Axes, count: int) -> None:
    axes.legend(loc="lower right", ncols=count, bbox_to_anchor=(1.0, 1.0), borderaxespad=0.25)
