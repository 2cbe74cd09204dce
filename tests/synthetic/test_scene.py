"""Scenes: what the cameras and the labels say about geometry that is known."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import affinity, geometry

from pseudolidar.kitti import Objects
from pseudolidar.synthetic import PRESETS, materials, vehicles
from pseudolidar.synthetic.labels import label, silhouette
from pseudolidar.synthetic.meshes import box
from pseudolidar.synthetic.preset import CAMERA_HEIGHT_M
from pseudolidar.synthetic.scene import Scene, sample_scene
from pseudolidar.synthetic.sensors import Sensor, Tone, View, exposure_of, render, sample_sensors
from pseudolidar.synthetic.street import KERB_HEIGHT_M
from pseudolidar.synthetic.things import Thing, footprints_overlap

MINI = PRESETS["mini"]
CALIBRATION = MINI.calibration()
SIZE = (MINI.height_px, MINI.width_px)


@pytest.fixture(scope="module")
def scenes() -> list[tuple[Scene, View]]:
    found = []
    for seed in range(6):
        scene = sample_scene(np.random.default_rng([9, seed]), MINI)
        found.append((scene, render(scene, CALIBRATION, False, *SIZE)))
    return found


def object_points(thing: Thing, points: np.ndarray) -> np.ndarray:
    offset = points - np.array(thing.position)
    cos, sin = math.cos(thing.ry), math.sin(thing.ry)
    return np.stack(
        [cos * offset[:, 0] - sin * offset[:, 2], offset[:, 1], sin * offset[:, 0] + cos * offset[:, 2]], -1
    )


def car(x: float, z: float, ry: float = 0.0) -> Thing:
    shape = vehicles.SHAPES["hatchback"]
    style = (shape.belt, 0.5, 0.37, 0.3, 1.0, *(shape.cabin or ()), *shape.axles, shape.wheel_height)
    mesh = vehicles.vehicle("hatchback", 1, True)
    return Thing(mesh, (x, CAMERA_HEIGHT_M, z), ry, (3.9, 1.5, 1.6), ((0.4, 0.1, 0.1),) * 3, 3.0, style, "Car")


def wall(x: float, z: float, width: float) -> Thing:
    mesh = box((1, 1, 1), materials.CONCRETE)
    return Thing(mesh, (x, CAMERA_HEIGHT_M, z), 0.0, (width, 3.0, 0.2))


def labelled(scene: Scene, things: list[Thing], scenery: list[Thing]) -> Objects:
    scene = Scene(scene.street, things, scenery, scene.weather)
    return label(scene, CALIBRATION, render(scene, CALIBRATION, False, *SIZE).thing)


def test_full_preset_is_kittis_calibration() -> None:
    calibration = PRESETS["full"].calibration()
    assert calibration.P2[0, 3] == pytest.approx(44.85728) and calibration.P3[0, 3] == pytest.approx(-339.5242)
    assert calibration.baseline_m == pytest.approx(0.5327, abs=1e-4)
    for preset in PRESETS.values():
        assert preset.calibration().baseline_m == pytest.approx(calibration.baseline_m)
        assert preset.calibration().focal_px == pytest.approx(721.5377 * preset.detail)

    assert [PRESETS[name].detail for name in ("half", "full", "highway")] == pytest.approx([624 / 1242, 1, 1])


def test_highway_crops_kittis_image() -> None:
    crop = PRESETS["highway"].calibration()
    assert crop.camera_constant_px_m == pytest.approx(PRESETS["full"].calibration().camera_constant_px_m)
    assert crop.P2[:2, 2] == pytest.approx([609.5593 * 832 / 1242, 172.854 * 192 / 375])


def test_highway_has_vehicles_alone_most_of_them_far() -> None:
    depths = []
    for seed in range(30):
        scene = sample_scene(np.random.default_rng([9, seed]), PRESETS["highway"])
        assert {thing.class_name for thing in scene.labelled} <= {"Car", "Van", "Truck"}
        depths += [thing.position[2] for thing in scene.labelled if thing.class_name == "Car"]
    assert min(depths) > 18 and max(depths) < 82
    assert len(depths) > 30 * 6 and np.percentile(depths, 25) > 30


def test_pixels_of_an_object_lie_in_its_box(scenes: list[tuple[Scene, View]]) -> None:
    inside, total = 0, 0
    for scene, view in scenes:
        v, u = np.nonzero(view.thing >= 0)
        points = CALIBRATION.image_to_rect(np.stack([u, v], -1).astype(float), view.depth[v, u].astype(float))
        for number, thing in enumerate(scene.labelled):
            own = object_points(thing, points[view.thing[v, u] == number])
            length, height, width = thing.size
            within = (np.abs(own[:, 0]) <= length / 2 + 0.02) & (np.abs(own[:, 2]) <= width / 2 + 0.02)
            within &= (own[:, 1] <= 0.02) & (own[:, 1] >= -height - 0.02)
            inside, total = inside + int(within.sum()), total + len(own)
    assert total > 2000
    assert inside / total > 0.99


def test_meshes_fill_their_boxes(scenes: list[tuple[Scene, View]]) -> None:
    for scene, _ in scenes:
        for number, thing in enumerate(scene.labelled):
            own = object_points(thing, scene.corners(number).reshape(-1, 3).astype(float))
            length, height, width = thing.size
            assert own.max(0) == pytest.approx([length / 2, 0, width / 2], abs=2e-3)
            assert own.min(0) == pytest.approx([-length / 2, -height, -width / 2], abs=2e-3)


def test_nothing_stands_in_anything_else(scenes: list[tuple[Scene, View]]) -> None:
    for scene, _ in scenes:
        seats = {number for number, thing in enumerate(scene.labelled) if thing.class_name == "Person_sitting"}
        for number, row in enumerate(scene.blockers):
            others = np.array(
                [other for index, other in enumerate(scene.blockers) if index != number and index not in seats]
            )
            if number not in seats and len(others):
                assert not footprints_overlap(others, len(others), row)


def test_everything_stands_on_the_slope(scenes: list[tuple[Scene, View]]) -> None:
    slopes = []
    for scene, _ in scenes:
        bare = Scene(scene.street, [], [], scene.weather)
        for thing in scene.labelled:
            x, y, z = thing.position
            down = np.array([[0.0, 1.0, 0.0]], np.float32)
            hits = bare.trace(np.array([x, y - 1.0, z]), down, shadows=False)
            # On the carriageway, or on it across a kerb that is a step lower or higher.
            assert hits.prims[0] >= 0 and abs(float(hits.distance[0]) - 1.0) < KERB_HEIGHT_M + 0.01
        slopes.append(abs(scene.street.rise(0.0, 30.0) - scene.street.rise(0.0, 0.0)))
    assert max(slopes) > 0.1


def test_cameras_expose_from_dark_to_bright(scenes: list[tuple[Scene, View]]) -> None:
    view, middles = scenes[0][1], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        left, right = sample_sensors(rng)
        assert left.tone == right.tone
        pictures = [sensor.expose(view.colours, exposure_of(view), rng) for sensor in (left, right)]
        middles.append(np.median(pictures[0]))
        assert abs(pictures[0].astype(float).mean() - pictures[1].mean()) < 25
    assert min(middles) < 80 and max(middles) > 140


def difference(pictures: list[np.ndarray], disparities: list[np.ndarray], shift: float) -> np.ndarray:
    """How far the right picture, warped by the left disparity plus shift, is from the left one where both see."""
    left = disparities[0]
    v, u = np.indices(SIZE, dtype=np.float32)
    warped = cv2.remap(pictures[1], u - left - np.float32(shift), v, cv2.INTER_LINEAR)
    seen = cv2.remap(disparities[1], u - left, v, cv2.INTER_NEAREST)
    visible = (left > 0) & (u - left > 2) & (np.abs(seen - left) < 0.15)
    assert visible.mean() > 0.4
    return np.abs(warped - pictures[0]).mean(-1)[visible]


def test_exact_disparity_rebuilds_the_left_picture_from_the_right(scenes: list[tuple[Scene, View]]) -> None:
    sensor = Sensor(Tone(0.26, 0.45, 1.0, 0.5), (1.0, 1.0, 1.0), 0.0, 0.0)
    for scene, left in scenes[:3]:
        views = left, render(scene, CALIBRATION, True, *SIZE)
        pictures = [sensor.expose(view.colours, 4.0, np.random.default_rng(0)).astype(np.float32) for view in views]
        disparities = [
            CALIBRATION.camera_constant_px_m / np.where(view.depth > 0, view.depth, np.inf) for view in views
        ]
        disparities = [disparity.astype(np.float32) for disparity in disparities]
        right_place, wrong_place = difference(pictures, disparities, 0.0), difference(pictures, disparities, 1.5)
        assert np.median(right_place) < 3.0
        assert (right_place < 12).mean() > 0.85
        assert right_place.mean() < 0.6 * wrong_place.mean()


def test_silhouettes_agree_with_rays_against_the_object_alone(scenes: list[tuple[Scene, View]]) -> None:
    weather = scenes[0][0].weather
    street = replace(scenes[0][0].street, half_left=40.0, half_right=40.0)  # no kerb hides a tyre
    for thing in (car(-3.0, 12.0, 0.7), car(4.0, 9.0, -1.5), car(-5.0, 6.0, 1.2)):
        alone = Scene(street, [thing], [], weather)
        by_rays = render(alone, CALIBRATION, False, *SIZE).thing == 0
        pixels, _ = CALIBRATION.rect_to_image(alone.corners(0).reshape(-1, 3).astype(float))
        stamp = np.full(SIZE, -1, np.int32)
        assert silhouette(pixels.reshape(-1, 3, 2), stamp, 0) == (stamp == 0).sum()
        assert by_rays.sum() > 300
        assert (by_rays != (stamp == 0)).sum() <= 0.01 * by_rays.sum() + 2


@pytest.mark.parametrize(("shift", "level"), [(3.9, 0), (2.6, 1), (1.2, 2), (0.27, 3)])
def test_occlusion_follows_the_visible_share(scenes: list[tuple[Scene, View]], shift: float, level: int) -> None:
    scene, _ = scenes[0]
    # A car across the view, 3.9 m wide, 16 m away; a wall 8 m away hides all of it but the rightmost part.
    hidden_to = (-1.95 + 3.9 - shift) * 8 / 15.2
    found = labelled(scene, [car(0.0, 16.0)], [wall(hidden_to - 3.0, 8.0, 6.0)])
    assert found.occlusion.tolist() == [level]
    whole = labelled(scene, [car(0.0, 16.0)], [])
    assert found.box2d == pytest.approx(whole.box2d)  # the box holds the hidden part too


def test_hidden_objects_have_no_label_and_far_ones_are_dont_care(scenes: list[tuple[Scene, View]]) -> None:
    scene, _ = scenes[0]
    found = labelled(scene, [car(0.0, 16.0), car(-35.0, 90.0)], [wall(4.0, 8.0, 12.0)])
    assert found.class_name.tolist() == ["DontCare"]
    assert len(labelled(scene, [], [])) == 0


def test_truncation_is_the_share_outside_of_the_image(scenes: list[tuple[Scene, View]]) -> None:
    scene, _ = scenes[0]
    edge = CALIBRATION.image_to_rect(np.array([[0.0, 60.0]]), np.array([8.0]))[0, 0]
    found = labelled(scene, [car(edge, 8.0, math.pi / 2)], [])
    assert found.truncation[0] == pytest.approx(0.5, abs=0.12)
    assert found.box2d[0, 0] == 0


def test_boxes_are_tight_about_visible_objects(scenes: list[tuple[Scene, View]]) -> None:
    checked = 0
    for scene, view in scenes:
        found = label(scene, CALIBRATION, view.thing)
        for index in np.flatnonzero((found.occlusion == 0) & (found.truncation < 0.01)):
            place = found.box3d[index, :3]
            number = next(n for n, thing in enumerate(scene.labelled) if np.allclose(thing.position, place))
            v, u = np.nonzero(view.thing == number)
            x1, y1, x2, y2 = found.box2d[index]
            assert u.min() >= x1 - 0.01 and u.max() <= x2 + 0.01 and v.min() >= y1 - 0.01 and v.max() <= y2 + 0.01
            checked += np.allclose([u.min(), v.min(), u.max(), v.max()], [x1, y1, x2, y2], atol=1.6)
    assert checked >= 6


@settings(deadline=None, max_examples=30)
@given(
    ry=st.floats(-math.pi, math.pi), other=st.floats(-math.pi, math.pi), gap=st.floats(-1.0, 1.0), way=st.floats(-3, 3)
)
def test_footprints_overlap_as_polygons_do(ry: float, other: float, gap: float, way: float) -> None:
    def polygon(row: np.ndarray) -> geometry.Polygon:
        flat = geometry.box(-row[2] / 2, -row[3] / 2, row[2] / 2, row[3] / 2)
        return affinity.translate(affinity.rotate(flat, -math.degrees(row[4]), origin=(0, 0)), row[0], row[1])

    first = np.array([0.0, 0.0, 4.0, 1.6, ry])
    second = np.array([math.cos(way) * (2.5 + gap), math.sin(way) * (2.5 + gap), 3.0, 2.0, other])
    common = polygon(first).intersection(polygon(second)).area
    if common > 1e-6 or polygon(first).distance(polygon(second)) > 1e-6:
        assert footprints_overlap(first[None], 1, second) == (common > 0)
