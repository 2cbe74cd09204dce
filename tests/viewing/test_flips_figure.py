"""The picture of one frame's flips, and curves against depth: what they say about their data."""

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from pseudolidar.kitti import Calibration, Objects
from pseudolidar.statistics import Estimate, Interval
from pseudolidar.viewing import FATE_COLOURS, DepthCurve, FlippedFrame, depth_curve_figure, figure_to_rgb, flips_figure
from pseudolidar.viewing.colours import DETECTION, THEME, rgb255
from tests.viewing.conftest import IMAGE_SIZE, make_objects

CLOUD = (np.random.default_rng(0).random((500, 4)) * [30, 10, 1, 0] + [5, -5, -1.5, 1]).astype(np.float32)
CARS = [[x, 1.6, z, 1.5, 1.6, 3.9, -np.pi / 2] for x, z in ((-3.0, 12.0), (2.0, 14.0), (0.0, 30.0), (5.0, 45.0))]


def flipped(calibration: Calibration, fates: list[str], detections: dict[str, Objects]) -> FlippedFrame:
    image = np.full((*IMAGE_SIZE, 3), 90, np.uint8)
    truth = make_objects(CARS[: len(fates)])
    return FlippedFrame(image, calibration, truth, np.array(fates, np.str_), {"u": CLOUD, "u'": CLOUD}, detections)


def outlines(axes: Axes, colour: str) -> list[np.ndarray]:
    patches = [patch for patch in axes.patches if isinstance(patch, Polygon)]
    edge = (*matplotlib.colors.to_rgb(colour), 1.0)
    return [np.array(patch.get_xy())[:4] for patch in patches if np.allclose(patch.get_edgecolor(), edge)]


def legend_of(figure: Figure) -> list[str]:
    legends = [axes.get_legend() for axes in figure.axes]
    return [text.get_text() for legend in legends if legend is not None for text in legend.get_texts()]


def test_labels_have_the_colours_of_their_fates(calibration: Calibration) -> None:
    found = make_objects([CARS[1]], scores=[-0.5])
    figure = flips_figure(
        "000007", flipped(calibration, ["kept", "negative flip", "positive flip", "missed"], {"u": found})
    )
    before, after, image = figure.axes[:3]
    drawn = {tuple(pixel) for pixel in np.asarray(image.images[0].get_array()).reshape(-1, 3).tolist()}
    for fate, colour in FATE_COLOURS.items():
        assert rgb255(colour) in drawn, "in the image"
        for panel in (before, after):
            (corners,) = outlines(panel, colour)
            place = CARS[list(FATE_COLOURS).index(fate)]
            np.testing.assert_allclose(corners.mean(axis=0), [place[0], place[2]])
    assert len(outlines(before, DETECTION)) == 1 and not outlines(after, DETECTION)
    assert [text.get_text() for text in before.texts] == ["−0.50"]
    assert legend_of(figure)[:4] == ["found by both: 1", "negative flip: 1", "positive flip: 1", "found by neither: 1"]
    assert len({tuple(pixel) for pixel in figure_to_rgb(figure, 60).reshape(-1, 3).tolist()}) > 50


@pytest.mark.parametrize(
    ("fates", "shown", "hidden"),
    [
        (["negative flip", "kept", "missed", "kept"], [0, 1], [2, 3]),
        (["kept", "kept", "kept", "positive flip"], [3], [0, 1, 2]),
        (["negative flip", "kept", "kept", "positive flip"], [0, 1, 2, 3], []),
        (["kept", "missed", "kept", "kept"], [0, 1, 2, 3], []),
    ],
)
def test_the_panels_show_what_flipped(
    calibration: Calibration, fates: list[str], shown: list[int], hidden: list[int]
) -> None:
    figure = flips_figure("000007", flipped(calibration, fates, {}))
    (x0, x1), (z0, z1) = figure.axes[0].get_xlim(), figure.axes[0].get_ylim()
    inside = [x0 < x < x1 and z0 < z < z1 for x, _, z, *_ in CARS]
    assert np.flatnonzero(inside).tolist() == shown and np.flatnonzero(~np.array(inside)).tolist() == hidden
    for axes in figure.axes[:2]:
        box = axes.get_position()
        width, height = box.width * figure.get_figwidth(), box.height * figure.get_figheight()
        assert width / (x1 - x0) == pytest.approx(height / (z1 - z0)), "a metre is as long both ways"
        assert width > 4.5


def test_a_frame_without_objects(calibration: Calibration) -> None:
    image = np.full((*IMAGE_SIZE, 3), 90, np.uint8)
    nothing = np.zeros((0, 4), np.float32)
    frame = FlippedFrame(image, calibration, Objects.empty(), np.zeros(0, np.str_), {"u": nothing, "u'": nothing}, {})
    assert legend_of(flips_figure("empty", frame))[0] == "found by both: 0"


def test_fates_that_are_none(calibration: Calibration) -> None:
    for fates in (["kept", "found"], ["kept"]):
        with pytest.raises(
            ValueError,
            match=r"fates: found .* expected one of kept, negative flip, positive flip, missed for each of 2",
        ):
            FlippedFrame(
                np.zeros((*IMAGE_SIZE, 3), np.uint8), calibration, make_objects(CARS[:2]), np.array(fates), {}, {}
            )


def curve(values: list[float], spread: float = 0.1) -> DepthCurve:
    estimates = [Estimate(value, Interval(value - spread, value + spread)) for value in values]
    return DepthCurve(np.linspace(0, 10 * len(values), len(values) + 1), estimates)


def test_curves_stand_in_the_middle_of_their_bins_with_their_bands() -> None:
    panels = {
        "car": {"u": curve([0.9, np.nan, 0.5, 0.4]), "u'": curve([0.8, 0.7, 0.6, 0.3], 0.2)},
        "near": {"y": curve([0.95, 0.5])},
    }
    figure = depth_curve_figure(panels, "recall", 1.0)
    car, near = figure.axes
    u, u_prime = car.lines
    assert np.asarray(u.get_xdata()).tolist() == [5, 15, 25, 35]
    np.testing.assert_array_equal(np.asarray(u.get_ydata()), [0.9, np.nan, 0.5, 0.4])
    assert (u.get_color(), u_prime.get_color()) == (THEME["u"][0], THEME["u-prime"][0])
    assert near.lines[0].get_color() == THEME["y"][0]
    band = car.collections[1].get_paths()[0].get_extents()
    assert band.y0 == pytest.approx(0.1) and band.y1 == pytest.approx(1.0)
    assert car.get_xlim() == (0, 40) and near.get_xlim() == (0, 20) and car.get_ylim() == near.get_ylim() == (0, 1)
    assert legend_of(figure) == ["u", "u'", "y"]


def test_the_scale_holds_every_value_and_band() -> None:
    figure = depth_curve_figure({"a": {"u": curve([3.0, 1.0], 2.0)}, "b": {"u": curve([1.0, np.nan])}}, "MAE (px)")
    for axes in figure.axes:
        assert axes.get_ylim() == pytest.approx((0, 5.3))
    empty = depth_curve_figure({"a": {"u": curve([np.nan, np.nan])}}, "MAE (px)")
    assert empty.axes[0].get_ylim() == (0, 1)


def test_a_band_of_another_length() -> None:
    with pytest.raises(ValueError, match=r"estimates: found 3, expected 2, one a bin"):
        DepthCurve(np.arange(3.0), [Estimate(0.0)] * 3)
