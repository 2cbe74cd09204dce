"""What a page holds of a scene: points to the centimetre, thinned the same way each time, boxes, their pictures."""

import base64
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pseudolidar.kitti import Calibration, Objects, box3d_corners
from pseudolidar.viewing.report import Report, Scenes, Section, render_report
from pseudolidar.viewing.scene import MAX_POINTS, Scene, scene_data, scene_stills, thinned
from tests.viewing.conftest import IMAGE_SIZE, make_objects

CAR = [2.0, 1.6, 14.0, 1.5, 1.6, 3.9, 0.3]


def make_scene(calibration: Calibration, name: str = "000007", truth: Objects | None = None) -> Scene:
    """A wall at 12 m as u has it and at 20 m as y has it, a label and a detection on u."""
    rows, columns = np.mgrid[: IMAGE_SIZE[0], : IMAGE_SIZE[1]]
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=1)
    clouds = {}
    for source, depth in (("u", 12.0), ("y", 20.0)):
        wall = calibration.image_to_rect(pixels, np.full(len(pixels), depth))
        clouds[source] = np.insert(calibration.rect_to_velodyne(wall), 3, 1.0, axis=1).astype(np.float32)
    photo = np.random.default_rng(3).integers(0, 255, (*IMAGE_SIZE, 3)).astype(np.uint8)
    found = make_objects([[-3.0, 1.6, 10.0, 1.5, 1.6, 3.9, 0.0]], scores=[0.8])
    return Scene(
        name=name,
        image=photo,
        calibration=calibration,
        truth=make_objects([CAR]) if truth is None else truth,
        clouds=clouds,
        disparities={"u": np.full(IMAGE_SIZE, 11.0, np.float32)},
        found={"P-RCNN": {"u": found, "u'": found, "y": found}},
    )


def _points_m(cloud: dict[str, str]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(cloud["points"]), "<i2").reshape(-1, 3) / 100


def test_points_and_boxes_to_the_centimetre(calibration: Calibration) -> None:
    scene = make_scene(calibration)
    data = json.loads(scene_data(scene))
    for source, depth in (("u", 12.0), ("y", 20.0)):
        cloud = data["clouds"][source]
        assert cloud["all"] == IMAGE_SIZE[0] * IMAGE_SIZE[1] and cloud["shown"] == MAX_POINTS
        points = _points_m(cloud)
        assert points.shape == (MAX_POINTS, 3)
        np.testing.assert_allclose(points[:, 2], depth, atol=0.0051)
        pixels, _ = calibration.rect_to_image(points)
        to_image = np.array(data["to_image"]).reshape(4, 4).T
        shown = np.insert(points, 3, 1.0, axis=1) @ to_image.T
        fractions = (pixels + 0.5) / np.array(IMAGE_SIZE[::-1])
        np.testing.assert_allclose(shown[:, :2] / shown[:, 3:], fractions, atol=1e-4)
    labels = data["boxes"][0]
    assert labels["name"] == "labels" and labels["detector"] is None
    np.testing.assert_allclose(np.array(labels["corners_cm"]) / 100, box3d_corners(np.array(CAR)), atol=0.0051)
    assert [(boxes["name"], boxes["shown"]) for boxes in data["boxes"][1:]] == [("u", True), ("u'", True), ("y", False)]


def test_boxes_without_three_dimensions_are_left_out(calibration: Calibration) -> None:
    truth = make_objects([CAR, [-1000.0, -1000, -1000, -1, -1, -1, -10]])
    assert len(json.loads(scene_data(make_scene(calibration, truth=truth)))["boxes"][0]["corners_cm"]) == 1


@given(
    st.integers(0, 300).map(lambda count: np.random.default_rng(count).normal(0, 20, (count, 3))), st.integers(1, 200)
)
def test_thinning_keeps_so_many_in_their_order_and_the_same_again(points: np.ndarray, most: int) -> None:
    kept = thinned(points, most)
    assert len(kept) == min(most, len(points))
    places = [int(np.flatnonzero((points == point).all(axis=1))[0]) for point in kept]
    assert places == sorted(set(places))
    np.testing.assert_array_equal(kept, thinned(points, most))


def test_thinning_keeps_far_points_rather_than_near_ones() -> None:
    points = np.zeros((10_000, 3))
    points[:, 2] = np.where(np.arange(10_000) % 2, 10.0, 40.0)
    kept = thinned(points, 1000)[:, 2]
    # Four times the weight; a draw without replacement of a tenth stays near it.
    assert (kept == 40).sum() / (kept == 10).sum() == pytest.approx(4, rel=0.2)


def test_the_pictures_below_hold_the_boxes_where_the_image_has_them(calibration: Calibration) -> None:
    stills = scene_stills(make_scene(calibration))
    boxes, path = stills.paths[0]
    places = np.array(re.findall(r"[ML]([\d.]+) ([\d.]+)", path), float)
    pixels, _ = calibration.rect_to_image(box3d_corners(np.array(CAR))[0])
    assert boxes.name == "labels" and len(places) == 24
    np.testing.assert_allclose(places.min(axis=0), pixels.min(axis=0) + 0.5, atol=0.051)
    np.testing.assert_allclose(places.max(axis=0), pixels.max(axis=0) + 0.5, atol=0.051)
    assert list(stills.disparities) == ["u"]


def test_a_page_runs_its_own_script_alone_and_escapes_names(calibration: Calibration) -> None:
    scene = make_scene(calibration, name="</script><script>alert(1)</script>")
    report = Report("t", "", (Section("s", (Scenes((scene,), "Scenes <b>."),)),))
    page = render_report(report)
    assert page.count("<script") == 2 and page.count("</script") == 2, "the data and the script"
    assert "script-src 'sha256-" in page and "unsafe-eval" not in page and "http" not in page.replace("http-equiv", "")
    assert render_report(report) == page
