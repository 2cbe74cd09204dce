"""Disparity colours, clouds from above, curves: what the pictures say about their data."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from pseudolidar.evaluation.average_precision import PrecisionCurve
from pseudolidar.kitti import Calibration, Objects, read_image
from pseudolidar.viewing import (
    birds_eye_figure,
    disparity_figure,
    figure_to_rgb,
    frame_figure,
    precision_recall_figure,
    range_figure,
    save_figure,
)
from pseudolidar.viewing.birds_eye import visible_points
from pseudolidar.viewing.canvas import figure_to_svg
from pseudolidar.viewing.colours import THEME, UNKNOWN_RGB, source_colours
from pseudolidar.viewing.disparity import colourise_disparity, colourise_error
from tests.viewing.conftest import IMAGE_SIZE, make_objects


def _texts(figure: Figure) -> list[str]:
    shown = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    return [text for text in shown if text]


def test_unknown_pixels_are_dark_grey_and_known_ones_never() -> None:
    disparity = np.linspace(0, 60, 500, dtype=np.float32)[None].repeat(2, axis=0)
    disparity[1, 3] = np.nan
    disparity[1, 4] = np.inf
    coloured = colourise_disparity(disparity, 48.0).astype(int)
    grey = (coloured == UNKNOWN_RGB).all(axis=2)
    assert np.argwhere(grey).tolist() == [[0, 0], [1, 0], [1, 3], [1, 4]]
    assert max(UNKNOWN_RGB) < 80 and len(set(UNKNOWN_RGB)) == 1
    known = coloured[0, 1:]
    assert np.abs(known - np.array(UNKNOWN_RGB)).max(axis=1).min() > 20
    luminance = known @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luminance) >= -1).all() and luminance[-1] > luminance[0] + 100, "nearer is lighter"
    assert (known[disparity[0, 1:] > 48] == known[-1]).all(), "beyond the end everything has the last colour"


def test_error_colours_are_white_blue_and_red() -> None:
    red_side, blue_side, right, unknown = colourise_error(np.array([[2.0, -2.0, 0.0, np.nan]]), 2.0)[0].astype(int)
    assert red_side[0] > red_side[2] + 50 and blue_side[2] > blue_side[0] + 50
    assert right.min() > 240 and tuple(unknown) == UNKNOWN_RGB


def test_disparity_figure_names_each_models_error(calibration: Calibration) -> None:
    image = np.full((*IMAGE_SIZE, 3), 90, np.uint8)
    exact = np.full(IMAGE_SIZE, 20.0, np.float32)
    exact[:40] = 0.0
    off = exact + 1.25
    off[:40] = 77.0  # not counted: nothing is known there
    figure = disparity_figure(image, exact, {"u": off, "u'": exact.copy()}, calibration)
    texts = _texts(figure)
    assert any("u: " in text and "1.25 px" in text for text in texts)
    assert any("u': " in text and "0.00 px" in text for text in texts)
    alone = disparity_figure(image, None, {"u": off}, calibration)
    assert not any("MAE" in text for text in _texts(alone))


def test_only_what_the_camera_sees_is_shown(calibration: Calibration) -> None:
    #                    ahead          too far        behind          left of view   above view
    points = np.array([[10, 0, -1], [60.0, 0, 0], [-10.0, 0, 0], [10, 12.0, 0], [10, 0, 6.0]], np.float32)
    seen, heights = visible_points(points, calibration, IMAGE_SIZE, 50.0)
    np.testing.assert_allclose(seen, [[0, 1, 10]], atol=1e-6)
    np.testing.assert_allclose(heights, [-1])


def test_birds_eye_draws_every_source_with_scores_and_boxes(calibration: Calibration) -> None:
    rng = np.random.default_rng(0)
    cloud = (rng.random((500, 4)) * [30, 10, 1, 0] + [5, -5, -1.5, 1]).astype(np.float32)
    dont_care = [-1000.0, -1000.0, -1000.0, -1.0, -1.0, -1.0, -10.0]
    truth = make_objects([[2.0, 1.6, 20.0, 1.5, 1.6, 3.9, -np.pi / 2], dont_care])
    found = make_objects([[2.3, 1.6, 21.0, 1.5, 1.6, 3.9, -np.pi / 2]], scores=[0.87])
    empty = np.zeros((0, 4), np.float32)
    figure = birds_eye_figure({"y": cloud, "u": empty}, truth, {"u": found}, calibration, IMAGE_SIZE, 40.0)
    texts = _texts(figure)
    assert "u: 0 points" in texts and texts.count("0.87") == 1
    panel = figure.axes[0]
    assert max(panel.get_xlim()) < 20, "DontCare regions (x = -1000 m) don't widen the panel"
    corners = np.array([[2 - 0.8, 20 - 1.95], [2 + 0.8, 20 + 1.95]])
    extents = [patch.get_path().get_extents().get_points() for patch in panel.patches]
    assert any(np.allclose(extent, corners) for extent in extents), "x to the right, z ahead, metres"
    # The heading's line ends ahead of the front face: the car drives away from the camera.
    assert any(np.allclose(np.asarray(line.get_xydata())[-1:], [2.0, 20 + 1.95 + 0.9]) for line in panel.lines)


def test_precision_recall_legend_holds_ap40() -> None:
    precision = np.where(np.arange(41) <= 20, 1.0, 0.0)
    curves = {"y": PrecisionCurve(precision, 7), "u": PrecisionCurve(np.zeros(41), 7)}
    assert curves["y"].ap40 == pytest.approx(50.0)
    figure = precision_recall_figure({"Car": curves})
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text().split() for text in legend.get_texts()] == [["y", "50.0"], ["u", "0.0"]]
    y_curve, u_curve = figure.axes[0].lines
    assert np.asarray(y_curve.get_xdata())[-1] == 0.5 and len(np.asarray(u_curve.get_xdata())) == 0
    with pytest.raises(ValueError, match=r"curve u of 'Car': found shape \(11,\), expected \(41,\)"):
        precision_recall_figure({"Car": {"u": PrecisionCurve(np.zeros(11), 7)}})


def test_range_figure_labels_values_and_leaves_gaps() -> None:
    figure = range_figure({"here": {"u": [0.9, float("nan")], "u'": [0.812, 0.4]}}, ["0–20", "20–40"], "MAE (px)")
    texts = _texts(figure)
    assert {"0.90", "0.81", "0.40", "0–20", "MAE (px)"} <= set(texts) and not any("nan" in text for text in texts)
    with pytest.raises(ValueError, match="u of 'here': found 1 values, expected 2"):
        range_figure({"here": {"u": [1.0]}}, ["a", "b"], "MAE (px)")


def test_sources_keep_their_colours() -> None:
    colours = source_colours(["u'", "other", "u (depth MAE)", "y"])
    assert colours["u'"] == THEME["u-prime"][0] and colours["u (depth MAE)"] == THEME["u"][0]
    assert colours["y"] == THEME["y"][0] and len(set(colours.values())) == 4
    assert len({light for light, _ in THEME.values()}) == len(THEME), "the style sheet tells colours by their value"


def test_svg_follows_the_theme_is_repeatable_and_loads_nothing() -> None:
    figure = range_figure({"here": {"u": [0.9], "u'": [0.8]}}, ["all"], "MAE (px)")
    text = figure_to_svg(figure, "a-", 'bars & "more"')
    assert text == figure_to_svg(figure, "a-", 'bars & "more"')
    assert text.startswith("<svg ") and text.endswith("</svg>") and "http" not in text
    assert "var(--u)" in text and "var(--u-prime)" in text and THEME["u"][0] not in text
    assert 'aria-label="bars &amp; &quot;more&quot;"' in text
    assert 'id="' in text and all(part.startswith("a-") for part in text.split('id="')[1:])


def test_figures_leave_the_callers_settings_alone(calibration: Calibration) -> None:
    before = matplotlib.rcParams["font.size"], matplotlib.rcParams["svg.hashsalt"]
    range_figure({"here": {"u": [0.9]}}, ["all"], "MAE (px)")
    assert (matplotlib.rcParams["font.size"], matplotlib.rcParams["svg.hashsalt"]) == before


def test_a_frame_sheet_without_labels_disparity_or_clouds(calibration: Calibration, tmp_path: Path) -> None:
    image = np.full((*IMAGE_SIZE, 3), 90, np.uint8)
    small = frame_figure("frame", image, calibration, Objects.empty(), None, None, {}, 50.0)
    full = frame_figure(
        "frame",
        image,
        calibration,
        Objects.empty(),
        make_objects([[2.0, 1.6, 20.0, 1.5, 1.6, 3.9, 0.0]], scores=[0.5]),
        np.full(IMAGE_SIZE, 12.0, np.float32),
        {"LiDAR": np.array([[10, 0, -1, 1]], np.float32)},
        50.0,
    )
    assert figure_to_rgb(full, 50).shape[0] > 2.5 * figure_to_rgb(small, 50).shape[0]
    save_figure(small, tmp_path / "frame.png")
    assert read_image(tmp_path / "frame.png").std() < 80
    assert [path.name for path in tmp_path.iterdir()] == ["frame.png"]
