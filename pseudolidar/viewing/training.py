"""The curves of trainings: loss and its terms, test losses, learning rate, speed and memory by step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from pseudolidar.viewing.canvas import Grid, drawing_style
from pseudolidar.viewing.colours import source_colours


@dataclass(frozen=True)
class TrainingCurves:
    """The numbers of a training, columns by name, the first of which is `step`.

    Attributes:
        steps: those of each step, `loss` among them.
        validations: test losses, the one first that decides what is best; empty: there were none.
    """

    steps: Mapping[str, Sequence[float]]
    validations: Mapping[str, Sequence[float]] = field(default_factory=dict)


def training_figure(runs: Mapping[str, TrainingCurves]) -> Figure:
    """Every number of one training or several by step, a panel each, 10 inches wide; `runs` are by name."""
    names = dict.fromkeys(name for run in runs.values() for name in (*run.steps, *run.validations) if name != "step")
    grid = Grid(4, gap_in=0.45, left_in=0.45, below_in=0.4)
    with drawing_style():
        figure, panels = grid.figure(len(names), 1.4)
        for axes, name in zip(panels, names, strict=True):
            for run, colour in zip(runs.values(), source_colours(runs).values(), strict=True):
                for columns in (run.steps, run.validations):
                    if name in columns:
                        axes.plot(columns["step"], columns[name], color=colour)
            axes.set_title(name.replace("_", " "))
            axes.set_xlabel("step", labelpad=2)
    return figure
