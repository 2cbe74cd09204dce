"""Disparity maps in colour, and models' maps beside the exact one with their signed errors."""

from collections.abc import Mapping

import cv2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pseudolidar.kitti import Calibration
from pseudolidar.viewing.canvas import PAGE_WIDTH_IN, axes_at, drawing_style, new_figure, picture_axes
from pseudolidar.viewing.colours import UNKNOWN_RGB

_DISPARITY_MAP = "viridis"
_ERROR_MAP = "RdBu_r"
_SPARSE_SHARE = 0.2
_GAP_IN = 0.16
_TITLE_IN = 0.27
_BAR_IN = 0.13


def _colourise(values: NDArray[np.floating], low: float, high: float, name: str) -> NDArray[np.uint8]:
    table = (matplotlib.colormaps[name].resampled(256)(np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    share = (np.nan_to_num(values) - low) / (high - low)
    return np.asarray(table[np.rint(np.clip(share, 0, 1) * 255).astype(np.intp)])


def colourise_disparity(disparity: NDArray[np.floating], max_disparity: float) -> NDArray[np.uint8]:
    """A disparity map in colour: far dark blue, near yellow (viridis, perceptually even), unknown dark grey.

    Args:
        disparity: (H, W) px; 0, NaN and infinity are unknown.
        max_disparity: px, gets the last colour, as does everything above.

    Returns:
        uint8 (H, W, 3) RGB.
    """
    colours = _colourise(disparity, 0.0, max_disparity, _DISPARITY_MAP)
    colours[~_known(disparity)] = UNKNOWN_RGB
    return colours


def colourise_error(error_px: NDArray[np.floating], limit_px: float) -> NDArray[np.uint8]:
    """Signed errors in colour: too small blue, right white, too large red, NaN (unknown) dark grey.

    Args:
        error_px: (H, W) predicted minus exact disparity, px.
        limit_px: errors of this size and beyond get the last colours.

    Returns:
        uint8 (H, W, 3) RGB.
    """
    colours = _colourise(error_px, -limit_px, limit_px, _ERROR_MAP)
    colours[~np.isfinite(error_px)] = UNKNOWN_RGB
    return colours


def _known(disparity: NDArray[np.floating]) -> NDArray[np.bool_]:
    return np.isfinite(disparity) & (disparity > 0)


def _spread(values: NDArray[np.floating], known: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Sparse maps (projected LiDAR) with each known pixel spread over its unknown neighbours; NaN elsewhere.

    Single pixels would vanish where a figure shows the map smaller than it is.
    """
    filled = np.where(known, values, np.nan)
    if known.mean() > _SPARSE_SHARE:
        return filled
    size = max(2, round(values.shape[1] / 400))
    kernel = np.ones((size, size), np.uint8)
    spread = cv2.dilate(np.where(known, values, -np.inf).astype(np.float32), kernel)
    return np.where(known, values, np.where(np.isfinite(spread), spread, np.nan))


def _round_up(value: float) -> float:
    """The next of 1, 2, 3, 4, 5, 6, 8, 10 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(max(value, 1e-6)))
    return float(next(step for step in (1, 2, 3, 4, 5, 6, 8, 10) if step * power >= value * (1 - 1e-9)) * power)


def mean_absolute_error(predicted: NDArray[np.floating], exact: NDArray[np.floating]) -> float:
    """Disparity MAE in px over the pixels whose exact disparity is known; NaN where there are none."""
    known = _known(exact)
    return float(np.abs(predicted[known] - exact[known]).mean(dtype=np.float64)) if known.any() else float("nan")


def disparity_bar(axes: Axes, calibration: Calibration, max_disparity: float) -> None:
    """A horizontal colour bar for disparities in px, the depths that belong to them in m on top."""
    norm = Normalize(0.0, max_disparity)
    bar = axes.figure.colorbar(
        ScalarMappable(norm, _DISPARITY_MAP), cax=axes, orientation="horizontal", extend="max", extendfrac=0.02
    )
    bar.outline.set_visible(False)
    axes.set_xlabel("disparity (px), with depth (m) above; dark grey: unknown", labelpad=2)
    constant = calibration.camera_constant_px_m
    depths = [d for d in (3, 4, 5, 7, 10, 15, 20, 30, 60) if 0.02 < constant / d / max_disparity <= 1.0]
    top = axes.secondary_xaxis("top")
    top.set_xticks([constant / depth for depth in depths], [f"{depth}" for depth in depths])
    top.tick_params(length=2, pad=1)
    top.spines["top"].set_visible(False)


def _error_bar(axes: Axes, limit_px: float) -> None:
    bar = axes.figure.colorbar(
        ScalarMappable(Normalize(-limit_px, limit_px), _ERROR_MAP),
        cax=axes,
        orientation="horizontal",
        extend="both",
        extendfrac=0.02,
    )
    bar.outline.set_visible(False)
    axes.set_xlabel("error (px): blue too far, red too near", labelpad=2)


def shown_disparity(maps: list[NDArray[np.floating]]) -> float:
    """A round upper end for the colours of several disparity maps: 99.5 % of their known pixels lie below it, px."""
    known = np.concatenate([np.zeros(0), *(disparity[_known(disparity)] for disparity in maps)])
    return _round_up(float(np.quantile(known, 0.995))) if known.size else 1.0


def disparity_figure(
    left_image: NDArray[np.uint8],
    exact: NDArray[np.floating] | None,
    predicted: Mapping[str, NDArray[np.floating]],
    calibration: Calibration,
    max_disparity: float | None = None,
) -> Figure:
    """The left image, the exact map, and for each model its map and its signed errors with their mean size.

    Args:
        left_image: uint8 (H, W, 3) RGB.
        exact: (H, W) px, 0 where unknown; dense, or projected LiDAR, which is drawn with larger dots. None: the
            models' maps alone.
        predicted: model -> (H, W) px.
        calibration: of the frame; its camera constant gives the colour bar's depths.
        max_disparity: upper end of the shared colours, px; by default a round value that holds 99.5 % of the exact
            (or else of the predicted) disparities.

    Returns:
        A figure 10 inches wide. The MAE is over all pixels whose exact disparity is known, as in the tables.
    """
    maps = list(predicted.values())
    top_end = max_disparity or shown_disparity(maps if exact is None else [exact])
    panels: list[tuple[str, NDArray[np.uint8]]] = [("left image", left_image)]
    limit = 0.0
    if exact is not None:
        known = _known(exact)
        dense = known.mean() > _SPARSE_SHARE
        name = "exact disparity (y)" if dense else "disparity of the LiDAR points"
        panels.append((name, colourise_disparity(_spread(exact, known), top_end)))
        errors = {model: np.where(known, disparity - exact, np.nan) for model, disparity in predicted.items()}
        sizes = np.concatenate([np.zeros(1), *(np.abs(error[known]) for error in errors.values())])
        limit = _round_up(max(1.0, float(np.quantile(sizes, 0.97))))
        for model, disparity in predicted.items():
            mae = mean_absolute_error(disparity, exact)
            panels.append((f"{model}: predicted disparity", colourise_disparity(disparity, top_end)))
            error = colourise_error(_spread(errors[model], known), limit)
            panels.append((f"{model}: predicted − exact, MAE {mae:.2f} px", error))
    else:
        panels += [
            (f"{name}: disparity", colourise_disparity(disparity, top_end)) for name, disparity in predicted.items()
        ]

    with drawing_style():
        width = (PAGE_WIDTH_IN - _GAP_IN) / 2
        height = width * left_image.shape[0] / left_image.shape[1]
        rows = -(-len(panels) // 2)
        bars_top = rows * (_TITLE_IN + height) + 0.3
        figure = new_figure(PAGE_WIDTH_IN, bars_top + _BAR_IN + 0.42)
        for i, (title, rgb) in enumerate(panels):
            row, column = divmod(i, 2)
            top = row * height + (row + 1) * _TITLE_IN
            picture_axes(figure, rgb, title, column * (width + _GAP_IN), top, width)
        inset = 0.15
        disparity_bar(axes_at(figure, inset, bars_top, width - 2 * inset, _BAR_IN), calibration, top_end)
        if limit:
            _error_bar(axes_at(figure, width + _GAP_IN + inset, bars_top, width - 2 * inset, _BAR_IN), limit)
    return figure
