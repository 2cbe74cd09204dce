"""Point clouds and boxes from above, one panel a source, as far as the camera sees."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray

from pseudolidar.kitti import Calibration, Objects, box3d_corners
from pseudolidar.viewing.boxes import NEAR_M, solid_objects
from pseudolidar.viewing.canvas import PAGE_WIDTH_IN, axes_at, drawing_style, new_figure
from pseudolidar.viewing.colours import DETECTION, HEIGHTS, TRUTH

_GROUND = "#0f1318"
_UNSEEN = "#1b2028"
_GRID = "#333b46"
_CELLS_PER_INCH = 110
_MARGIN_IN = 0.45
_GAP_IN = 0.14
_TITLE_IN = 0.3
_LEGEND_IN = 0.62
_MAX_HEIGHT_IN = 5.2


def visible_points(
    points: NDArray[np.floating], calibration: Calibration, image_size: tuple[int, int], max_depth: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The points that the left colour camera sees, up to a depth.

    Args:
        points: (N, >= 3) velodyne frame, m.
        calibration: of the frame.
        image_size: height and width, px.
        max_depth: z in the rectified camera frame, m.

    Returns:
        points (M, 3) in the rectified camera frame, and their heights (M,) z in the velodyne frame, m.
    """
    rectified = calibration.velodyne_to_rect(points)
    pixels, depth = calibration.rect_to_image(rectified)
    ahead = (depth > NEAR_M) & (depth <= max_depth)
    corner = np.array([image_size[1], image_size[0]]) - 0.5
    with np.errstate(invalid="ignore"):
        seen = ahead & (pixels >= -0.5).all(axis=1) & (pixels < corner).all(axis=1)
    return rectified[seen], np.asarray(points[seen, 2], dtype=np.float64)


def heights_image(
    points_rect: NDArray[np.float64],
    heights: NDArray[np.float64],
    half_width: float,
    max_depth: float,
    cells_per_m: float,
) -> NDArray[np.float64]:
    """The highest point of each cell, (rows from far to near, columns from left to right); NaN where none lies."""
    shape = (int(np.ceil(max_depth * cells_per_m)), int(np.ceil(2 * half_width * cells_per_m)))
    image = np.full(shape, np.nan)
    row = np.floor((max_depth - points_rect[:, 2]) * cells_per_m).astype(np.intp)
    column = np.floor((points_rect[:, 0] + half_width) * cells_per_m).astype(np.intp)
    inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    order = np.flatnonzero(inside)[np.argsort(heights[inside], kind="stable")]
    image[row[order], column[order]] = heights[order]
    return image


def view_edges(calibration: Calibration, image_size: tuple[int, int], max_depth: float) -> NDArray[np.float64]:
    """What the camera sees from above: x and z of its left far corner, its own place, its right far corner, (3, 2)."""
    columns = np.array([[-0.5, 0.0], [image_size[1] - 0.5, 0.0]])
    left, right = calibration.image_to_rect(columns, np.full(2, max_depth))[:, [0, 2]]
    camera = calibration.image_to_rect(columns[:1], np.zeros(1))[0, [0, 2]]
    return np.stack([left, camera, right])


def _panel_size(
    panels: int, boxes: Sequence[Objects], view: NDArray[np.float64], max_depth: float
) -> tuple[float, float, float]:
    """How far a panel reaches to both sides (m), its width and its height (inches); a metre is as long both ways.

    A panel holds all boxes and at least a third of the depth; where there is room it is as wide as the view.
    """
    sides = [max_depth / 3]
    for objects in boxes:
        solid = solid_objects(objects).box3d
        near = solid[(solid[:, 2] > 0) & (solid[:, 2] <= max_depth)]
        sides += (np.abs(near[:, 0]) + 4.0).tolist()
    room = (PAGE_WIDTH_IN - _MARGIN_IN - (panels - 1) * _GAP_IN) / panels
    whole_view = float(np.abs(view[:, 0]).max())
    half_width = min(max(*sides, room / _MAX_HEIGHT_IN * max_depth / 2), whole_view)
    width = min(room, _MAX_HEIGHT_IN * 2 * half_width / max_depth)
    return half_width, width, width * max_depth / (2 * half_width)


def _draw_boxes(axes: Axes, objects: Objects, colour: str, filled: bool, max_depth: float) -> None:
    objects = solid_objects(objects)
    objects = objects[objects.box3d[:, 2] <= max_depth]
    for i, corners in enumerate(box3d_corners(objects.box3d)[:, :4, ::2]):
        axes.add_patch(
            Polygon(
                corners,
                closed=True,
                facecolor=(colour, 0.25) if filled else "none",
                edgecolor=colour,
                linewidth=1.1 if filled else 1.0,
                zorder=4 if filled else 5,
            )
        )
        # The heading: from the middle over the front edge and a little beyond.
        centre, front = corners.mean(axis=0), corners[:2].mean(axis=0)
        length = np.linalg.norm(front - centre)
        tip = front + (front - centre) / max(length, 1e-6) * 0.9
        axes.plot(*np.stack([centre, tip]).T, color=colour, linewidth=1.1, zorder=5, solid_capstyle="butt")
        if objects.score is not None:
            axes.annotate(
                f"{objects.score[i]:.2f}",
                (corners[:, 0].max(), corners[:, 1].mean()),
                xytext=(2.5, 0),
                textcoords="offset points",
                fontsize=6,
                color=colour,
                va="center",
                annotation_clip=True,
                path_effects=[Stroke(linewidth=1.6, foreground=_GROUND), Normal()],
                zorder=6,
            )


def _draw_panel(
    axes: Axes, heights: NDArray[np.float64], norm: Normalize, view: NDArray[np.float64], half_width: float
) -> None:
    max_depth = float(view[0, 1])
    axes.set_facecolor(_GROUND)
    axes.imshow(
        heights,
        extent=(-half_width, half_width, 0.0, max_depth),
        cmap=HEIGHTS,
        norm=norm,
        interpolation="nearest",
        aspect="auto",
        zorder=2,
    )
    axes.grid(color=_GRID, linewidth=0.5, zorder=1)
    axes.set_axisbelow(True)
    far = 4 * max_depth
    for corner, side in ((view[0], -far), (view[2], far)):
        wedge = [view[1], corner, (side, max_depth), (side, 0.0)]
        axes.add_patch(Polygon(wedge, closed=True, facecolor=_UNSEEN, edgecolor="none", zorder=1.5))
        axes.plot(*np.stack([view[1], corner]).T, color="#8d98a6", linewidth=0.7, linestyle=(0, (4, 3)), zorder=3)
    axes.set_xlim(-half_width, half_width)
    axes.set_ylim(0.0, max_depth)
    step = 5 if max_depth <= 25 else 10 if max_depth <= 60 else 20
    axes.set_yticks(np.arange(0, max_depth + 1e-6, step))
    # No tick so near the edge that its number would run into the next panel's.
    reach = int(0.94 * half_width // step) * step
    axes.set_xticks(np.arange(-reach, reach + 1e-6, step))
    axes.tick_params(length=0, pad=3)
    for spine in axes.spines.values():
        spine.set_visible(False)


def birds_eye_figure(
    clouds: Mapping[str, NDArray[np.floating]],
    truth: Objects,
    detections: Mapping[str, Objects],
    calibration: Calibration,
    image_size: tuple[int, int],
    max_depth: float,
) -> Figure:
    """Clouds from above, one panel a source, with the ground truth's boxes and what was detected on each cloud.

    Args:
        clouds: source (y, u, u') -> points (N, >= 3) in the velodyne frame, m. Only what the camera sees is drawn, the
            highest point of each cell on top, its colour the height.
        truth: labels, drawn into every panel; those without a 3D box are passed over.
        detections: source -> results with scores; a source without any may be left out. The caller picks the classes
            and the lowest score.
        calibration: of the frame.
        image_size: height and width of the left image, px: the camera's view.
        max_depth: how far the panels reach, m.

    Returns:
        A figure 10 inches wide.
    """
    view = view_edges(calibration, image_size, max_depth)
    half_width, width, height = _panel_size(len(clouds), [truth, *detections.values()], view, max_depth)
    seen = {name: visible_points(points, calibration, image_size, max_depth) for name, points in clouds.items()}
    heights = np.concatenate([np.zeros(0), *(h for _, h in seen.values())])
    low, high = np.quantile(heights, [0.01, 0.99]) if heights.size else (-2.0, 1.0)
    norm = Normalize(low, max(high, low + 0.5))
    with drawing_style():
        figure = new_figure(PAGE_WIDTH_IN, _TITLE_IN + height + _LEGEND_IN)
        for i, (name, (points_rect, point_heights)) in enumerate(seen.items()):
            axes = axes_at(figure, _MARGIN_IN + i * (width + _GAP_IN), _TITLE_IN, width, height)
            cells_per_m = width * _CELLS_PER_INCH / (2 * half_width)
            image = heights_image(points_rect, point_heights, half_width, max_depth, cells_per_m)
            _draw_panel(axes, image, norm, view, half_width)
            _draw_boxes(axes, truth, TRUTH, True, max_depth)
            found = detections.get(name)
            if found is not None:
                _draw_boxes(axes, found, DETECTION, False, max_depth)
            axes.set_title(f"{name}: {len(points_rect):,} points".replace(",", "\u2009"))
            if i == 0:
                axes.set_ylabel("ahead of the camera (m)")
            else:
                axes.tick_params(labelleft=False)
        _add_legend(
            figure, norm, _TITLE_IN + height + 0.32, len(clouds) * (width + _GAP_IN) - _GAP_IN, bool(detections)
        )
    return figure


def _add_legend(figure: Figure, norm: Normalize, top_in: float, width_in: float, with_detections: bool) -> None:
    axes = axes_at(figure, _MARGIN_IN, top_in, width_in, 0.2)
    axes.set_axis_off()
    handles = [Line2D([], [], color=TRUTH, linewidth=2.2, label="ground truth, line to its front")]
    if with_detections:
        handles.append(Line2D([], [], color=DETECTION, linewidth=2.2, label="detection, with its score"))
    handles.append(Line2D([], [], color="#8d98a6", linewidth=1.0, linestyle=(0, (4, 3)), label="edge of the view"))
    axes.legend(handles=handles, loc="upper left", ncols=3, borderaxespad=0, bbox_to_anchor=(0, 1.0))
    bar_width = 1.6
    bar = axes_at(figure, _MARGIN_IN + width_in - bar_width, top_in + 0.04, bar_width, 0.1)
    colourbar = figure.colorbar(ScalarMappable(norm, HEIGHTS), cax=bar, orientation="horizontal")
    colourbar.outline.set_visible(False)
    bar.set_ylabel("height over\nsensor (m)", rotation=0, ha="right", va="center", fontsize=7.5, labelpad=6)
    bar.tick_params(pad=1.5, labelsize=7)
