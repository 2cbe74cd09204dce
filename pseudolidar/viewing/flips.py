"""One frame's objects by what became of them when a version was replaced: the image, and both clouds around them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray

from pseudolidar.kitti import Calibration, Objects, box3d_corners
from pseudolidar.viewing.birds_eye import heights_image, visible_points
from pseudolidar.viewing.boxes import draw_boxes3d, enlarge, solid_objects
from pseudolidar.viewing.canvas import PAGE_WIDTH_IN, axes_at, drawing_style, new_figure, picture_axes
from pseudolidar.viewing.colours import DETECTION, GREY_HEIGHTS, MUTED

FATE_COLOURS = {"kept": "#2fe0a0", "negative flip": "#ffb000", "positive flip": "#78a5ff", "missed": "#aab2bc"}
"""Found by both versions, by the one before only, by the one after only, by neither: green, amber, blue, grey, which
stay apart for the colour-blind; the lines of the last are dashed from above."""

_MEANINGS = {"kept": "found by both", "missed": "found by neither"}
_GROUND = "#0f1318"
_GRID = "#333b46"
_DRAWN_WIDTH_PX = 1200
_CELLS_PER_INCH = 60
_TITLE_IN = 0.3
_MARGIN_IN = 0.45
_GAP_IN = 0.14
_LEGEND_IN = 0.62
_MAX_HEIGHT_IN = 4.6
_AROUND_M = 3.5
_LEAST_M = 16.0


@dataclass(frozen=True, eq=False)
class FlippedFrame:
    """What the picture shows of one frame.

    Attributes:
        image: the left image, uint8 (H, W, 3) RGB.
        calibration: of the frame.
        truth: the N labels that count.
        fates: (N,) kept, negative flip, positive flip or missed.
        clouds: the two versions, the one before first -> points (M, >= 3) in the velodyne frame, m.
        detections: version -> what it found, with scores; the caller leaves out what lies below its threshold.
    """

    image: NDArray[np.uint8]
    calibration: Calibration
    truth: Objects
    fates: NDArray[np.str_]
    clouds: Mapping[str, NDArray[np.floating]]
    detections: Mapping[str, Objects]

    def __post_init__(self) -> None:
        if self.fates.shape != (len(self.truth),) or not set(self.fates.tolist()) <= set(FATE_COLOURS):
            expected = f"one of {', '.join(FATE_COLOURS)} for each of {len(self.truth)} objects"
            raise ValueError(f"fates: found {self.fates.tolist()}, expected {expected}")


def flips_figure(title: str, frame: FlippedFrame) -> Figure:
    """The left image with the labels in the colours of their fates; below it each version's cloud from above.

    The clouds are cut to what lies around the objects that only one version found (without such, around all objects).

    Args:
        title: stands over the image.
        frame: what is drawn.

    Returns:
        A figure 10 inches wide.
    """
    large, scaled = enlarge(frame.image, frame.calibration, _DRAWN_WIDTH_PX)
    for fate in reversed(FATE_COLOURS):
        large = draw_boxes3d(large, frame.truth[frame.fates == fate], scaled, FATE_COLOURS[fate])
    picture_in = PAGE_WIDTH_IN * large.shape[0] / large.shape[1]
    panels = len(frame.clouds)
    width = (PAGE_WIDTH_IN - _MARGIN_IN - (panels - 1) * _GAP_IN) / max(panels, 1)
    window = _window(frame, width / _MAX_HEIGHT_IN)
    x0, x1, z0, z1 = window
    height = width * (z1 - z0) / (x1 - x0)
    top = _TITLE_IN + picture_in + _TITLE_IN
    size = (frame.image.shape[0], frame.image.shape[1])
    seen = {name: visible_points(points, frame.calibration, size, z1) for name, points in frame.clouds.items()}
    norm = _height_scale([_inside(points, heights, window)[1] for points, heights in seen.values()])
    with drawing_style():
        figure = new_figure(PAGE_WIDTH_IN, top + height + _LEGEND_IN)
        picture_axes(figure, large, title, 0.0, _TITLE_IN, PAGE_WIDTH_IN)
        for i, (name, (points, heights)) in enumerate(seen.items()):
            axes = axes_at(figure, _MARGIN_IN + i * (width + _GAP_IN), top, width, height)
            _draw_cloud(axes, *_inside(points, heights, window), window, width * _CELLS_PER_INCH / (x1 - x0), norm)
            for fate in reversed(FATE_COLOURS):
                _draw_truth(axes, frame.truth[frame.fates == fate], fate)
            _draw_detections(axes, frame.detections.get(name, Objects.empty(scored=True)), window)
            axes.set_title(name)
            if i == 0:
                axes.set_ylabel("ahead of the camera (m)")
            else:
                axes.tick_params(labelleft=False)
        _draw_legend(figure, frame.fates, top + height + 0.32)
    return figure


def _window(frame: FlippedFrame, least_aspect: float) -> tuple[float, float, float, float]:
    """x0, x1, z0, z1 in m, rectified camera frame: what the panels show, at least so wide for its depth."""
    flipped = frame.truth[np.isin(frame.fates, ["negative flip", "positive flip"])]
    boxes = solid_objects(flipped if len(flipped) else frame.truth).box3d
    if not len(boxes):
        return (-_LEAST_M / 2, _LEAST_M / 2, 0.0, _LEAST_M / least_aspect)
    ground = box3d_corners(boxes)[:, :4, ::2].reshape(-1, 2)
    low, high = ground.min(axis=0) - _AROUND_M, ground.max(axis=0) + _AROUND_M
    short = np.maximum(np.array([_LEAST_M, 0.75 * _LEAST_M]) - (high - low), 0.0) / 2
    low, high = low - short, high + short
    # Objects far apart along the road: the panels keep the page's width.
    wider = max(0.0, least_aspect * (high[1] - low[1]) - (high[0] - low[0])) / 2
    return float(low[0] - wider), float(high[0] + wider), float(low[1]), float(high[1])


def _inside(
    points_rect: NDArray[np.float64], heights: NDArray[np.float64], window: tuple[float, float, float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x0, x1, z0, z1 = window
    x, z = points_rect[:, 0], points_rect[:, 2]
    inside = (x >= x0) & (x <= x1) & (z >= z0) & (z <= z1)
    return points_rect[inside], heights[inside]


def _height_scale(heights: list[NDArray[np.float64]]) -> Normalize:
    every = np.concatenate([np.zeros(0), *heights])
    low, high = np.quantile(every, [0.01, 0.99]) if every.size else (-2.0, 1.0)
    return Normalize(low, max(high, low + 0.5))


def _draw_cloud(
    axes: Axes,
    points_rect: NDArray[np.float64],
    heights: NDArray[np.float64],
    window: tuple[float, float, float, float],
    cells_per_m: float,
    norm: Normalize,
) -> None:
    x0, x1, z0, z1 = window
    axes.set_facecolor(_GROUND)
    shifted = points_rect - np.array([(x0 + x1) / 2, 0.0, z0])
    axes.imshow(
        heights_image(shifted, heights, (x1 - x0) / 2, z1 - z0, cells_per_m),
        extent=(x0, x1, z0, z1),
        cmap=GREY_HEIGHTS,
        norm=norm,
        interpolation="nearest",
        aspect="auto",
        zorder=2,
    )
    axes.grid(color=_GRID, linewidth=0.5, zorder=1)
    axes.set_xlim(x0, x1)
    axes.set_ylim(z0, z1)
    axes.tick_params(length=0, pad=3)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_truth(axes: Axes, objects: Objects, fate: str) -> None:
    for corners in _footprints(objects):
        axes.add_patch(
            Polygon(
                corners,
                facecolor=(FATE_COLOURS[fate], 0.0 if fate == "missed" else 0.22),
                edgecolor=FATE_COLOURS[fate],
                linewidth=1.6,
                linestyle="--" if fate == "missed" else "-",
                zorder=4,
            )
        )


def _draw_detections(axes: Axes, objects: Objects, window: tuple[float, float, float, float]) -> None:
    objects = solid_objects(objects)
    assert objects.score is not None
    x0, x1, z0, z1 = window
    for corners, score in zip(_footprints(objects), objects.score, strict=True):
        axes.add_patch(Polygon(corners, facecolor="none", edgecolor=DETECTION, linewidth=1.1, zorder=5))
        centre, front = corners.mean(axis=0), corners[:2].mean(axis=0)
        axes.plot(*np.stack([centre, front]).T, color=DETECTION, linewidth=1.1, zorder=5, solid_capstyle="butt")
        if x0 < centre[0] < x1 and z0 < centre[1] < z1:
            axes.annotate(
                f"{score:.2f}".replace("-", "\N{MINUS SIGN}"),
                (corners[:, 0].max(), centre[1]),
                xytext=(2.5, 0),
                textcoords="offset points",
                fontsize=7,
                color=DETECTION,
                va="center",
                path_effects=[Stroke(linewidth=1.6, foreground=_GROUND), Normal()],
                clip_on=True,
                zorder=6,
            )


def _footprints(objects: Objects) -> NDArray[np.float64]:
    """(N, 4, 2) x and z, the front side first."""
    return box3d_corners(solid_objects(objects).box3d)[:, :4, ::2]


def _draw_legend(figure: Figure, fates: NDArray[np.str_], top_in: float) -> None:
    axes = axes_at(figure, _MARGIN_IN, top_in, PAGE_WIDTH_IN - _MARGIN_IN, 0.2)
    axes.set_axis_off()
    # The outline shows light colours on white paper.
    outline = [Stroke(linewidth=3.2, foreground=MUTED), Normal()]
    handles = []
    for fate, colour in FATE_COLOURS.items():
        label = f"{_MEANINGS.get(fate, fate)}: {int((fates == fate).sum())}"
        handles.append(Line2D([], [], color=colour, linewidth=2.4, path_effects=outline, label=label))
    handles.append(Line2D([], [], color=DETECTION, linewidth=1.4, label="detection, line to its front, with its score"))
    axes.legend(handles=handles, loc="upper left", ncols=len(handles), borderaxespad=0, bbox_to_anchor=(0, 1.0))
