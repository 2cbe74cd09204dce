"""Curves of trainings: what the picture says, from one step to 90,000, and the command that draws them."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from pseudolidar.commands.outputs import curves_path, plotted_curves
from pseudolidar.kitti import read_image
from pseudolidar.training import metrics_path, validation_path
from pseudolidar.training.metrics import MetricsFile
from pseudolidar.viewing import TrainingCurves, figure_to_rgb, save_figure, training_figure
from pseudolidar.viewing.training import _thinned
from tests.conftest import RunHere


def columns_of(steps: int, **others: float) -> dict[str, list[float]]:
    """A loss that falls from 40 to 1, and what every training has besides."""
    numbers = np.arange(1, steps + 1)
    loss = 1 + 39 * np.exp(-numbers / (0.1 * steps))
    return {
        "step": numbers.tolist(), "loss": loss.tolist(),
        **{name: (value * loss).tolist() for name, value in others.items()},
        "learning_rate": np.linspace(1e-3, 0, steps).tolist(), "gradient_norm": loss.tolist(),
        "items_per_s": [40.0] * steps, "waiting": [0.25] * steps, "memory_mib": [2048.0] * steps,
    }  # fmt: skip


VALIDATIONS = {
    "step": [10.0, 20, 30], "mae": [3.0, 0.5, 0.75], "mae_0-20": [math.nan, 0.25, 0.5],
    "100-AP40_bev_loose_Pedestrian": [90.0, 80, 70],
}  # fmt: skip


def panels_of(figure: Figure) -> dict[str, Axes]:
    return {axes.get_title("left"): axes for axes in figure.axes if axes.get_title("left")}


def points_of(line: Line2D) -> list[list[float]]:
    points: list[list[float]] = np.asarray(line.get_xydata()).tolist()
    return points


def texts_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()]


def test_the_picture_has_every_number_and_the_best_test_loss() -> None:
    run = TrainingCurves(columns_of(30, smooth_l1=0.25, angle=0.75), VALIDATIONS)
    figure = training_figure({"u": run})
    panels = panels_of(figure)
    assert list(panels) == [
        "smooth l1", "angle", "test: mae 0-20", "test: 100-AP40 bev loose Pedestrian", "learning rate",
        "norm of the gradient", "items a second",
        "waiting for data (%)", "memory (GiB)", "loss", "test: mae",
    ]  # fmt: skip
    stars = [line for line in panels["test: mae"].lines if line.get_marker() == "*"]
    assert [points_of(star) for star in stars] == [[[20, 0.5]]]
    assert panels["loss"].get_yscale() == "log" and panels["learning rate"].get_yscale() == "linear"
    assert panels["memory (GiB)"].get_ylim()[0] == 0
    written = texts_of(figure)
    assert {"u", "30", "0.75", "0.5 at 20", "40", "25%", "2 GiB"} <= set(written)
    # In the table the loss is smoothed: of the last steps it is some 3 here.
    assert 1 < float(written[written.index("last loss") + 8]) < 3.5


def test_several_runs_share_panels_and_keep_their_colours() -> None:
    long_name = "a/folder/with/a/name/that/never/seems/to/end/and/then/a/checkpoint"
    runs = {
        "u": TrainingCurves(columns_of(40, angle=1.0), VALIDATIONS),
        "u_prime": TrainingCurves(columns_of(30), VALIDATIONS | {"mae": [2.0, 3.0, 1.0]}),
        long_name: TrainingCurves(columns_of(5)),
    }
    figure = training_figure(runs)
    panels = panels_of(figure)
    colours = [line.get_color() for line in panels["learning rate"].lines if len(points_of(line)) > 2]
    assert len(set(colours)) == 3
    stars = [line for line in panels["test: mae"].lines if line.get_marker() == "*"]
    assert [points_of(star) for star in stars] == [[[20, 0.5]], [[30, 1.0]]]
    shown = next(text for text in texts_of(figure) if text.startswith("…"))
    assert long_name.endswith(shown[1:]) and len(shown) > 20


@pytest.mark.parametrize(("terms", "validations"), [(0, {}), (9, VALIDATIONS)])
@pytest.mark.parametrize("steps", [1, 5, 20_000])
def test_no_text_lies_on_another_or_outside(terms: int, validations: dict[str, list[float]], steps: int) -> None:
    columns = columns_of(steps, **{f"a_term_{i}": 0.001**i for i in range(terms)})
    figure = training_figure({"u": TrainingCurves(columns, validations)})
    figure_to_rgb(figure, dpi=100)
    width, height = figure.get_size_inches() * 100
    placed: list[tuple[str, Bbox]] = []
    for axes in figure.axes:
        texts = [*axes.texts]
        if axes.axison:
            texts += [
                axes.xaxis.label,
                *(text for text in axes.findobj(Text) if text.get_text() == axes.get_title("left")),
            ]
            for axis, (first, last) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
                ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
                texts += [label for place, label in ticks if first <= place <= last]
        placed += [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    assert len(placed) > 40
    for i, (text, box) in enumerate(placed):
        # What is left of the page or right of it only makes the picture wider.
        assert box.x0 >= -20 and box.y0 >= 0 and box.x1 <= width + 20 and box.y1 <= height, text
        for other, another in placed[:i]:
            assert box.x0 >= another.x1 or another.x0 >= box.x1 or box.y0 >= another.y1 or another.y0 >= box.y1, (
                f"{text} lies on {other}"
            )


def test_many_steps_are_thinned_and_outliers_remain() -> None:
    value = np.zeros(93_000)
    value[[7, 50_000]] = [-5, 9]
    step, low, mean, high = _thinned(np.arange(93_000), value)
    assert len(step) == len(low) == len(mean) == len(high) == 600
    assert low.min() == -5 and high.max() == 9 and mean.mean() == pytest.approx(value.mean())
    figure = training_figure({"u": TrainingCurves(columns_of(93_000))})
    assert max(len(points_of(line)) for axes in figure.axes for line in axes.lines) == 1200


@pytest.mark.filterwarnings("error")
@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.floats(width=32) | st.sampled_from([0.0, 1.0, 1e-30, -1e30, math.nan, math.inf]), min_size=1, max_size=40
    ),
    st.booleans(),
)
def test_any_numbers_make_a_picture(values: list[float], is_tested: bool) -> None:
    step = [float(number) for number in range(1, len(values) + 1)]
    run = TrainingCurves({"step": step, "loss": values}, {"step": step, "mae": values} if is_tested else {})
    picture = figure_to_rgb(training_figure({"x": run}), dpi=50)
    assert picture.shape[1] == 500 and len(np.unique(picture)) > 1


def write_run(checkpoint: Path, steps: int, is_tested: bool = False) -> None:
    columns = columns_of(steps)
    for path, table in ((metrics_path(checkpoint), columns), (validation_path(checkpoint), VALIDATIONS)):
        if table is columns or is_tested:
            file = MetricsFile(path, 0)
            for row in zip(*table.values(), strict=True):
                file.add(dict(zip(table, (int(row[0]), *row[1:]), strict=True)))
            file.write()


def test_the_command_draws_runs_finished_or_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_here: RunHere
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("u.pt"), 40, is_tested=True)
    write_run(Path("other/u.pt"), 20)
    with Path("u.pt.metrics.csv").open("a") as torn:
        torn.write("41,0.")
    assert run_here("plot_training", "runs=u.pt") == (0, "written to curves.png\n", "")
    assert run_here("plot_training", "runs=[u.pt,other/u.pt]", "output=two.svg")[0] == 0
    assert read_image(Path("curves.png")).shape[1] > 1800 and Path("two.svg").stat().st_size > 10_000
    for arguments, message in (
        (("runs=[u.pt,v.pt]",), "error: v.pt.metrics.csv: file: found nothing there, expected the numbers of a"),
        (("runs=[]",), "error: runs: found none, expected one or more checkpoints"),
        (("runs=u.pt", "output=curves.txt"), "error: curves.txt: name: found suffix .txt"),
    ):
        status, _, said = run_here("plot_training", *arguments)
        assert status == 2 and said.startswith(message) and len(said.splitlines()) == 1


def test_the_phases_of_a_training_share_its_picture(tmp_path: Path) -> None:
    first, last = tmp_path / "car.pt.rpn.pt", tmp_path / "car.pt"
    write_run(first, 5)
    with plotted_curves(last, True, first):
        write_run(last, 5)
    alone = tmp_path / "alone.png"
    save_figure(training_figure({"car": TrainingCurves(columns_of(5))}), alone)
    assert read_image(curves_path(last)).shape[0] > read_image(alone).shape[0], "a row of the table more"
    curves_path(last).unlink()
    with plotted_curves(last, True, first):
        pass
    assert not curves_path(last).exists(), "nothing was trained"


def test_no_runs_are_a_mistake_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="runs: found none"):
        training_figure({})
    save_figure(training_figure({"u": TrainingCurves(columns_of(3))}), tmp_path / "u.pdf")
