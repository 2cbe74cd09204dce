"""One frame's detections on one sheet: the image with boxes, and the cloud with boxes from above."""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Polygon, Rectangle
from matplotlib.patheffects import Normal, Stroke
from matplotlib.text import Text
from numpy.typing import NDArray

from pseudolidar.kitti import Calibration, Objects, box3d_corners, write_image
from pseudolidar.viewing.birds_eye import (
    EDGE_OF_VIEW,
    draw_cloud,
    draw_footprint,
    draw_view,
    height_scale,
    score_text,
    view_edges,
    visible_points,
)
from pseudolidar.viewing.boxes import FRONT_TINT, solid_objects, visible_edges, visible_front
from pseudolidar.viewing.canvas import (
    PAGE_WIDTH_IN,
    SCREEN_DPI,
    axes_at,
    drawing_style,
    figure_to_rgb,
    legend_row,
    new_figure,
)
from pseudolidar.viewing.colours import CLASS_COLOURS, GREY_HEIGHTS, MUTED, OTHER_CLASS, TRUTH
from pseudolidar.viewing.labels import place_labels

_RING = "#46515d"
_MARGIN_IN = 0.15
_GAP_IN = 0.12
_TITLE_IN = 0.3
_LINE_IN = 0.165
_LINE_LETTERS = 150
_LEGEND_IN = 0.3
# Images of a smaller width to height stand beside the cloud, wider ones above it.
_WIDE = 1.9
_BESIDE_FRACTION = 0.56
_ABOVE_HEIGHT_IN = 5.6
_BESIDE_HEIGHT_IN = 5.0
_CELLS_PER_INCH = 110
_DASHES = (0, (4, 2))
_LABEL_SIZE = 7.0


@dataclass(frozen=True, eq=False)
class Detections:
    """One frame's data for a sheet.

    Attributes:
        image: the left image, uint8 (H, W, 3) RGB, of any size.
        objects: results with scores; all of them are drawn.
        truth: labels, drawn dashed; None where there are none.
        boxes2d: class -> (N, 4) left, top, right, bottom px: the input of detectors that start from 2D boxes.
        points: (N, >= 3) velodyne frame, m.
    """

    image: NDArray[np.uint8]
    calibration: Calibration
    objects: Objects
    truth: Objects | None
    boxes2d: Mapping[str, NDArray[np.floating]]
    points: NDArray[np.floating]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the image, px."""
        return self.image.shape[0], self.image.shape[1]


def detections_figure(title: str, lines: Sequence[str], detections: Detections, max_depth: float) -> Figure:
    """The image with 3D boxes (2D ones thinner) and the cloud from above with range rings, 10 inches wide.

    Each class has its colour; every box has its score beside it, if there is room. Sheets of one camera have one size,
    an even number of pixels both ways, so that a drive's pictures make a film. `lines` (models, counts) are smaller,
    below the title; the cloud is shown up to `max_depth`, m.
    """
    lines = [row for line in lines for row in textwrap.wrap(line, _LINE_LETTERS)]
    height_px, width_px = detections.image_size
    aspect = width_px / height_px
    full = PAGE_WIDTH_IN - 2 * _MARGIN_IN
    top = _TITLE_IN + _LINE_IN * len(lines) + 0.08
    is_wide = aspect >= _WIDE
    image_width = full if is_wide else _BESIDE_FRACTION * full
    image_height = image_width / aspect
    if is_wide:
        panel = (_MARGIN_IN, top + image_height + _GAP_IN, full, _ABOVE_HEIGHT_IN)
    else:
        left = _MARGIN_IN + image_width + _GAP_IN
        panel = (left, top, full - image_width - _GAP_IN, max(_BESIDE_HEIGHT_IN, image_height))
    legend_top = panel[1] + panel[3]
    height_in = 2 * round((legend_top + _LEGEND_IN + 0.05) * SCREEN_DPI / 2) / SCREEN_DPI
    with drawing_style():
        figure = new_figure(height_in)
        place: dict[str, Any] = {"x": _MARGIN_IN / PAGE_WIDTH_IN, "va": "baseline"}
        # Names of files are no formulas, even with dollar signs in them.
        figure.text(y=1 - 0.21 / height_in, s=title, fontsize=11, fontweight="bold", parse_math=False, **place)
        for i, line in enumerate(lines):
            y = 1 - (_TITLE_IN + 0.1 + i * _LINE_IN) / height_in
            figure.text(y=y, s=line, fontsize=8, color=MUTED, parse_math=False, **place)
        _draw_image(axes_at(figure, _MARGIN_IN, top, image_width, image_height), detections)
        _draw_from_above(axes_at(figure, *panel), detections, max_depth, panel[2], panel[3])
        legend_row(figure, _legend(detections), _MARGIN_IN, legend_top + 0.06)
    return figure


def write_detections(
    path: str | Path, title: str, lines: Sequence[str], detections: Detections, max_depth: float
) -> None:
    """Write `detections_figure` as an image, see `kitti.write_image`."""
    write_image(path, figure_to_rgb(detections_figure(title, lines, detections, max_depth)))


def _draw_image(axes: Axes, detections: Detections) -> None:
    height, width = detections.image_size
    axes.imshow(detections.image, aspect="auto", interpolation="bicubic")
    axes.set_axis_off()
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    for class_name, boxes in detections.boxes2d.items():
        for left, top, right, bottom in boxes:
            place = (left, top), right - left, bottom - top
            axes.add_patch(Rectangle(*place, fill=False, edgecolor=_colour(class_name), linewidth=0.6))
    if detections.truth is not None:
        for i in _far_to_near(detections.truth):
            edges = _edges(detections, detections.truth.box3d[i])
            lines = LineCollection(list(edges), colors=TRUTH, linewidths=0.9, linestyles=[_DASHES], capstyle="butt")
            axes.add_collection(lines, autolim=False)
    found = detections.objects
    # Lines stay visible on bright parts of a photograph.
    outline = [Stroke(linewidth=1.3 + 1.1, foreground=(0.0, 0.0, 0.0, 0.55)), Normal()]
    for i in _far_to_near(found):
        colour = _colour(found.class_name[i])
        front = visible_front(found.box3d[i], detections.calibration, detections.image_size)
        if len(front) >= 3:
            axes.add_patch(Polygon(front, closed=True, facecolor=(colour, FRONT_TINT), edgecolor="none"))
        edges = _edges(detections, found.box3d[i])
        lines = LineCollection(list(edges), colors=colour, linewidths=1.3, capstyle="round", path_effects=outline)
        axes.add_collection(lines, autolim=False)
    extents = {}
    for i in _best_first(found):
        ends = _edges(detections, found.box3d[i]).reshape(-1, 2)
        if len(ends):
            extents[i] = [*ends.min(axis=0), *ends.max(axis=0)]
    texts = [f"{found.class_name[i]} {_score_text(found, i)}" for i in extents]
    _write_labels(axes, np.array([*extents.values()]).reshape(-1, 4), texts, found.class_name[[*extents]])


def _edges(detections: Detections, box3d: NDArray[np.float64]) -> NDArray[np.float64]:
    return visible_edges(box3d, detections.calibration, detections.image_size)


def _draw_from_above(axes: Axes, detections: Detections, max_depth: float, width_in: float, height_in: float) -> None:
    half_width = width_in / height_in * max_depth / 2
    view = view_edges(detections.calibration, detections.image_size, max_depth)
    seen, heights = visible_points(detections.points, detections.calibration, detections.image_size, max_depth)
    window, cells_per_m = (-half_width, half_width, 0.0, max_depth), _CELLS_PER_INCH * height_in / max_depth
    draw_cloud(axes, seen, heights, window, cells_per_m, GREY_HEIGHTS, height_scale([heights]))
    axes.set_xticks([])
    axes.set_yticks([])
    draw_view(axes, view, zorder=1)
    rings = _draw_rings(axes, view, half_width, max_depth, max_depth / height_in)
    if detections.truth is not None:
        for i in _far_to_near(detections.truth):
            corners = box3d_corners(detections.truth.box3d[i])[0, :4, ::2]
            draw_footprint(axes, corners, TRUTH, linewidth=1.0, linestyle=_DASHES)
    found = detections.objects
    corners_of = box3d_corners(found.box3d)[:, :4, ::2]
    for i in _far_to_near(found):
        draw_footprint(axes, corners_of[i], _colour(found.class_name[i]), fill=0.3, linewidth=1.3)
    extents = np.concatenate([corners_of.min(axis=1), corners_of.max(axis=1)], axis=1)
    shown = (extents[:, 1] < max_depth) & (extents[:, 3] > 0) & (np.abs(corners_of[..., 0]).min(axis=1) < half_width)
    order = [i for i in _best_first(found) if shown[i]]
    _write_labels(axes, extents[order], [_score_text(found, i) for i in order], found.class_name[order], rings)


def _draw_rings(
    axes: Axes, view: NDArray[np.float64], half_width: float, max_depth: float, metres_per_inch: float
) -> list[Text]:
    """Range rings around the camera; returns their labels, beside the view's right edge."""
    step = 5 if max_depth <= 25 else 10 if max_depth <= 80 else 20
    direction = (view[2] - view[1]) / np.linalg.norm(view[2] - view[1])
    beside = np.array([direction[1], -direction[0]])
    gap, room = 0.08 * metres_per_inch, 0.4 * metres_per_inch
    names = []
    for radius in range(step, int(np.hypot(half_width, max_depth)) + 1, step):
        axes.add_patch(Circle(tuple(view[1]), radius, fill=False, edgecolor=_RING, linewidth=0.6, zorder=1.5))
        # Where the edge of the view has left the panel, on the ring near the panel's own edge.
        x, z = view[1] + radius * direction + gap * beside
        if x > half_width - room:
            x = half_width - room
            z = np.sqrt(max(radius**2 - x**2, 0.0)) + gap
        if z < max_depth - gap:
            colour = EDGE_OF_VIEW["color"]
            names.append(axes.text(x, z, f"{radius} m", fontsize=6.5, color=colour, va="center", zorder=3))
    return names


def _write_labels(
    axes: Axes,
    extents: NDArray[np.float64],
    texts: Sequence[str],
    class_names: NDArray[np.str_],
    others: Sequence[Text] = (),
) -> None:
    """Texts beside rectangles (N, 4), two opposite corners in the axes' coordinates, in the colour of their class.

    `others` are texts that are there already.
    """
    if not texts:
        return
    frame = {"boxstyle": "square,pad=0.12", "facecolor": (0.04, 0.05, 0.07, 0.72), "edgecolor": "none"}
    drawn = [
        axes.text(0, 0, text, fontsize=_LABEL_SIZE, color=_colour(name), va="bottom", bbox=frame, zorder=8)
        for text, name in zip(texts, class_names, strict=True)
    ]
    to_pixels = axes.transData
    corners = to_pixels.transform(extents.reshape(-1, 2)).reshape(-1, 2, 2)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    padding = 0.12 * _LABEL_SIZE / 72 * SCREEN_DPI
    own = np.array([_extent_px(text) for text in drawn])
    sizes = own[:, 2:] - own[:, :2] + 2 * padding
    taken = np.array([_extent_px(text) for text in others]).reshape(-1, 4)
    window = axes.bbox
    places = place_labels(boxes, sizes, (window.x0, window.y0, window.x1, window.y1), taken)
    for text, place in zip(drawn, places, strict=True):
        if np.isfinite(place).all():
            text.set_position(tuple(to_pixels.inverted().transform(place + padding)))
        else:
            text.remove()


def _extent_px(text: Text) -> NDArray[np.float64]:
    canvas = text.figure.canvas if text.figure is not None else None
    assert isinstance(canvas, FigureCanvasAgg)
    # Without the frame around it.
    return np.array(Text.get_window_extent(text, canvas.get_renderer()).extents)


def _legend(detections: Detections) -> list[Line2D]:
    counts = Counter(str(name) for name in detections.objects.class_name)
    # The outline shows light colours on white paper.
    outline = [Stroke(linewidth=3.2, foreground=MUTED), Normal()]
    handles = [
        Line2D([], [], color=_colour(name), linewidth=2.4, label=f"{name}: {counts[name]}", path_effects=outline)
        for name in sorted({*counts, *detections.boxes2d})
    ]
    if any(len(boxes) for boxes in detections.boxes2d.values()):
        handles.append(Line2D([], [], color=MUTED, linewidth=0.7, label="thin: 2D boxes"))
    if detections.truth is not None:
        number = len(solid_objects(detections.truth))
        handles.append(Line2D([], [], color=TRUTH, linewidth=1.2, linestyle=_DASHES, label=f"ground truth: {number}"))
    return [*handles, Line2D([], [], **EDGE_OF_VIEW | {"linewidth": 1.0}, label="edge of the view")]


def _colour(class_name: str) -> str:
    return CLASS_COLOURS.get(str(class_name), OTHER_CLASS)


def _far_to_near(objects: Objects) -> list[int]:
    """Indices of the objects with a 3D box, so that near ones lie on top."""
    solid = np.flatnonzero((objects.box3d[:, 3:6] > 0).all(axis=1))
    return [int(i) for i in solid[np.argsort(-objects.box3d[solid, 2], kind="stable")]]


def _best_first(objects: Objects) -> list[int]:
    order = _far_to_near(objects)
    score = objects.score
    return order if score is None else sorted(order, key=lambda i: -score[i])


def _score_text(objects: Objects, index: int) -> str:
    return "" if objects.score is None else score_text(objects.score[index])
