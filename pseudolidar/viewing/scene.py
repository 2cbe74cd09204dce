"""Scenes that a reader can turn: a frame's image, disparity maps, clouds and boxes, drawn by a page's own WebGL."""

import base64
import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.colors import to_hex
from numpy.typing import NDArray
from PIL import Image

from pseudolidar.kitti import Calibration, Objects, box3d_corners
from pseudolidar.viewing.birds_eye import height_scale, visible_points
from pseudolidar.viewing.boxes import solid_objects, visible_edges
from pseudolidar.viewing.colours import GREY_HEIGHTS, TRUTH, source_colours
from pseudolidar.viewing.disparity import colourise_disparity, shown_disparity
from pseudolidar.viewing.embedded import image_url

MAX_POINTS = 16_000
"""Points of a cloud that a page holds; of larger clouds it says how many there were."""
MAX_DEPTH_M = 80.0
"""Points farther ahead are left out."""

_CAMERA_DEPTH_M = 0.8
_SHOWN_SOURCES = 2


@dataclass(frozen=True, eq=False)
class Scene:
    """One frame to turn.

    Attributes:
        name: of the frame, for its button.
        image: the left image, uint8 (H, W, 3) RGB.
        truth: labels.
        clouds: source (u, u', y) -> points (N, >= 3) in the velodyne frame, m; at least one, the first is shown first.
        disparities: source -> (H, W) px, 0 where unknown; shown with the cloud of the same name.
        found: detector -> source -> results; a reader sees one detector at a time, of the first two sources at first.
    """

    name: str
    image: NDArray[np.uint8]
    calibration: Calibration
    truth: Objects
    clouds: Mapping[str, NDArray[np.floating]]
    disparities: Mapping[str, NDArray[np.floating]]
    found: Mapping[str, Mapping[str, Objects]]

    def boxes(self) -> list["BoxSet"]:
        """The labels, and what each detector found on each source."""
        names = dict.fromkeys(source for results in self.found.values() for source in results)
        colours = source_colours(names, dark=True)
        shown = list(names)[:_SHOWN_SOURCES]
        labels = [BoxSet("labels", None, TRUTH, True, solid_objects(self.truth))] if len(self.truth) else []
        return labels + [
            BoxSet(source, detector, colours[source], source in shown, solid_objects(objects))
            for detector, results in self.found.items()
            for source, objects in results.items()
        ]

    def visible(self, source: str) -> NDArray[np.float64]:
        """The points of a cloud that the left camera sees within `MAX_DEPTH_M`, (N, 3) rectified camera frame, m."""
        size = (self.image.shape[0], self.image.shape[1])
        return visible_points(self.clouds[source], self.calibration, size, MAX_DEPTH_M)[0]


@dataclass(frozen=True, eq=False)
class BoxSet:
    """Objects with a 3D box that are shown and hidden together.

    `detector` is None for labels, `shown` whether they are at first.
    """

    name: str
    detector: str | None
    colour: str
    shown: bool
    objects: Objects


@dataclass(frozen=True)
class Scenes:
    """A block of a report: one view, and buttons for its frames, clouds and boxes."""

    scenes: tuple[Scene, ...]
    caption: str


def thinned(points: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """At most `most` of the points (N, 3), rectified camera frame, in their order; the same ones each time.

    Drawn without replacement, by weights that grow with the distance (Efraimidis & Spirakis 2006): a pixel's point
    stands for a patch that grows with it, and an even draw would keep little but the road before the camera.
    """
    if len(points) <= most:
        return points
    random = np.random.default_rng(0)
    keys = random.exponential(size=len(points)) / np.linalg.norm(points, axis=1)
    return points[np.sort(np.argpartition(keys, most)[:most])]


def _base64_cm(points_m: NDArray[np.float64]) -> str:
    return base64.b64encode(np.rint(points_m * 100).astype("<i2").tobytes()).decode("ascii")


def scene_data(scene: Scene) -> str:
    """What scenes.js draws of a scene, as JSON: `clouds`, `boxes`, `camera` in the rectified camera frame.

    Points are int16 centimetres in base64, little endian.
    """
    seen = {source: scene.visible(source) for source in scene.clouds}
    kept = {source: thinned(points, MAX_POINTS) for source, points in seen.items()}
    scale = height_scale([-points[:, 1] for points in kept.values()])
    height, width = scene.image.shape[:2]
    corners = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]])
    pyramid = scene.calibration.image_to_rect(np.vstack([corners[:1], corners]), [0.0] + 4 * [_CAMERA_DEPTH_M])
    # To pixels, of which the first has its left upper corner at (0, 0), then to fractions of the image.
    to_fractions = np.array([[1 / width, 0, 0.5 / width], [0, 1 / height, 0.5 / height], [0, 0, 1]])
    to_image = np.insert(to_fractions @ scene.calibration.P2, 2, 0.0, axis=0)
    data: dict[str, Any] = {
        "name": scene.name,
        "to_image": np.round(to_image.T.ravel(), 6).tolist(),
        "heights_m": np.round([scale.vmin, scale.vmax], 3).tolist(),
        "ramp": [to_hex(GREY_HEIGHTS(place)) for place in np.linspace(0, 1, 4)],
        "camera": np.round(pyramid, 3).tolist(),
        "clouds": {
            source: {"shown": len(kept[source]), "all": len(points), "points": _base64_cm(kept[source])}
            for source, points in seen.items()
        },
        "boxes": [
            {
                "name": boxes.name,
                "detector": boxes.detector,
                "colour": boxes.colour,
                "shown": boxes.shown,
                "corners_cm": np.rint(box3d_corners(boxes.objects.box3d) * 100).astype(int).tolist(),
            }
            for boxes in scene.boxes()
        ],
    }
    # A script element ends at the first "</script".
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


@dataclass(frozen=True)
class Stills:
    """A scene without WebGL: the image's URL, its boxes as SVG paths by set, disparity maps' URLs by source."""

    image: str
    size: tuple[int, int]
    paths: tuple[tuple[BoxSet, str], ...]
    disparities: Mapping[str, str]
    max_disparity: float


def scene_stills(scene: Scene) -> Stills:
    """The pictures that stand under the view, and in its place where there is no WebGL."""
    size = (scene.image.shape[0], scene.image.shape[1])
    paths = []
    for boxes in scene.boxes():
        edges = [edge for box in boxes.objects.box3d for edge in visible_edges(box, scene.calibration, size)]
        ends = [[f"{u + 0.5:.1f} {v + 0.5:.1f}" for u, v in edge] for edge in edges]
        paths.append((boxes, "".join(f"M{start}L{end}" for start, end in ends)))
    end = shown_disparity(list(scene.disparities.values()))
    maps = {
        source: image_url(Image.fromarray(colourise_disparity(disparity, end)))
        for source, disparity in scene.disparities.items()
    }
    return Stills(image_url(Image.fromarray(scene.image)), size, tuple(paths), maps, end)


@functools.cache
def script() -> tuple[Markup, str]:
    """scenes.js as an element's text, and its digest for a page's Content-Security-Policy: `sha256-...`."""
    text = files("pseudolidar.viewing").joinpath("scenes.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return Markup(text), f"sha256-{digest}"
