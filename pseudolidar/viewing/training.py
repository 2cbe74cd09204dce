"""The curves of trainings: loss and its terms, test losses, learning rate, speed and memory by step."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d

from pseudolidar.viewing.canvas import PAGE_WIDTH_IN, Grid, axes_at, drawing_style
from pseudolidar.viewing.colours import MUTED, PAPER, source_lines

# How the columns that every training has are called, in the order of their panels; all others are terms of the loss.
_TITLES = {
    "loss": "loss",
    "learning_rate": "learning rate",
    "gradient_norm": "norm of the gradient",
    "items_per_s": "items a second",
    "waiting": "waiting for data (%)",
    "memory_mib": "memory (GiB)",
}
_UNITS = {"waiting": 100.0, "memory_mib": 2.0**-10}
# These are not noisy, and their corners mean something.
_NEVER_SMOOTHED = ("learning_rate", "memory_mib")
_FROM_ZERO = ("learning_rate", "items_per_s", "waiting", "memory_mib")
_STAR: dict[str, Any] = {"marker": "*", "markersize": 11, "markeredgecolor": PAPER, "markeredgewidth": 0.8}

# Points that a curve is thinned to, and the width of the smoothing, as a part of the curve.
_POINTS = 600
_SMOOTHING = 0.012
# Few enough to be seen one by one.
_MARKED = 20
# A curve that falls by more is drawn on a logarithmic scale.
_LARGE_RATIO = 5.0

_LEFT_IN, _RIGHT_IN, _GAP_IN, _BELOW_IN = 0.45, 0.1, 0.5, 0.42
_LOSS_IN, _PANEL_IN, _ROW_IN = 2.2, 1.3, 0.21
# Width of a letter of a title, and in the table.
_CHARACTER_IN, _DIGIT_IN = 0.077, 0.072
_TICKS = [1, 2, 2.5, 5, 10]


@dataclass(frozen=True)
class TrainingCurves:
    """The numbers of a training, columns of one length by name, the first of which is `step`; NaN: there is none.

    Attributes:
        steps: those of each step: `loss`, its terms, `learning_rate`, ...; at least one row.
        validations: test losses, the one first that decides what is best; empty: there were none.
    """

    steps: Mapping[str, Sequence[float]]
    validations: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def decisive(self) -> str | None:
        """Name of the test loss that decides what is best."""
        return next((name for name in self.validations if name != "step"), None)

    @property
    def best(self) -> int | None:
        """Place of the best validation, the first of those as good; None: none has a finite test loss."""
        losses = np.array(self.validations[self.decisive] if self.decisive else [])
        return int(np.nanargmin(losses)) if np.isfinite(losses).any() else None


def training_figure(runs: Mapping[str, TrainingCurves]) -> Figure:
    """Every number of one training, or of several side by side, by step: a panel each, 10 inches wide.

    Lines are smoothed, over faint raw values; what falls far has a logarithmic scale. A star is the best test loss, a
    dotted line its step. A table on top has the colours and the last, typical and best values. Drawing takes no longer
    for many steps than for a few hundred.

    Args:
        runs: by name, at least one; ValueError otherwise.
    """
    if not runs:
        raise ValueError("runs: found none, expected one or more")
    looks = source_lines(runs)
    decisive = next((run.decisive for run in runs.values() if run.decisive), None)
    columns = dict.fromkeys(name for run in runs.values() for name in run.steps if name not in ("step", "loss"))
    terms = [name for name in columns if name not in _TITLES]
    tests = dict.fromkeys(name for run in runs.values() for name in run.validations if name not in ("step", decisive))
    panels = [(name, False) for name in terms]
    panels += [(name, True) for name in tests]
    panels += [(name, False) for name in _TITLES if name in columns]
    table_in = _ROW_IN * (1 + len(runs)) + 0.05
    large = Grid(1 if decisive is None else 2, _GAP_IN, _LEFT_IN, _RIGHT_IN, below_in=_BELOW_IN)
    # The number of columns that leaves fewer places empty, if titles are short enough.
    longest_in = _CHARACTER_IN * max((len(_title(*panel)) for panel in panels), default=0)
    small = dataclasses.replace(large, columns=min((4, 5), key=lambda columns: -len(panels) % columns))
    if longest_in > small.width_in + _GAP_IN:
        small = dataclasses.replace(large, columns=4)
    top_in = table_in + large.above_in + _LOSS_IN + large.below_in
    with drawing_style():
        figure, places = small.figure(len(panels), _PANEL_IN, top_in=top_in)
        _draw_table(axes_at(figure, 0.0, 0.0, PAGE_WIDTH_IN, table_in), runs, looks)
        for i, (name, is_test) in enumerate([("loss", False), *([(decisive, True)] if decisive else [])]):
            left_in = _LEFT_IN + i * (large.width_in + _GAP_IN)
            axes = axes_at(figure, left_in, table_in + large.above_in, large.width_in, _LOSS_IN)
            _draw_panel(axes, runs, looks, name, is_test)
        for axes, (name, is_test) in zip(places, panels, strict=True):
            _draw_panel(axes, runs, looks, name, is_test)
    return figure


def _title(name: str, is_test: bool) -> str:
    spoken = name.replace("_", " ")
    return f"test: {spoken}" if is_test else _TITLES.get(name, spoken)


def _draw_panel(
    axes: Axes, runs: Mapping[str, TrainingCurves], looks: Mapping[str, dict[str, Any]], name: str, is_test: bool
) -> None:
    """One number of all runs that have it, test losses as they are, others smoothed."""
    lines, faint = [], []
    for run_name, run in runs.items():
        columns, look = run.validations if is_test else run.steps, looks[run_name]
        if name not in columns:
            continue
        step, low, mean, high = _thinned(columns["step"], np.asarray(columns[name]) * _UNITS.get(name, 1.0))
        smooth = mean if is_test or name in _NEVER_SMOOTHED else _smoothed(mean)
        lines.append(smooth)
        if smooth is not mean:
            faint.append(np.stack([low, high], axis=1).ravel())
            alpha = 0.3 if len(runs) == 1 else 0.15
            axes.plot(np.repeat(step, 2), faint[-1], color=look["color"], alpha=alpha, linewidth=0.6)
        marker = "o" if len(step) <= _MARKED else ""
        axes.plot(step, smooth, **look, linewidth=1.5, marker=marker, markersize=3.0, zorder=3)
        if run.best is not None:
            best_step = run.validations["step"][run.best]
            axes.axvline(best_step, color=look["color"], linewidth=0.8, linestyle=":", zorder=1)
            if is_test:
                axes.plot(best_step, columns[name][run.best], color=look["color"], zorder=4, clip_on=False, **_STAR)
    title = _title(name, is_test)
    # A long title is written smaller, and reaches into the gap.
    room_in = axes.get_position().width * PAGE_WIDTH_IN + 0.8 * _GAP_IN
    axes.set_title(title, fontsize=9.0 * min(1.0, room_in / (_CHARACTER_IN * len(title))))
    axes.grid(axis="y")
    axes.set_xlabel("step", labelpad=2)
    axes.set_xlim(0, 1.02 * max(run.steps["step"][-1] for run in runs.values()))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=_TICKS, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    _set_scale(axes, np.concatenate(lines), np.concatenate([*faint, *lines]), name in _FROM_ZERO)


def _thinned(step: ArrayLike, value: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Middle step, least, mean and greatest value of at most `_POINTS` groups of neighbours, without gaps."""
    known = np.isfinite(value)
    step, value = np.asarray(step)[known], value[known]
    starts = np.unique(np.linspace(0, len(value), min(_POINTS, len(value)), endpoint=False).astype(np.int64))
    if not len(starts):
        return (value,) * 4
    counts = np.diff(starts, append=len(value))
    means = (np.add.reduceat(each, starts) / counts for each in (step, value))
    middle, mean = means
    return middle, np.minimum.reduceat(value, starts), mean, np.maximum.reduceat(value, starts)


def _smoothed(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means under a Gaussian, of what there is of it at the ends."""
    width = _SMOOTHING * len(value)
    if width < 0.5:
        return value.copy()
    weights = gaussian_filter1d(np.ones_like(value), width, mode="constant")
    return gaussian_filter1d(value, width, mode="constant") / weights


def _set_scale(axes: Axes, lines: NDArray[np.float64], drawn: NDArray[np.float64], from_zero: bool) -> None:
    """Limits that a few outliers of the raw values don't decide, and whole numbers at the ticks."""
    if not len(lines):
        axes.text(0.5, 0.5, "no value", transform=axes.transAxes, ha="center", va="center", color=MUTED)
        axes.yaxis.set_major_locator(NullLocator())
        return
    low = min(float(lines.min()), float(np.quantile(drawn, 0.01)))
    high = max(float(lines.max()), float(np.quantile(drawn, 0.99)))
    if not from_zero and lines.min() > 0 and lines.max() > _LARGE_RATIO * lines.min():
        low = max(low, float(lines.min()) / 3)
        axes.set_yscale("log")
        axes.set_ylim(low / 1.15, high * 1.15)
        decades = np.log10(high / low)
        subs = (1.0, 2.0, 5.0) if decades < 2 else (1.0, 3.0) if decades < 3 else (1.0,)
        axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=8))
        axes.yaxis.set_major_formatter(FuncFormatter(_tick))
        axes.yaxis.set_minor_locator(NullLocator())
        return
    if from_zero:
        low = 0.0
    margin = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    axes.set_ylim(low if from_zero else low - margin, high + margin)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=_TICKS))
    axes.yaxis.set_major_formatter(FuncFormatter(_tick))


def _tick(value: float, _: int) -> str:
    """Small numbers as 2.5e-4: in zeros they would reach into the next panel."""
    if value == 0 or abs(value) >= 0.01:
        return f"{value:.6g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def _draw_table(axes: Axes, runs: Mapping[str, TrainingCurves], looks: Mapping[str, dict[str, Any]]) -> None:
    """A row for each run, with its colour: how far it is, its last loss, its best test loss, speed and memory."""
    axes.set_axis_off()
    width_in, height_in = PAGE_WIDTH_IN, _ROW_IN * (1 + len(runs)) + 0.05
    axes.set_xlim(0, width_in)
    axes.set_ylim(height_in, 0)
    rows = {name: _summary(run) for name, run in runs.items()}
    titles = list(dict.fromkeys(title for row in rows.values() for title in row))
    # Columns stand at the right, as wide as their longest text.
    characters = [max(len(title), *(len(row.get(title, "")) for row in rows.values())) for title in titles]
    left, right = _LEFT_IN, width_in - _RIGHT_IN
    edges = [right - _DIGIT_IN * (sum(characters[i + 1 :]) + 2.5 * (len(titles) - 1 - i)) for i in range(len(titles))]
    longest = max(8, int((edges[0] - _DIGIT_IN * characters[0] - left - 0.5) / 0.085))
    for title, x in zip(titles, edges, strict=True):
        axes.text(x, 0.5 * _ROW_IN, title, ha="right", va="center", color=MUTED, fontsize=7.5)
    for i, (name, row) in enumerate(rows.items(), start=1):
        y = (i + 0.5) * _ROW_IN
        axes.add_line(Line2D([left, left + 0.25], [y, y], linewidth=2.4, **looks[name]))
        shown = name if len(name) <= longest else f"…{name[1 - longest :]}"
        axes.text(left + 0.33, y, shown, va="center", fontweight="bold")
        for title, x in zip(titles, edges, strict=True):
            axes.text(x, y, row.get(title, "–"), ha="right", va="center")


def _summary(run: TrainingCurves) -> dict[str, str]:
    """The row of a run in the table."""

    def known(name: str) -> NDArray[np.float64]:
        values = np.asarray(run.steps.get(name, ()), np.float64)
        return values[np.isfinite(values)]

    row = {"steps": f"{run.steps['step'][-1]:,.0f}"}
    if len(loss := known("loss")):
        row["last loss"] = f"{_smoothed(_thinned(loss, loss)[2])[-1]:.4g}"
    if run.decisive is not None:
        losses = run.validations[run.decisive]
        name = _title(run.decisive, is_test=False)
        row[f"last {name}"] = f"{losses[-1]:.4g}"
        if run.best is not None:
            row[f"best {name}"] = f"{losses[run.best]:.4g} at {run.validations['step'][run.best]:,.0f}"
    if len(rate := known("items_per_s")):
        row["items a second"] = f"{np.median(rate):.3g}"
    if len(waiting := known("waiting")):
        row["waiting"] = f"{waiting.mean():.0%}"
    if len(memory := known("memory_mib")):
        row["memory"] = f"{memory.max() / 2**10:.3g} GiB"
    return row
