"""Figures of an experiment: diversity over training, losses and gaps against beta, the cost of dropping members."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pseudolidar.ensembles.joint_training.comparison import QUANTITIES, change, mean, percent
from pseudolidar.ensembles.joint_training.experiments import Experiment
from pseudolidar.statistics import Estimate, student_interval
from pseudolidar.viewing.canvas import Grid, drawing_style, plot_estimates
from pseudolidar.viewing.colours import MUTED, THEME

_HEIGHT_IN = 2.2
_BETAS = LinearSegmentedColormap.from_list("betas", [THEME[name][0] for name in ("u-prime", "third", "u")])
_SPLITS = {"train": ("training data", THEME["u-prime"][0]), "test": ("test data", THEME["u"][0])}
_GAPS = {"diversity_gap": ("diversity gap", THEME["third"][0]), "loss_gap": ("loss gap", THEME["fourth"][0])}


def draw_experiment(experiment: Experiment) -> dict[str, Figure]:
    """Three figures, 10 inches wide: "diversity", "losses", "codependence". Bands are intervals over seeds."""
    with drawing_style():
        return {
            "diversity": _over_training(experiment),
            "losses": _against_beta(experiment),
            "codependence": _codependence(experiment),
        }


def _over_training(experiment: Experiment) -> Figure:
    """Diversity on training and on test data, one scale, a line for each beta."""
    grid = _grid(2, gap_in=0.3, right_in=0.85)
    figure, panels = grid.figure(2, _HEIGHT_IN)
    for axes, (split, (name, _)) in zip(panels, _SPLITS.items(), strict=True):
        for beta in experiment.betas:
            trainings = experiment.of(beta)
            by_step = zip(*(training.snapshots for training in trainings), strict=True)
            values = [
                student_interval([getattr(snapshot, split).decomposition.diversity for snapshot in snapshots])
                for snapshots in by_step
            ]
            _line(axes, [snapshot.step for snapshot in trainings[0].snapshots], values, _colour(beta), f"{beta:g}")
        axes.set_title(f"diversity on {name}")
        axes.set_xlabel(experiment.design.step, labelpad=2)
    top = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(0, top)
        axes.grid()
    grid.name_rows(panels, experiment.design.measure)
    _key(panels[1])
    return figure


def _against_beta(experiment: Experiment) -> Figure:
    """Losses and diversity at the end on both splits, and the change of the gaps by beta."""
    figure, panels = _grid(4, gap_in=0.58).figure(4, _HEIGHT_IN)
    for axes, part in zip(panels[:3], ("individual", "diversity", "ensemble"), strict=True):
        for split, (name, colour) in _SPLITS.items():
            values = [mean(experiment, beta, QUANTITIES[f"{split}_{part}"]) for beta in experiment.betas]
            _line(axes, experiment.betas, values, colour, name, marker="o")
        axes.set_title(part if part == "diversity" else f"{part} loss")
        axes.set_ylim(bottom=0)
    panels[0].legend()
    for name, (label, colour) in _GAPS.items():
        values = [change(experiment, beta, QUANTITIES[name]) for beta in experiment.betas]
        _line(panels[3], experiment.betas, values, colour, label, marker="o")
    panels[3].axhline(0, color=MUTED, linewidth=0.7)
    panels[3].set_title("change of the gaps from beta 0")
    panels[3].legend()
    for axes in panels:
        axes.set_xlabel("beta", labelpad=2)
        axes.grid()
    panels[0].set_ylabel(experiment.design.measure)
    return figure


def _codependence(experiment: Experiment) -> Figure:
    """Test loss above the whole ensemble's against the members kept; the share of bias against beta."""
    figure, panels = _grid(2, gap_in=1.35).figure(2, _HEIGHT_IN)
    for beta in experiment.betas:
        curves = [training.end.test.codependence for training in experiment.of(beta)]
        values = [student_interval([curve[i] - curve[-1] for curve in curves]) for i in range(len(curves[0]))]
        _line(panels[0], range(1, len(values) + 1), values, _colour(beta), f"{beta:g}", marker="o")
    panels[0].set_ylim(bottom=0)
    panels[0].set_title("what dropping members adds to the test loss")
    panels[0].set_xlabel("members kept", labelpad=2)
    panels[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylabel(experiment.design.measure)
    _key(panels[0])
    for split, (name, colour) in _SPLITS.items():
        values = [mean(experiment, beta, percent(QUANTITIES[f"{split}_bias_share"])) for beta in experiment.betas]
        _line(panels[1], experiment.betas, values, colour, name, marker="o")
    panels[1].set_title("share of diversity that is only bias (%)")
    panels[1].set_ylim(bottom=0)
    panels[1].set_xlabel("beta", labelpad=2)
    panels[1].legend()
    for axes in panels:
        axes.grid()
    return figure


def _grid(columns: int, gap_in: float, right_in: float = 0.1) -> Grid:
    return Grid(columns, gap_in, left_in=0.55, right_in=right_in, below_in=0.45)


def _line(
    axes: Axes, places: Sequence[float], values: Sequence[Estimate], colour: str, label: str, marker: str = ""
) -> None:
    plot_estimates(axes, places, values, colour, linewidth=1.5, marker=marker, markersize=3.2, label=label)


def _key(axes: Axes) -> None:
    """The betas' colours, right of the axes, the largest on top."""
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], title="beta", loc="upper left", bbox_to_anchor=(1.0, 1.03))


def _colour(beta: float) -> str:
    return to_hex(_BETAS(beta))
