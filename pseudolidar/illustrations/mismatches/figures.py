"""Figures of the four systems: test losses along a series, all pairs of two upstream models, images that flipped."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from pseudolidar.illustrations.mismatches.images import DigitImages
from pseudolidar.illustrations.mismatches.models import Question
from pseudolidar.illustrations.mismatches.results import Finished, FlippedImages
from pseudolidar.illustrations.mismatches.series import DOWNSTREAM
from pseudolidar.statistics import CONFIDENCE, Estimate
from pseudolidar.systems import MeanLoss, change
from pseudolidar.viewing.canvas import Grid, drawing_style, plot_estimates
from pseudolidar.viewing.colours import INK, PAPER, THEME

_COLOURS = {"u": THEME["u"][0], "v": THEME["third"][0], DOWNSTREAM: THEME["u-prime"][0]}
_CHAINS = {"u alone": THEME["u"][0], "v alone": THEME["third"][0], "both": THEME["fourth"][0]}
_HEIGHT_IN = 2.1
_IMAGES = 10
_LOSSES = LinearSegmentedColormap.from_list("losses", [PAPER, THEME["u-prime"][0]])


def level(losses: Sequence[MeanLoss]) -> Estimate:
    """A test loss, mean over the seeds, with its interval over test items and training seeds."""
    nothing = [MeanLoss(loss.items, np.zeros_like(loss.total), loss.count, loss.unit) for loss in losses]
    found = change("", nothing, losses, np.random.default_rng(0), trained=True, confidence=CONFIDENCE)
    return Estimate(found.difference, found.interval)


def draw_series(finished: Finished) -> Figure:
    """Test losses of upstream models and of w, 10 inches wide; bands are intervals over test items and seeds."""
    with drawing_style():
        return _chain_figure(finished) if len(finished.series.upstream) == 1 else _grid_figure(finished)


def _chain_figure(finished: Finished) -> Figure:
    series = finished.series
    figure, panels = Grid(2, gap_in=0.7, left_in=0.6, right_in=0.2).figure(2, _HEIGHT_IN, bottom_in=0.45)
    labels = [version.label for version in series.versions]
    for axes, name in zip(panels, (*series.upstream, DOWNSTREAM), strict=True):
        losses = [of_version[name] for of_version in finished.losses]
        _curve(axes, range(len(labels)), losses, _COLOURS[name])
        axes.set_xticks(range(len(labels)), labels)
        axes.set_xlabel(series.axis[0], labelpad=2)
        axes.set_ylabel(losses[0][0].unit or "squared error")
        axes.set_title(f"test loss of {name}")
        axes.set_ylim(bottom=0)
    return figure


def _grid_figure(finished: Finished) -> Figure:
    series = finished.series
    figure, panels = Grid(3, gap_in=0.7, left_in=0.6, right_in=0.1).figure(3, _HEIGHT_IN, bottom_in=0.45)
    steps = sorted({version.place[0] for version in series.versions}, reverse=True)
    place = {version.place: number for number, version in enumerate(series.versions)}
    ticks = range(len(steps)), [f"{100 * step:g}" for step in steps]
    chains = {
        "u alone": [place[step, steps[0]] for step in steps],
        "v alone": [place[steps[0], step] for step in steps],
        "both": [place[step, step] for step in steps],
    }
    for name in series.upstream:
        losses = [finished.losses[number][name] for number in chains["both"]]
        _curve(panels[0], ticks[0], losses, _COLOURS[name], name)
    for kind, chain in chains.items():
        _curve(panels[1], ticks[0], [finished.losses[number][DOWNSTREAM] for number in chain], _CHAINS[kind], kind)
    for axes, title in zip(panels, ("test loss of u and v", "test loss of w, by what gets better"), strict=False):
        axes.set_title(title)
        axes.set_xticks(*ticks)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("% wrong")
        axes.set_xlabel("hardest images with the other's label (%)", labelpad=2)
        axes.legend()
    means = np.array(
        [[np.mean([one.value() for one in finished.losses[place[u, v]][DOWNSTREAM]]) for v in steps] for u in steps]
    )
    panels[2].imshow(means, cmap=_LOSSES, aspect="auto", vmin=0)
    for row, column in np.ndindex(means.shape):
        colour = PAPER if means[row, column] > 0.75 * means.max() else INK
        panels[2].text(column, row, f"{means[row, column]:.1f}", ha="center", va="center", color=colour, fontsize=7.5)
    panels[2].set_xticks(*ticks)
    panels[2].set_yticks(*ticks)
    panels[2].set_title("test loss of w (% wrong)")
    panels[2].set_xlabel("the other's label, v (%)", labelpad=2)
    panels[2].set_ylabel("the other's label, u (%)")
    return figure


def _curve(
    axes: Axes, places: Sequence[float], losses: Sequence[Sequence[MeanLoss]], colour: str, label: str = ""
) -> None:
    estimates = [level(of_version) for of_version in losses]
    plot_estimates(axes, np.asarray(places, float), estimates, colour, marker="o", markersize=3, label=label)
    axes.grid(True, axis="y")


def draw_flipped(data: DigitImages, flipped: FlippedImages, question: Question) -> Figure | None:
    """The images that w had right before and wrong after with most seeds, in a row; None where there are none."""
    places = flipped.most_often(_IMAGES)
    if not len(places):
        return None
    with drawing_style():
        figure, panels = Grid(_IMAGES, gap_in=0.12, above_in=0.05).figure(len(places), 0.88, bottom_in=0.55)
        for axes, place in zip(panels, places, strict=True):
            image = data.images[flipped.images[place]].transpose(1, 2, 0)
            axes.imshow(image if image.shape[2] == 3 else image[..., 0], cmap="gray_r", vmin=0, vmax=255)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(True)
            right = flipped.right[place]
            negative = (flipped.before[:, place] == right) & (flipped.after[:, place] != right)
            wrong, counts = np.unique(flipped.after[negative, place], return_counts=True)
            said = question.name(int(wrong[counts.argmax()]))
            axes.set_xlabel(
                f"{question.name(int(right))}, then {said}\n{negative.sum()} of {len(negative)} seeds", fontsize=7.5
            )
    return figure
