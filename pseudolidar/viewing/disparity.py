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
from pseudolidar.viewing.canvas import Grid, axes_at, drawing_style, show_picture
from pseudolidar.viewing.colours import UNKNOWN_RGB

_DISPARITY_MAP = "viridis"
_ERROR_MAP = "RdBu_r"
_SPARSE_FRACTION = 0.2


def _colourise(values: NDArray[np.floating], low: float, high: float, name: str) -> NDArray[np.uint8]:
    table = (matplotlib.colormaps[name](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    fraction = (np.nan_to_num(values) - low) / (high - low)
    return np.asarray(table[np.rint(np.clip(fraction, 0, 1) * 255).astype(np.intp)])


def colourise_disparity(disparity: NDArray[np.floating], max_disparity: float) -> NDArray[np.uint8]:
    """A disparity map (H, W), px, as uint8 (H, W, 3) RGB: far dark blue, near yellow (viridis), unknown dark grey.

    0, NaN and infinity are unknown; `max_disparity` and everything above get the last colour.
    """
    colours = _colourise(disparity, 0.0, max_disparity, _DISPARITY_MAP)
    colours[~_known(disparity)] = UNKNOWN_RGB
    return colours


def colourise_error(error_px: NDArray[np.floating], limit_px: float) -> NDArray[np.uint8]:
    """Errors (H, W), predicted minus exact, as uint8 (H, W, 3) RGB: too small blue, right white, too large red.

    NaN (unknown) is dark grey; errors of `limit_px` and beyond get the end colours.
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
    if known.mean() > _SPARSE_FRACTION:
        return filled
    size = max(2, round(values.shape[1] / 400))
    kernel = np.ones((size, size), np.uint8)
    spread = cv2.dilate(np.where(known, values, -np.inf).astype(np.float32), kernel)
    return np.where(known, values, np.where(np.isfinite(spread), spread, np.nan))


def _round_up(value: float) -> float:
    """The next of 1, 2, 3, 4, 5, 6, 8, 10 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(max(value, 1e-6)))
    return float(next(step for step in (1, 2, 3, 4, 5, 6, 8, 10) if step * power >= value * (1 - 1e-9)) * power)


def disparity_bar(axes: Axes, calibration: Calibration, max_disparity: float) -> None:
    """A horizontal colour bar for disparities in px, with the corresponding depths in m on top."""
    _draw_bar(
        axes, (0.0, max_disparity), _DISPARITY_MAP, "max", "disparity (px), with depth (m) above; dark grey: unknown"
    )
    constant = calibration.camera_constant_px_m
    depths = [d for d in (3, 4, 5, 7, 10, 15, 20, 30, 60) if 0.02 < constant / d / max_disparity <= 1.0]
    top = axes.secondary_xaxis("top")
    top.set_xticks([constant / depth for depth in depths], [f"{depth}" for depth in depths])
    top.tick_params(length=2, pad=1)
    top.spines["top"].set_visible(False)


def _draw_bar(axes: Axes, ends: tuple[float, float], name: str, extend: str, label: str) -> None:
    colours = ScalarMappable(Normalize(*ends), name)
    bar = axes.figure.colorbar(colours, cax=axes, orientation="horizontal", extend=extend, extendfrac=0.02)
    bar.outline.set_visible(False)
    axes.set_xlabel(label, labelpad=2)


def shown_disparity(maps: list[NDArray[np.floating]]) -> float:
    """A round upper end, px, for the colours of several disparity maps: 99.5 % of their known pixels lie below it."""
    known = np.concatenate([np.zeros(0), *(disparity[_known(disparity)] for disparity in maps)])
    return _round_up(float(np.quantile(known, 0.995))) if known.size else 1.0


def disparity_figure(
    left_image: NDArray[np.uint8],
    exact: NDArray[np.floating] | None,
    predicted: Mapping[str, NDArray[np.floating]],
    calibration: Calibration,
) -> Figure:
    """The left image, the exact map, and for each model its map and its signed errors with the MAE, 10 inches wide.

    The MAE is over all pixels whose exact disparity is known, as in the tables.

    Args:
        left_image: uint8 (H, W, 3) RGB.
        exact: (H, W) px, 0 where unknown; dense, or projected LiDAR, drawn with larger dots. None: only models' maps.
        predicted: model -> (H, W) px.
    """
    top_end = shown_disparity(list(predicted.values()) if exact is None else [exact])
    pictures = {"left image": left_image}
    limit = 0.0
    if exact is None:
        pictures |= {f"{name}: disparity": colourise_disparity(found, top_end) for name, found in predicted.items()}
    else:
        known = _known(exact)
        name = "exact disparity (y)" if known.mean() > _SPARSE_FRACTION else "disparity of the LiDAR points"
        pictures[name] = colourise_disparity(_spread(exact, known), top_end)
        errors = {model: np.where(known, disparity - exact, np.nan) for model, disparity in predicted.items()}
        sizes = {model: np.abs(error[known]) for model, error in errors.items()}
        limit = _round_up(max(1.0, float(np.quantile(np.concatenate([np.zeros(1), *sizes.values()]), 0.97))))
        for model, disparity in predicted.items():
            mae = float(sizes[model].mean(dtype=np.float64)) if known.any() else float("nan")
            pictures[f"{model}: predicted disparity"] = colourise_disparity(disparity, top_end)
            error = colourise_error(_spread(errors[model], known), limit)
            pictures[f"{model}: predicted − exact, MAE {mae:.2f} px"] = error
    grid = Grid(columns=2, gap_in=0.16, above_in=0.27)
    width, bar_in, inset_in = grid.width_in, 0.13, 0.15
    height = width * left_image.shape[0] / left_image.shape[1]
    with drawing_style():
        figure, panels = grid.figure(len(pictures), height, bottom_in=0.3 + bar_in + 0.42)
        for axes, (title, rgb) in zip(panels, pictures.items(), strict=True):
            show_picture(axes, rgb, title)
        bars_top = figure.get_figheight() - bar_in - 0.42
        bar = axes_at(figure, inset_in, bars_top, width - 2 * inset_in, bar_in)
        disparity_bar(bar, calibration, top_end)
        if limit:
            bar = axes_at(figure, width + grid.gap_in + inset_in, bars_top, width - 2 * inset_in, bar_in)
            _draw_bar(bar, (-limit, limit), _ERROR_MAP, "both", "error (px): blue too far, red too near")
    return figure
