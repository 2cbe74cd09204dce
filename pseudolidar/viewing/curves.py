"""Precision-recall curves, errors by range and values against depth, as small panels with one scale."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from pseudolidar.viewing.canvas import PAGE_WIDTH_IN, axes_at, drawing_style, new_figure
from pseudolidar.viewing.colours import INK, PAPER, source_colours

_LEFT_IN = 0.52
_GAP_IN = 0.22
_TITLE_IN = 0.3
_BOTTOM_IN = 0.42
_RIGHT_IN = 0.14
_LONG_TITLE = 22
RECALL_POINTS = 41
"""KITTI samples precision at recall 0, 1/40, ..., 1."""


def average_precision_40(precision: NDArray[np.floating]) -> float:
    """AP40 in per cent: the mean of the precisions (41,) at recall 1/40 to 1."""
    return float(100 * np.mean(np.asarray(precision, dtype=np.float64)[1:]))


def precision_recall_figure(panels: Mapping[str, Mapping[str, NDArray[np.floating]]]) -> Figure:
    """Precision over recall, up to four panels a row, AP40 in the legends.

    Args:
        panels: title (e.g. "Car, bird's eye view, IoU 0.7") -> curve (source of the points: y, u, u') -> precision
            (41,) from 0 to 1 at recall 0, 1/40, ..., 1, as KITTI samples it.

    Returns:
        A figure 10 inches wide.

    Raises:
        ValueError: a curve has another shape.
    """
    for title, curves in panels.items():
        for name, precision in curves.items():
            if np.shape(precision) != (RECALL_POINTS,):
                found = np.shape(precision)
                raise ValueError(f"curve {name} of '{title}': found shape {found}, expected ({RECALL_POINTS},)")
    columns = min(max(len(panels), 2), 4)
    rows = -(-len(panels) // columns)
    width = (PAGE_WIDTH_IN - _LEFT_IN - _RIGHT_IN - (columns - 1) * _GAP_IN) / columns
    height = min(width * 0.95, 2.6)
    recall = np.linspace(0, 1, RECALL_POINTS)
    with drawing_style():
        figure = new_figure(PAGE_WIDTH_IN, rows * (_TITLE_IN + height + _BOTTOM_IN))
        for i, (title, curves) in enumerate(panels.items()):
            row, column = divmod(i, columns)
            top = row * (_TITLE_IN + height + _BOTTOM_IN) + _TITLE_IN
            axes = axes_at(figure, _LEFT_IN + column * (width + _GAP_IN), top, width, height)
            colours = source_colours(curves)
            drawn: set[str] = set()
            for name, precision in curves.items():
                label = f"{name}  {average_precision_40(precision):.1f}"
                # KITTI's precision is 0 beyond the highest recall that was reached; the curve ends there instead.
                reached = np.logical_and.accumulate(np.asarray(precision) > 0)
                axes.plot(
                    recall[reached],
                    precision[reached],
                    color=colours[name],
                    linewidth=1.7,
                    # There are fewer colours than a user may have curves.
                    linestyle="--" if colours[name] in drawn else "-",
                    label=label,
                    clip_on=False,
                    marker="o",
                    markersize=3.2,
                    markevery=[-1] if reached.any() else None,
                    zorder=3,
                )
                drawn.add(colours[name])
            axes.set_title(title)
            axes.set_xlim(0, 1)
            axes.set_ylim(0, 1)
            axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
            axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
            axes.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
            axes.grid()
            axes.set_xlabel("recall (%)", labelpad=2)
            if column == 0:
                axes.set_ylabel("precision (%)", labelpad=2)
            else:
                axes.tick_params(labelleft=False)
            # The lower left is where a good curve leaves room, the upper right where a poor one does.
            poor = max((float(np.mean(precision)) for precision in curves.values()), default=0.0) < 0.45
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
    return figure


def range_figure(panels: Mapping[str, Mapping[str, Sequence[float]]], ranges: Sequence[str], quantity: str) -> Figure:
    """Errors by range of depth as grouped bars with their values, one panel a study, one scale for all.

    Args:
        panels: title (e.g. "this study", "the paper, KITTI") -> model (u, u') -> one value a range; NaN leaves a gap.
        ranges: names of the ranges, e.g. ("0–max", "0–20", "20–40", "40–max").
        quantity: what the values are, with the unit, e.g. "disparity MAE (px)".

    Returns:
        A figure 10 inches wide.

    Raises:
        ValueError: a model has another number of values than there are ranges.
    """
    for title, models in panels.items():
        for name, values in models.items():
            if len(values) != len(ranges):
                raise ValueError(f"{name} of '{title}': found {len(values)} values, expected {len(ranges)}")
    every = [value for models in panels.values() for values in models.values() for value in values]
    top_value = 1.15 * max([value for value in every if np.isfinite(value)], default=1.0)
    width = (PAGE_WIDTH_IN - _LEFT_IN - _RIGHT_IN - (len(panels) - 1) * _GAP_IN) / max(len(panels), 1)
    height = 2.3
    with drawing_style():
        figure = new_figure(PAGE_WIDTH_IN, _TITLE_IN + height + _BOTTOM_IN)
        for column, (title, models) in enumerate(panels.items()):
            axes = axes_at(figure, _LEFT_IN + column * (width + _GAP_IN), _TITLE_IN, width, height)
            colours = source_colours(models)
            bar_width = 0.8 / max(len(models), 1)
            for i, (name, values) in enumerate(models.items()):
                places = np.arange(len(ranges)) + (i - (len(models) - 1) / 2) * bar_width
                shown = np.nan_to_num(np.asarray(values, dtype=np.float64))
                axes.bar(places, shown, 0.9 * bar_width, color=colours[name], label=name)
                for place, value in zip(places, values, strict=True):
                    if np.isfinite(value):
                        axes.annotate(
                            f"{value:.2f}",
                            (place, value),
                            xytext=(0, 1.5),
                            textcoords="offset points",
                            ha="center",
                            va="bottom",
                            fontsize=7,
                            color=INK,
                        )
            axes.set_title(title)
            axes.set_xticks(np.arange(len(ranges)), list(ranges))
            axes.set_ylim(0, top_value)
            axes.grid(axis="y")
            axes.tick_params(axis="x", length=0)
            axes.spines["left"].set_visible(False)
            axes.tick_params(axis="y", length=0)
            axes.set_xlabel("depth (m)", labelpad=2)
            if column == 0:
                axes.set_ylabel(quantity, labelpad=4)
            else:
                axes.tick_params(labelleft=False)
            axes.legend(loc="lower right", ncols=len(models), bbox_to_anchor=(1.0, 1.0), borderaxespad=0.25)
    return figure


@dataclass(frozen=True, eq=False)
class DepthCurve:
    """A value in B bins of depth, with its band.

    Attributes:
        edges_m: float64 (B + 1,), rising.
        value, low, high: float64 (B,); NaN where a bin has no value, or no band.
    """

    edges_m: NDArray[np.float64]
    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def __post_init__(self) -> None:
        bins = len(self.edges_m) - 1
        for name in ("value", "low", "high"):
            found = np.shape(getattr(self, name))
            if found != (bins,):
                raise ValueError(f"{name}: found shape {found}, expected ({bins},), one a bin")


def depth_curve_figure(
    panels: Mapping[str, Mapping[str, DepthCurve]], quantity: str, top: float | None = None
) -> Figure:
    """Values against depth with their bands, two or three panels a row, one scale of values for all.

    Args:
        panels: title (e.g. "Car, PointRCNN") -> source (u, u', the oracle y) -> curve. Each bin's value stands at its
            middle, a line joins neighbours; a bin without a value leaves a gap.
        quantity: what the values are, with the unit, e.g. "disparity MAE (px)".
        top: of the scale, e.g. 1 for a share; None: as the values and bands need it.

    Returns:
        A figure 10 inches wide.
    """
    curves = [curve for of_panel in panels.values() for curve in of_panel.values()]
    ends = np.concatenate([np.zeros(0), *(np.concatenate([curve.value, curve.high]) for curve in curves)])
    if top is None:
        top = 1.06 * float(np.max(ends[np.isfinite(ends)], initial=0.0)) or 1.0
    # Beside a long title the legend of a narrow panel has no room.
    columns = 2 if max(map(len, panels), default=0) > _LONG_TITLE else min(max(len(panels), 2), 3)
    rows = max(1, -(-len(panels) // columns))
    width = (PAGE_WIDTH_IN - _LEFT_IN - _RIGHT_IN - (columns - 1) * _GAP_IN) / columns
    height = 2.3
    with drawing_style():
        figure = new_figure(PAGE_WIDTH_IN, rows * (_TITLE_IN + height + _BOTTOM_IN))
        for i, (title, of_panel) in enumerate(panels.items()):
            row, column = divmod(i, columns)
            place = (_LEFT_IN + column * (width + _GAP_IN), row * (_TITLE_IN + height + _BOTTOM_IN) + _TITLE_IN)
            axes = axes_at(figure, *place, width, height)
            colours = source_colours(of_panel)
            drawn: set[str] = set()
            for name, curve in of_panel.items():
                middle = (curve.edges_m[:-1] + curve.edges_m[1:]) / 2
                axes.fill_between(middle, curve.low, curve.high, color=colours[name], alpha=0.16, linewidth=0)
                axes.plot(
                    middle,
                    curve.value,
                    color=colours[name],
                    linewidth=1.7,
                    # There are fewer colours than a user may have curves.
                    linestyle="--" if colours[name] in drawn else "-",
                    marker="o",
                    markersize=3.2,
                    label=name,
                    clip_on=False,
                    zorder=3,
                )
                drawn.add(colours[name])
            axes.set_title(title)
            axes.set_xlim(0, max((float(curve.edges_m[-1]) for curve in of_panel.values()), default=1.0))
            axes.set_ylim(0, top)
            axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
            axes.grid()
            axes.set_xlabel("depth (m)", labelpad=2)
            if column == 0:
                axes.set_ylabel(quantity, labelpad=4)
            else:
                axes.tick_params(labelleft=False)
            axes.legend(loc="lower right", ncols=len(of_panel), bbox_to_anchor=(1.0, 1.0), borderaxespad=0.25)
    return figure
