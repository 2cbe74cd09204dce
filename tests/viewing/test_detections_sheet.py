"""The sheet of one frame's detections: labels keep apart, boxes land where they are, any camera fits."""

import hypothesis.strategies as st
import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from matplotlib.figure import Figure

from pseudolidar.kitti import Calibration, Objects
from pseudolidar.viewing import Detections, detections_figure, figure_to_rgb
from pseudolidar.viewing.colours import CLASS_COLOURS, TRUTH
from pseudolidar.viewing.labels import place_labels
from tests.viewing.conftest import IMAGE_SIZE, make_objects

BOUNDS = (10.0, 20.0, 400.0, 200.0)
NONE = np.zeros((0, 4))
TAKEN = np.array([[50.0, 50.0, 90.0, 65.0]])
CLOUD = (np.random.default_rng(0).random((500, 4)) * [30, 10, 1, 0] + [5, -5, -1.5, 1]).astype(np.float32)


def texts_of(figure: Figure, panel: int) -> list[str]:
    return [text.get_text() for text in figure.axes[panel].texts]


def sheet(calibration: Calibration, objects: Objects, size: tuple[int, int] = IMAGE_SIZE) -> Detections:
    image = np.full((*size, 3), 90, np.uint8)
    return Detections(image, calibration, objects, None, {}, CLOUD)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(*[st.floats(-100, 500)] * 2, *[st.floats(0, 300)] * 2), max_size=12),
    st.floats(5, 120),
    st.floats(5, 30),
)
def test_labels_stay_inside_and_apart(
    boxes: list[tuple[float, float, float, float]], width: float, height: float
) -> None:
    corners = np.array([[x, y, x + w, y + h] for x, y, w, h in boxes]).reshape(-1, 4)
    places = place_labels(corners, np.tile([width, height], (len(corners), 1)), BOUNDS, TAKEN)
    placed = places[np.isfinite(places).all(axis=1)]
    assert (placed >= BOUNDS[:2]).all() and (placed + np.array([width, height]) <= np.array(BOUNDS[2:]) + 1e-9).all()
    rectangles = np.concatenate([np.concatenate([placed, placed + np.array([width, height])], axis=1), TAKEN])
    for i, first in enumerate(rectangles):
        for second in rectangles[i + 1 :]:
            low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
            assert (high - low).min() <= 1e-9


def test_the_first_label_has_the_best_place_and_others_make_room() -> None:
    boxes = np.array([[100.0, 100, 140, 120], [100, 100, 140, 120], [100, 122, 140, 150]])
    places = place_labels(boxes, np.tile([30.0, 10.0], (3, 1)), BOUNDS, NONE)
    # Above the first box lies the third one, below it nothing.
    np.testing.assert_allclose(places[0], [105, 88])
    assert np.isfinite(places).all() and not np.allclose(places[1], places[0])
    tiny = place_labels(boxes[:1], np.array([[500.0, 10.0]]), BOUNDS, NONE)
    assert np.isnan(tiny).all(), "wider than the picture"


def test_boxes_and_scores_are_in_both_panels(calibration: Calibration) -> None:
    found = make_objects(
        [[2.0, 1.6, 20.0, 1.5, 1.6, 3.9, -np.pi / 2], [-3.0, 1.6, 12.0, 1.7, 0.6, 0.8, 0.0]], scores=[-0.25, -1.5]
    )
    found = Objects(
        np.array(["Car", "Pedestrian"]), found.truncation, found.occlusion, found.alpha, found.box2d, found.box3d,
        found.score,
    )  # fmt: skip
    behind = make_objects([[0.0, 1.6, -20.0, 1.5, 1.6, 3.9, 0.0]], scores=[-0.5])
    figure = detections_figure(
        "000001", ["$a$ line", "x" * 400], sheet(calibration, Objects.concatenate([found, behind])), 40
    )
    assert sorted(texts_of(figure, 0)) == ["Car −0.25", "Pedestrian −1.50"]
    assert {"−0.25", "−1.50", "10 m", "30 m"} <= {*texts_of(figure, 1)} and "−0.50" not in texts_of(figure, 1)
    legend = figure.axes[2].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["Car: 2", "Pedestrian: 1", "edge of the view"]
    panel = figure.axes[1]
    corners = np.array([[2 - 0.8, 20 - 1.95], [2 + 0.8, 20 + 1.95]])
    extents = [patch.get_path().get_extents().get_points() for patch in panel.patches]
    assert any(np.allclose(extent, corners) for extent in extents), "x to the right, z ahead, metres"
    # A metre is as long both ways.
    width, height = panel.bbox.width, panel.bbox.height
    assert width / np.ptp(panel.get_xlim()) == pytest.approx(height / np.ptp(panel.get_ylim()))
    drawn = figure_to_rgb(figure)
    for colour in (CLASS_COLOURS["Car"], CLASS_COLOURS["Pedestrian"]):
        wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
        assert (np.abs(drawn.astype(int) - wanted).max(axis=2) < 12).sum() > 200


def test_no_two_texts_of_a_crowd_overlap(calibration: Calibration) -> None:
    rng = np.random.default_rng(1)
    boxes = [[x, 1.6, z, 1.7, 0.6, 0.8, 0.3] for x, z in rng.uniform([-4, 8], [4, 24], (40, 2))]
    found = make_objects(boxes, scores=rng.uniform(-3, 0, 40).tolist(), class_name="Pedestrian")
    figure = detections_figure("crowd", [], sheet(calibration, found), 40)
    figure_to_rgb(figure)
    for panel in figure.axes[:2]:
        extents = [matplotlib.text.Text.get_window_extent(t) for t in panel.texts]
        assert len(extents) > 12
        for i, first in enumerate(extents):
            assert not any(first.overlaps(second) for second in extents[i + 1 :])
            assert panel.bbox.x0 <= first.x0 and first.x1 <= panel.bbox.x1


def test_labels_are_dashed_and_without_scores(calibration: Calibration) -> None:
    truth = make_objects([[2.0, 1.6, 20.0, 1.5, 1.6, 3.9, 0.4], [-1000, -1000, -1000, -1, -1, -1, -10]])
    plain = sheet(calibration, Objects.empty(scored=True))
    with_truth = Detections(plain.image, calibration, plain.objects, truth, {"Car": truth.box2d[:1]}, CLOUD)
    figure = detections_figure("000001", [], with_truth, 40)
    assert texts_of(figure, 0) == []
    legend = figure.axes[2].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()][:3] == ["Car: 0", "thin: 2D boxes", "ground truth: 1"]
    wanted = np.array([int(TRUTH[i : i + 2], 16) for i in (1, 3, 5)])
    assert (np.abs(figure_to_rgb(figure).astype(int) - wanted).max(axis=2) < 12).sum() > 200


@pytest.mark.parametrize("size", [(128, 416), (375, 1242), (480, 640), (1200, 900), (97, 301)])
def test_any_camera_fits_and_every_film_can_hold_it(calibration: Calibration, size: tuple[int, int]) -> None:
    P2 = calibration.P2 * [[size[1] / 416], [size[0] / 128], [1.0]]
    P3 = P2 - np.eye(3, 4, 3) * P2[0, 0] * 0.5
    camera = Calibration(P2, P3, np.eye(3), calibration.Tr_velo_to_cam)
    figure = detections_figure("frame", ["a line"], sheet(camera, Objects.empty(scored=True), size), 40)
    image, above = figure.axes[0].bbox, figure.axes[1].bbox
    assert image.width / image.height == pytest.approx(size[1] / size[0])
    beside = above.x0 >= image.x1
    assert beside == (size[1] < 1.9 * size[0]) and (beside or above.y1 <= image.y0)
    drawn = figure_to_rgb(figure, 96)
    assert drawn.shape[1] == 960
    height_px = float(figure.get_size_inches()[1]) * 192
    assert round(height_px) % 2 == 0 and height_px == pytest.approx(round(height_px))


def test_nothing_found_and_no_points(calibration: Calibration) -> None:
    empty = Detections(
        np.zeros((*IMAGE_SIZE, 3), np.uint8), calibration, Objects.empty(scored=True), Objects.empty(), {},
        np.zeros((0, 4), np.float32),
    )  # fmt: skip
    assert figure_to_rgb(detections_figure("frame", [], empty, 100.0), 50).std() > 0
