"""Accuracy and accumulated negative flips over the steps, a panel for each budget, a curve for each rule."""

import numpy as np
from matplotlib.figure import Figure

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
from pseudolidar.viewing.canvas import Grid, drawing_style, plot_estimates
from pseudolidar.viewing.colours import MUTED, THEME

_COST_RATIOS = (THEME["third"][0], THEME["fifth"][0])
_DASHES = ("-", "--", ":", "-.")


def stream_figures(experiment: Experiment) -> dict[Selection, Figure]:
    """Every rule under each selection, 10 inches wide; bands are Student's intervals over seeds.

    Accuracies share one scale, negative flips have one for each panel. The full budget is drawn for "entropy" only.
    """
    return {selection: _figure(experiment, selection) for selection in selections_under(min(experiment.budgets))}


def _figure(experiment: Experiment, selection: Selection) -> Figure:
    budgets = [budget for budget in experiment.budgets if selection in selections_under(budget)]
    grid = Grid(columns=len(budgets), gap_in=0.42, left_in=0.62, right_in=0.14, above_in=0.28)
    lowest = 5.0 * np.floor(float(experiment.target_accuracy[:, 0].min()) / 5.0)
    steps = range(len(experiment.kinds))
    with drawing_style():
        figure, panels = grid.figure(2 * len(budgets), height_in=2.1, top_in=0.4, bottom_in=0.3)
        for budget, above, below in zip(budgets, panels, panels[len(budgets) :], strict=False):
            for rule in experiment.rules:
                scores = experiment.of(rule, selection, budget)
                flips = 100.0 * np.cumsum(scores.negative, axis=1) / experiment.items
                for axes, values in ((above, scores.accuracy), (below, flips)):
                    colour, style = _look(experiment, rule)
                    line = {"linestyle": style, "linewidth": 1.6, "marker": "o", "markersize": 2.8, "clip_on": False}
                    estimates = [student_interval(of_step) for of_step in values.T]
                    plot_estimates(axes, steps, estimates, colour, label=rule_name(rule), **line)
            above.set_title(f"budget {100 * budget:g} % a step")
            above.set_ylim(lowest, 100)
            above.tick_params(labelleft=above is panels[0], labelbottom=False)
            below.set_ylim(bottom=0)
        for axes in panels:
            axes.grid(axis="y")
            axes.set_xticks(steps, [kind.short_name for kind in experiment.kinds])
        panels[0].set_ylabel("accuracy (%)", labelpad=4)
        panels[len(budgets)].set_ylabel("accumulated negative flips\n(% of the items)", labelpad=4)
        handles, labels = above.get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper left", bbox_to_anchor=(0, 1), ncols=len(labels), borderaxespad=0,
                      columnspacing=1.4, handletextpad=0.5)  # fmt: skip
    return figure


def _look(experiment: Experiment, rule: Rule) -> tuple[str, str]:
    """A rule's colour and line style; baselines are not solid."""
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
