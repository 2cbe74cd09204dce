"""Accuracy and accumulated negative flips over the steps, a panel a budget, a curve a rule."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pseudolidar.statistics import student_interval
from pseudolidar.updates import (
    CostRatio,
    MajorityVote,
    MaxBelief,
    MaxBeliefMinEntropy,
    Never,
    Replace,
    Rule,
    Selection,
    rule_name,
)
from pseudolidar.updates.digits_stream.experiment import Experiment, selections_under
from pseudolidar.viewing.canvas import PAGE_WIDTH_IN, axes_at, drawing_style, new_figure
from pseudolidar.viewing.colours import MUTED, THEME

_LEFT_IN = 0.62
_GAP_IN = 0.42
_RIGHT_IN = 0.14
_KEY_IN = 0.4
_TITLE_IN = 0.28
_HEIGHT_IN = 2.1
_BOTTOM_IN = 0.3
_COST_RATIOS = (THEME["third"][0], THEME["fifth"][0])
_DASHES = ("-", "--", ":", "-.")


def stream_figure(experiment: Experiment, selection: Selection) -> Figure:
    """Every rule under one selection, 10 inches wide; bands are Student's intervals over seeds.

    All accuracies share a scale, negative flips have one of their own in each panel. At the full budget selection
    selects nothing: that panel is drawn for "entropy" only.
    """
    budgets = [budget for budget in experiment.budgets if selection in selections_under(budget)]
    width = (PAGE_WIDTH_IN - _LEFT_IN - _RIGHT_IN + _GAP_IN) / max(1, len(budgets)) - _GAP_IN
    row_in = _TITLE_IN + _HEIGHT_IN
    lowest = 5.0 * np.floor(float(experiment.target_accuracy[:, 0].min()) / 5.0)
    with drawing_style():
        figure = new_figure(PAGE_WIDTH_IN, _KEY_IN + 2 * row_in + _BOTTOM_IN)
        for column, budget in enumerate(budgets):
            left = _LEFT_IN + column * (width + _GAP_IN)
            above, below = (axes_at(figure, left, _KEY_IN + _TITLE_IN + top, width, _HEIGHT_IN) for top in (0, row_in))
            for rule in experiment.rules:
                scores, look = experiment.of(rule, selection, budget), _look(experiment, rule)
                _curve(above, scores.accuracy, rule_name(rule), *look)
                _curve(below, 100.0 * np.cumsum(scores.negative, axis=1) / experiment.items, rule_name(rule), *look)
            for axes in (above, below):
                axes.grid(axis="y")
                axes.set_xticks(range(len(experiment.kinds)), [kind.short_name for kind in experiment.kinds])
            above.set_title(f"budget {100 * budget:g} % a step")
            above.set_ylim(lowest, 100)
            above.tick_params(labelleft=not column, labelbottom=False)
            below.set_ylim(bottom=0)
            if not column:
                above.set_ylabel("accuracy (%)", labelpad=4)
                below.set_ylabel("accumulated negative flips\n(% of the items)", labelpad=4)
                figure.legend(
                    *above.get_legend_handles_labels(),
                    loc="upper left",
                    bbox_to_anchor=(0, 1),
                    ncols=len(experiment.rules),
                    borderaxespad=0,
                    columnspacing=1.4,
                    handletextpad=0.5,
                )
    return figure


def _curve(axes: Axes, values: NDArray[np.float64], name: str, colour: str, style: str) -> None:
    """The mean of values (S, T) over seeds, and its interval as a band."""
    estimates = [student_interval(of_step) for of_step in values.T]
    steps, means = range(len(estimates)), [each.value for each in estimates]
    low, high = ([getattr(each.interval, end) for each in estimates] for end in ("low", "high"))
    axes.fill_between(steps, low, high, color=colour, alpha=0.16, linewidth=0)
    look: dict[str, Any] = {"color": colour, "linewidth": 1.6, "marker": "o", "markersize": 2.8, "zorder": 3}
    axes.plot(steps, means, style, label=name, clip_on=False, **look)


def _look(experiment: Experiment, rule: Rule) -> tuple[str, str]:
    """A rule's colour and line; the baselines' lines are broken."""
    if isinstance(rule, CostRatio):
        place = [each for each in experiment.rules if isinstance(each, CostRatio)].index(rule)
        return _COST_RATIOS[place % 2], _DASHES[place // 2 % len(_DASHES)]
    return {
        MaxBelief: (THEME["u-prime"][0], "-"),
        MaxBeliefMinEntropy: (THEME["fourth"][0], "-"),
        Replace: (THEME["u"][0], "--"),
        MajorityVote: (THEME["y"][0], "--"),
        Never: (MUTED, ":"),
    }[type(rule)]
