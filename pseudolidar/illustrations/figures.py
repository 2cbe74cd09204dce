"""Figures of the illustrations: outputs of the upstream models, decisions of w, and their losses, before and after."""

from dataclasses import replace
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from pseudolidar.illustrations.cases import DOWNSTREAM, Result, State
from pseudolidar.illustrations.learners import PolynomialClassifier
from pseudolidar.illustrations.optimal import best_polynomial, polynomial_features
from pseudolidar.viewing.canvas import PAGE_WIDTH_IN, Grid, axes_at, drawing_style
from pseudolidar.viewing.colours import INK, MUTED, THEME

_POSITIVE, _NEGATIVE = THEME["fourth"][0], THEME["third"][0]
_BEFORE, _AFTER = THEME["u"][0], THEME["u-prime"][0]
_SIDE_IN = 2.4
_GAP_IN = 0.18
_TOP_IN = 0.5
_BARS_LEFT_IN = 3 * (_SIDE_IN + _GAP_IN) + 0.32
_BARS_WIDTH_IN = PAGE_WIDTH_IN - _BARS_LEFT_IN - 0.5
_BARS_HEIGHT_IN = 0.55
_KEY_IN = 0.4
_GRID = Grid(3, _GAP_IN, right_in=PAGE_WIDTH_IN - 3 * _SIDE_IN - 2 * _GAP_IN, above_in=_TOP_IN)
_TINT = 0.22
# Places along a panel's side at which a classifier is asked.
_FINE, _COARSE = 400, 64

Extent = tuple[float, float, float, float]
"""The square of the plane that a panel shows: left, right, bottom, top."""


def draw_illustration(result: Result) -> Figure:
    """One illustration, 10 inches wide: before and after from left to right or downwards, the losses beside it."""
    with drawing_style():
        return _regression_figure(result) if result.illustration.examples.target.size else _classifiers_figure(result)


def _states(result: Result) -> tuple[tuple[State, str, str], ...]:
    """Before and after, with the mark of a changed model's name, and a colour."""
    return (result.before, "", _BEFORE), (result.after, "′", _AFTER)


def _regression_figure(result: Result) -> Figure:
    """Figures 2 and 3: the targets; v's predictions and w; those of v' and w'; the losses."""
    figure, panels = _GRID.figure(3, _SIDE_IN, bottom_in=_KEY_IN)
    examples = result.illustration.examples
    extent = _extent([examples.target, result.before.predictions["v"], result.after.predictions["v"]])
    _frame(panels[0], extent, "the targets", "what v is meant to answer", INK)
    _points(panels[0], examples.target, examples.positive)
    places = _places(extent, _FINE)
    few = isinstance(result.before.learners[DOWNSTREAM], PolynomialClassifier)
    for axes, (state, prime, colour) in zip(panels[1:], _states(result), strict=True):
        answers = state.predictions["v"]
        subtitle = f"w{prime} is wrong for {state.losses[DOWNSTREAM]:.1f} %{' on average' if few else ''}"
        _frame(axes, extent, f"the answers of v{prime}", subtitle, colour)
        _tint(axes, extent, _says(state, DOWNSTREAM, extent))
        ends = np.stack([answers, examples.target], axis=1)
        axes.plot(*ends.transpose(2, 1, 0), color=MUTED, linewidth=0.5, alpha=0.5, zorder=2)
        if few:
            _points(axes, answers, examples.positive)
            shown, fitted = _typical_draw(result), state.parameters[DOWNSTREAM]
            mean, deviation = fitted["mean"], fitted["deviation"]
            best = best_polynomial((answers - mean) / deviation, examples.positive, 2)
            for style, coefficients in (("--", best), ("-", fitted["coefficients"][shown])):
                values = polynomial_features((places - mean) / deviation, 2) @ coefficients
                _boundary(axes, extent, values.reshape(_FINE, _FINE), style)
            drawn = answers[fitted["draws"][shown].astype(np.int64)]
            axes.scatter(drawn[:, 0], drawn[:, 1], s=110, facecolors="none", edgecolors=INK, linewidths=1.2, zorder=4)
        else:
            wrong = (state.predictions[DOWNSTREAM][:, 0] > 0.5) != examples.positive
            _points(axes, answers, examples.positive, wrong)
            line = state.parameters[DOWNSTREAM]
            distance = places @ line["normal"] - line["offset"]
            _boundary(axes, extent, distance.reshape(_FINE, _FINE), "-")
    entries = [("from an answer to its target", _line("-", MUTED, 0.6))]
    if few:
        entries.append(("six examples drawn by chance", _mark("o", INK, 9, hollow=True)))
        entries += [("w fitted to them", _line("-", INK, 1.5)), ("the best of all w", _line("--", INK, 1.1))]
        said = "mostly says so"
    else:
        entries += [("w", _line("-", INK, 1.5)), ("w is wrong", _mark("x", INK, 4.5))]
        said = "says so"
    _key(figure, f"w {said}", *entries)
    _losses(figure, result, "v", "squared error", 3, gap_in=0.7)
    return figure


def _classifiers_figure(result: Result) -> Figure:
    """Figure 4 and its like: upstream models and w; below them the same with u' and w'; the losses."""
    models = len(result.before.learners)
    grid = replace(_GRID, columns=models)
    figure, panels = grid.figure(2 * models, grid.width_in, bottom_in=_KEY_IN)
    examples = result.illustration.examples
    extent = _extent([examples.x])
    for row, (state, prime, colour) in zip((panels[:models], panels[models:]), _states(result), strict=True):
        for axes, name in zip(row, state.predictions, strict=True):
            kept = name not in ("u", DOWNSTREAM)
            label = name if kept else f"{name}{prime}"
            subtitle = "sees the plane" if name != DOWNSTREAM else "sees only their answers"
            wrong = f"{label} is wrong for {state.losses[name]:.1f} %"
            _frame(axes, extent, wrong, subtitle, INK if kept else colour, grid.width_in)
            says = _says(state, name, extent)
            _tint(axes, extent, says)
            _points(axes, examples.x, examples.positive, (state.predictions[name][:, 0] > 0.5) != examples.positive)
            for parent in _upstream(state) if name == DOWNSTREAM else ():
                _boundary(axes, extent, _says(state, parent, extent) - 0.5, ":")
            _boundary(axes, extent, says - 0.5, "-")
    _key(
        figure,
        "the model says so",
        ("its boundary", _line("-", INK, 1.5)),
        ("it is wrong", _mark("x", INK, 4.5)),
        ("boundaries of what w sees", _line(":", INK, 1.1)),
    )
    _losses(figure, result, "u", "% wrong", 1, gap_in=grid.width_in + _TOP_IN - _BARS_HEIGHT_IN)
    return figure


def _upstream(state: State) -> list[str]:
    return [name for name in state.learners if name != DOWNSTREAM]


def _extent(clouds: list[NDArray[np.float64]]) -> Extent:
    points = np.concatenate(clouds)
    low, high = points.min(axis=0), points.max(axis=0)
    (x, y), half = (low + high) / 2, (high - low).max() / 2 * 1.07
    return float(x - half), float(x + half), float(y - half), float(y + half)


def _frame(axes: Axes, extent: Extent, title: str, subtitle: str, colour: str, side_in: float = _SIDE_IN) -> None:
    axes.axis(extent)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    _titles(axes, side_in, title, subtitle, colour)


def _titles(axes: Axes, height_in: float, title: str, subtitle: str, colour: str) -> None:
    place, above, below = axes.transAxes, 1 + 0.22 / height_in, 1 + 0.06 / height_in
    axes.text(0, above, title, transform=place, color=colour, fontsize=9.5, fontweight="bold")
    axes.text(0, below, subtitle, transform=place)


def _points(
    axes: Axes, points: NDArray[np.float64], positive: NDArray[np.bool_], wrong: NDArray[np.bool_] | None = None
) -> None:
    """The classes differ in colour and in shape; errors of a model are crossed out."""
    size = float(np.clip(4200 / len(points), 9, 40))
    right = np.ones(len(points), bool) if wrong is None else ~wrong
    for class_, colour, marker in ((positive, _POSITIVE, "o"), (~positive, _NEGATIVE, "^")):
        shown = points[class_ & right]
        axes.scatter(shown[:, 0], shown[:, 1], s=size, c=colour, marker=marker, linewidths=0, zorder=3)
        crossed = points[class_ & ~right]
        axes.scatter(crossed[:, 0], crossed[:, 1], s=24, c=colour, marker="x", linewidths=1.5, zorder=4)


def _places(extent: Extent, count: int) -> NDArray[np.float64]:
    """Points (count^2, 2) of a grid over the panel, row by row from below."""
    xs, ys = np.meshgrid(np.linspace(*extent[:2], count), np.linspace(*extent[2:], count))
    return np.stack([xs, ys], axis=-1).reshape(-1, 2)


def _says(state: State, name: str, extent: Extent) -> NDArray[np.float64]:
    """Probabilities (G, G) of positive on the panel: the plane of u's and v's inputs (Figure 4) or of v's outputs."""
    learner = state.learners[name]
    # The mean of many curves is smooth, a single classifier's step is not.
    inputs = _places(extent, _COARSE if isinstance(learner, PolynomialClassifier) else _FINE)
    if name == DOWNSTREAM and "u" in state.learners:
        inputs = np.stack([_says(state, parent, extent).reshape(-1) for parent in _upstream(state)], axis=1)
    answers = learner.predict(state.parameters[name], inputs)
    side = round(np.sqrt(len(answers)))
    return answers.reshape(side, side)


def _tint(axes: Axes, extent: Extent, probability: NDArray[np.float64]) -> None:
    """The colour of the predicted class, stronger with its probability."""
    if np.isin(probability, (0.0, 1.0)).all():
        colours = [to_rgba(colour, _TINT) for colour in (_NEGATIVE, _POSITIVE)]
        axes.contourf(probability, extent=extent, levels=[-1.0, 0.5, 2.0], colors=colours, zorder=0)
        return
    tint = np.where(probability[..., None] > 0.5, to_rgba(_POSITIVE), to_rgba(_NEGATIVE))
    tint[..., 3] = _TINT * np.abs(2 * probability - 1)
    axes.imshow(tint, extent=extent, origin="lower", interpolation="bilinear", zorder=0)


def _boundary(axes: Axes, extent: Extent, values: NDArray[np.float64], style: str) -> None:
    """Where values (G, G) change their sign."""
    if (values > 0).any() and (values <= 0).any():
        width = 1.5 if style == "-" else 1.1
        axes.contour(values, extent=extent, levels=[0.0], colors=INK, linewidths=width, linestyles=style, zorder=2.5)


def _typical_draw(result: Result) -> int:
    """The draw of examples whose classifiers, before and after, have errors nearest to the average."""
    distance = np.zeros(1)
    for state in (result.before, result.after):
        learner = state.learners[DOWNSTREAM]
        assert isinstance(learner, PolynomialClassifier)
        says = learner.values(state.parameters[DOWNSTREAM], state.predictions["v"]) > 0
        wrong = 100 * (says != result.illustration.examples.positive).mean(axis=1)
        distance = distance + np.abs(wrong - state.losses[DOWNSTREAM])
    # Draws are in order of their first examples; one from the middle is less one-sided.
    nearest = np.flatnonzero(distance == distance.min())
    return int(nearest[len(nearest) // 2])


def _line(style: Literal["-", "--", ":"], colour: str, width: float) -> Line2D:
    return Line2D([], [], linestyle=style, color=colour, linewidth=width)


def _mark(marker: str, colour: str, size: float, hollow: bool = False) -> Line2D:
    face = "none" if hollow else colour
    return Line2D([], [], linestyle="", marker=marker, color=colour, markersize=size, markerfacecolor=face)


def _key(figure: Figure, said: str, *entries: tuple[str, Line2D]) -> None:
    """The meaning of the marks, in one row at the bottom left; `said` is the meaning of the background colours."""
    grounds = tuple(Patch(facecolor=to_rgba(colour, _TINT), linewidth=0) for colour in (_POSITIVE, _NEGATIVE))
    classes = (("positive", _mark("o", _POSITIVE, 4.5)), ("negative", _mark("^", _NEGATIVE, 4.5)))
    labels, handles = zip(*classes, (said, grounds), *entries, strict=True)
    figure.legend(
        handles,
        labels,
        loc="lower left",
        ncols=len(labels),
        bbox_to_anchor=(0, 0),
        borderaxespad=0,
        columnspacing=1.4,
        borderpad=0.2,
        handletextpad=0.5,
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},
    )


def _losses(figure: Figure, result: Result, upstream: str, quantity: str, digits: int, gap_in: float) -> None:
    """Two pairs of bars, for the updated model and for w, and under them the error that grew."""
    top = _TOP_IN
    for name, measure, decimals in ((upstream, quantity, digits), (DOWNSTREAM, "% wrong", 1)):
        axes = axes_at(figure, _BARS_LEFT_IN, top, _BARS_WIDTH_IN, _BARS_HEIGHT_IN)
        values = [state.losses[name] for state, _, _ in _states(result)]
        axes.barh([0, 1], values, height=0.62, color=[_BEFORE, _AFTER])
        for place, value in enumerate(values):
            text = f"{value:.{decimals}f}"
            axes.annotate(text, (value, place), xytext=(3, 0), textcoords="offset points", va="center")
        axes.set_yticks([0, 1], [name, f"{name}′"])
        axes.set_ylim(1.5, -0.5)
        axes.set_xlim(0, max(values))
        axes.set_xticks([])
        axes.tick_params(axis="y", length=0, labelsize=9)
        axes.spines["bottom"].set_visible(False)
        verdict = "better" if values[1] < values[0] else "worse"
        _titles(axes, _BARS_HEIGHT_IN, f"{name}′ is {verdict}", measure, _AFTER)
        top += _BARS_HEIGHT_IN + gap_in
    terms = (state.decomposition.terms[result.illustration.grown] for state, _, _ in _states(result))
    grown = " → ".join(f"{term:.1f}" for term in terms)
    lines = [f"{result.illustration.grown.replace(' ', chr(10), 1)}:", f"{grown} %"]
    if result.before.error_correlation is not None:
        before, after = (f"{state.error_correlation:.2f}".replace("-", "−") for state, _, _ in _states(result))
        errors = (
            f"errors of {' and '.join(_upstream(result.before))}:"
            if len(_upstream(result.before)) == 2
            else "upstream errors:"
        )
        lines += ["", "correlation of the", errors, f"{before} → {after}"]
    left, below = _BARS_LEFT_IN / PAGE_WIDTH_IN, 1 - (top - gap_in + 0.2) / figure.get_figheight()
    figure.text(left, below, "\n".join(lines), va="top", fontsize=8.5, linespacing=1.35)
