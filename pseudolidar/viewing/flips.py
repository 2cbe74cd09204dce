"""One frame's objects by their fate when a version is replaced: the image, and both clouds around them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray

from pseudolidar.kitti import Calibration, Objects
from pseudolidar.viewing.birds_eye import Window, draw_cloud, draw_footprint, footprints, height_scale, visible_points
from pseudolidar.viewing.boxes import draw_boxes3d, enlarge, solid_objects
from pseudolidar.viewing.canvas import PAGE_WIDTH_IN, Grid, axes_at, drawing_style, legend_row, show_picture
from pseudolidar.viewing.colours import DETECTION, GREY_HEIGHTS, MUTED

FATE_COLOURS = {"kept": "#2fe0a0", "negative flip": "#ffb000", "positive flip": "#78a5ff", "missed": "#aab2bc"}
"""Found by both versions, by the one before only, by the one after only, by neither: green, amber, blue, grey, which
stay apart for the colour-blind; the lines of the last are dashed from above."""

_MEANINGS = {"kept": "found by both", "missed": "found by neither"}
_CELLS_PER_INCH = 60
_TITLE_IN = 0.3
_MAX_HEIGHT_IN = 4.6
_AROUND_M = 3.5
_LEAST_M = 16.0


@dataclass(frozen=True, eq=False)
class FlippedFrame:
    """One frame's data for the picture.

    Attributes:
        image: the left image, uint8 (H, W, 3) RGB.
        truth: the N labels that count.
        fates: (N,) kept, negative flip, positive flip or missed.
        clouds: the two versions, the earlier first -> points (M, >= 3) in the velodyne frame, m.
        detections: version -> results with scores, those below its threshold already left out.
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
    """The left image with the labels in the colours of their fates; below it each version's cloud; 10 inches wide.

    The clouds are cut to the ground around the objects that only one version found (if there are none, all objects).
    """
    by_fate = {fate: frame.truth[frame.fates == fate] for fate in reversed(FATE_COLOURS)}
    large, scaled = enlarge(frame.image, frame.calibration)
    for fate, objects in by_fate.items():
        large = draw_boxes3d(large, objects, scaled, FATE_COLOURS[fate])
    picture_in = PAGE_WIDTH_IN * large.shape[0] / large.shape[1]
    grid = Grid(len(frame.clouds), gap_in=0.14, left_in=0.45, above_in=_TITLE_IN)
    window = _window(frame, grid.width_in / _MAX_HEIGHT_IN)
    x0, x1, z0, z1 = window
    height = grid.width_in * (z1 - z0) / (x1 - x0)
    size = (frame.image.shape[0], frame.image.shape[1])
    seen = {}
    for name, points in frame.clouds.items():
        points_rect, heights = visible_points(points, frame.calibration, size, z1)
        x, z = points_rect[:, 0], points_rect[:, 2]
        inside = (x >= x0) & (x <= x1) & (z >= z0)
        seen[name] = points_rect[inside], heights[inside]
    norm = height_scale([heights for _, heights in seen.values()])
    with drawing_style():
        figure, panels = grid.figure(len(seen), height, top_in=_TITLE_IN + picture_in, bottom_in=0.62)
        show_picture(axes_at(figure, 0.0, _TITLE_IN, PAGE_WIDTH_IN, picture_in), large, title)
        for axes, (name, (points_rect, heights)) in zip(panels, seen.items(), strict=True):
            cells_per_m = grid.width_in * _CELLS_PER_INCH / (x1 - x0)
            draw_cloud(axes, points_rect, heights, window, cells_per_m, GREY_HEIGHTS, norm)
            for fate, objects in by_fate.items():
                line, fill = ("--", 0.0) if fate == "missed" else ("-", 0.22)
                for corners in footprints(objects):
                    draw_footprint(
                        axes, corners, FATE_COLOURS[fate], fill, heading=False, linewidth=1.6, linestyle=line
                    )
            found = solid_objects(frame.detections.get(name, Objects.empty(scored=True)))
            assert found.score is not None
            for corners, score in zip(footprints(found), found.score, strict=True):
                draw_footprint(axes, corners, DETECTION, score=score, zorder=5)
            axes.set_title(name)
        grid.name_rows(panels, "ahead of the camera (m)")
        # The outline shows light colours on white paper.
        outline = [Stroke(linewidth=3.2, foreground=MUTED), Normal()]
        handles = [
            Line2D(
                [], [], color=colour, linewidth=2.4, path_effects=outline,
                label=f"{_MEANINGS.get(fate, fate)}: {int((frame.fates == fate).sum())}",
            )
            for fate, colour in FATE_COLOURS.items()
        ]  # fmt: skip
        label = "detection, line to its front, with its score"
        handles.append(Line2D([], [], color=DETECTION, linewidth=1.4, label=label))
        legend_row(figure, handles, grid.left_in, _TITLE_IN + picture_in + _TITLE_IN + height + 0.32)
    return figure


def _window(frame: FlippedFrame, least_aspect: float) -> Window:
    """The ground around the flips; its width is at least `least_aspect` of its depth."""
    flipped = frame.truth[np.isin(frame.fates, ["negative flip", "positive flip"])]
    ground = footprints(flipped if len(flipped) else frame.truth).reshape(-1, 2)
    if not len(ground):
        return (-_LEAST_M / 2, _LEAST_M / 2, 0.0, _LEAST_M / least_aspect)
    low, high = ground.min(axis=0) - _AROUND_M, ground.max(axis=0) + _AROUND_M
    short = np.maximum(np.array([_LEAST_M, 0.75 * _LEAST_M]) - (high - low), 0.0) / 2
    low, high = low - short, high + short
    # Objects far apart along the road: the panels keep the page's width.
    wider = max(0.0, least_aspect * (high[1] - low[1]) - (high[0] - low[0])) / 2
    return float(low[0] - wider), float(high[0] + wider), float(low[1]), float(high[1])
