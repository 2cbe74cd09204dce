"""Point clouds and boxes from above, one panel for each source, as far as the camera sees."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray

from pseudolidar.kitti import Calibration, Objects, box3d_corners
from pseudolidar.viewing.boxes import NEAR_M, solid_objects
from pseudolidar.viewing.canvas import PAGE_WIDTH_IN, Grid, axes_at, drawing_style, legend_row
from pseudolidar.viewing.colours import DETECTION, HEIGHTS, TRUTH

Window = tuple[float, float, float, float]
"""The ground that a panel shows: x from left to right, z from near to far, m, rectified camera frame."""

EDGE_OF_VIEW: dict[str, Any] = {"color": "#8d98a6", "linewidth": 0.7, "linestyle": (0, (4, 3))}
"""How the lines are drawn that bound what the camera sees."""

_GROUND = "#0f1318"
_UNSEEN = "#1b2028"
_GRID = "#333b46"
_CELLS_PER_INCH = 110
_MARGIN_IN = 0.45
_GAP_IN = 0.14
_MAX_HEIGHT_IN = 5.2


def visible_points(
    points: NDArray[np.floating], calibration: Calibration, image_size: tuple[int, int], max_depth: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The points (M, 3) that the left colour camera sees, and their heights (M,), the velodyne z, m.

    From points (N, >= 3) in the velodyne frame, m; the result is in the rectified camera frame, m, with z up to
    `max_depth`. `image_size` is height and width, px.
    """
    rectified = calibration.velodyne_to_rect(points)
    pixels, depth = calibration.rect_to_image(rectified)
    ahead = (depth > NEAR_M) & (depth <= max_depth)
    corner = np.array([image_size[1], image_size[0]]) - 0.5
    with np.errstate(invalid="ignore"):
        seen = ahead & (pixels >= -0.5).all(axis=1) & (pixels < corner).all(axis=1)
    return rectified[seen], np.asarray(points[seen, 2], dtype=np.float64)


def view_edges(calibration: Calibration, image_size: tuple[int, int], max_depth: float) -> NDArray[np.float64]:
    """The camera's view from above: x and z of its left far corner, its own place, its right far corner, (3, 2) m."""
    columns = np.array([[-0.5, 0.0], [image_size[1] - 0.5, 0.0]])
    left, right = calibration.image_to_rect(columns, np.full(2, max_depth))[:, [0, 2]]
    camera = calibration.image_to_rect(columns[:1], np.zeros(1))[0, [0, 2]]
    return np.stack([left, camera, right])


def height_scale(heights: Sequence[NDArray[np.float64]]) -> Normalize:
    """One colour scale for the heights of several clouds; the 1 % at either end get the end colours."""
    every = np.concatenate([np.zeros(0), *heights])
    low, high = np.quantile(every, [0.01, 0.99]) if every.size else (-2.0, 1.0)
    return Normalize(low, max(high, low + 0.5))


def draw_cloud(
    axes: Axes,
    points_rect: NDArray[np.float64],
    heights: NDArray[np.float64],
    window: Window,
    cells_per_m: float,
    colours: Colormap,
    norm: Normalize,
) -> None:
    """Fill axes with a cloud from above on a dark ground: square cells, the highest point of each on top."""
    x0, x1, z0, z1 = window
    shape = (int(np.ceil((z1 - z0) * cells_per_m)), int(np.ceil((x1 - x0) * cells_per_m)))
    image = np.full(shape, np.nan)
    row = np.floor((z1 - points_rect[:, 2]) * cells_per_m).astype(np.intp)
    column = np.floor((points_rect[:, 0] - x0) * cells_per_m).astype(np.intp)
    inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    order = np.flatnonzero(inside)[np.argsort(heights[inside], kind="stable")]
    image[row[order], column[order]] = heights[order]
    axes.set_facecolor(_GROUND)
    axes.imshow(image, extent=window, cmap=colours, norm=norm, interpolation="nearest", aspect="auto", zorder=2)
    axes.set_xlim(x0, x1)
    axes.set_ylim(z0, z1)
    axes.grid(color=_GRID, linewidth=0.5, zorder=1)
    axes.tick_params(length=0, pad=3)
    for spine in axes.spines.values():
        spine.set_visible(False)


def draw_view(axes: Axes, view: NDArray[np.float64], zorder: float) -> None:
    """Lighten the ground that the camera does not see; `view` from `view_edges`."""
    max_depth = float(view[0, 1])
    far = 4 * max_depth
    for corner, side in ((view[0], -far), (view[2], far)):
        wedge = [view[1], corner, (side, max_depth), (side, 0.0)]
        axes.add_patch(Polygon(wedge, closed=True, facecolor=_UNSEEN, edgecolor="none", zorder=zorder))
        axes.plot(*np.stack([view[1], corner]).T, **EDGE_OF_VIEW, zorder=3)


def footprints(objects: Objects) -> NDArray[np.float64]:
    """x and z of the bottom corners, (N, 4, 2) m, the front side first; of the objects that have a 3D box."""
    return box3d_corners(solid_objects(objects).box3d)[:, :4, ::2]


def draw_footprint(
    axes: Axes,
    corners: NDArray[np.float64],
    colour: str,
    fill: float = 0.0,
    heading: bool = True,
    score: float | None = None,
    **outline: Any,
) -> None:
    """Draw one box from above, with a line over its front; `corners` is one of `footprints`."""
    outline = {"linewidth": 1.1, "zorder": 4} | outline
    axes.add_patch(Polygon(corners, closed=True, facecolor=(colour, fill), edgecolor=colour, **outline))
    if heading:
        # From the middle over the front edge and a little beyond.
        centre, front = corners.mean(axis=0), corners[:2].mean(axis=0)
        tip = front + (front - centre) / max(float(np.linalg.norm(front - centre)), 1e-6) * 0.9
        line = np.stack([centre, tip]).T
        axes.plot(*line, color=colour, linewidth=1.1, zorder=outline["zorder"], solid_capstyle="butt")
    if score is not None:
        axes.annotate(
            score_text(score),
            (corners[:, 0].max(), corners[:, 1].mean()),
            xytext=(2.5, 0),
            textcoords="offset points",
            fontsize=6.5,
            color=colour,
            va="center",
            annotation_clip=True,
            path_effects=[Stroke(linewidth=1.6, foreground=_GROUND), Normal()],
            clip_on=True,
            zorder=6,
        )


def score_text(score: float) -> str:
    """A score with two decimals and a true minus sign."""
    return f"{score:.2f}".replace("-", "\N{MINUS SIGN}")


def birds_eye_figure(
    clouds: Mapping[str, NDArray[np.floating]],
    truth: Objects,
    detections: Mapping[str, Objects],
    calibration: Calibration,
    image_size: tuple[int, int],
    max_depth: float,
) -> Figure:
    """Clouds from above with ground truth and the detections on each, one panel for each source, 10 inches wide.

    Args:
        clouds: source (y, u, u') -> points (N, >= 3) in the velodyne frame, m. Only what the camera sees is drawn, the
            highest point of each cell on top, its colour the height.
        truth: labels, drawn into every panel; those without a 3D box are skipped.
        detections: source -> results with scores, all of them drawn; a source may be missing.
        image_size: height and width of the left image, px.
        max_depth: how far the panels reach, m.
    """
    view = view_edges(calibration, image_size, max_depth)
    half_width, width, height = _panel_size(len(clouds), [truth, *detections.values()], view, max_depth)
    seen = {name: visible_points(points, calibration, image_size, max_depth) for name, points in clouds.items()}
    norm = height_scale([heights for _, heights in seen.values()])
    row_in = len(clouds) * (width + _GAP_IN) - _GAP_IN
    grid = Grid(len(clouds), _GAP_IN, _MARGIN_IN, PAGE_WIDTH_IN - _MARGIN_IN - row_in)
    step = 5 if max_depth <= 25 else 10 if max_depth <= 60 else 20
    # No tick so near the edge that its number would run into the next panel's.
    reach = int(0.94 * half_width // step) * step
    window = (-half_width, half_width, 0.0, max_depth)
    with drawing_style():
        figure, panels = grid.figure(len(clouds), height, bottom_in=0.62)
        for axes, (name, (points_rect, heights)) in zip(panels, seen.items(), strict=True):
            draw_cloud(axes, points_rect, heights, window, width * _CELLS_PER_INCH / (2 * half_width), HEIGHTS, norm)
            draw_view(axes, view, zorder=1.5)
            axes.set_yticks(np.arange(0, max_depth + 1e-6, step))
            axes.set_xticks(np.arange(-reach, reach + 1e-6, step))
            for corners in footprints(_up_to(truth, max_depth)):
                draw_footprint(axes, corners, TRUTH, fill=0.25)
            found = solid_objects(_up_to(detections.get(name, Objects.empty(scored=True)), max_depth))
            scores = [None] * len(found) if found.score is None else found.score
            for corners, score in zip(footprints(found), scores, strict=True):
                draw_footprint(axes, corners, DETECTION, score=score, linewidth=1.0, zorder=5)
            axes.set_title(f"{name}: {len(points_rect):,} points".replace(",", "\u2009"))
        grid.name_rows(panels, "ahead of the camera (m)")
        handles = [Line2D([], [], color=TRUTH, linewidth=2.2, label="ground truth, line to its front")]
        if detections:
            handles.append(Line2D([], [], color=DETECTION, linewidth=2.2, label="detection, with its score"))
        handles.append(Line2D([], [], **EDGE_OF_VIEW | {"linewidth": 1.0}, label="edge of the view"))
        legend_top = grid.above_in + height + 0.32
        legend_row(figure, handles, _MARGIN_IN, legend_top)
        bar = axes_at(figure, _MARGIN_IN + row_in - 1.6, legend_top + 0.04, 1.6, 0.1)
        colourbar = figure.colorbar(ScalarMappable(norm, HEIGHTS), cax=bar, orientation="horizontal")
        colourbar.outline.set_visible(False)
        bar.set_ylabel("height over\nsensor (m)", rotation=0, ha="right", va="center", fontsize=7.5, labelpad=6)
        bar.tick_params(pad=1.5, labelsize=7)
    return figure


def _panel_size(
    panels: int, boxes: Sequence[Objects], view: NDArray[np.float64], max_depth: float
) -> tuple[float, float, float]:
    """How far a panel reaches to both sides (m), its width and its height (inches); one scale both ways.

    A panel holds all boxes and at least a third of the depth; where there is room it is as wide as the view.
    """
    sides = [max_depth / 3]
    for objects in boxes:
        near = solid_objects(_up_to(objects, max_depth)).box3d
        sides += (np.abs(near[near[:, 2] > 0, 0]) + 4.0).tolist()
    room = Grid(panels, _GAP_IN, _MARGIN_IN).width_in
    whole_view = float(np.abs(view[:, 0]).max())
    half_width = min(max(*sides, room / _MAX_HEIGHT_IN * max_depth / 2), whole_view)
    width = min(room, _MAX_HEIGHT_IN * 2 * half_width / max_depth)
    return half_width, width, width * max_depth / (2 * half_width)


def _up_to(objects: Objects, max_depth: float) -> Objects:
    return objects[objects.box3d[:, 2] <= max_depth]
