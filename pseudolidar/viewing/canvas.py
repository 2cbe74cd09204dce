"""Matplotlib figures without pyplot's global state, laid out in inches, written as SVG or PNG."""

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pseudolidar.files import replacing, require_output_file, require_suffix
from pseudolidar.viewing.colours import INK, MUTED, PAPER, RULE, THEME

PAGE_WIDTH_IN = 10.0
"""Width of the wide figures, inches; a report's column shows it at about 100 px an inch."""
SCREEN_DPI = 192
"""Twice the usual resolution of a screen."""
FIGURE_SUFFIXES = (".png", ".svg", ".pdf")
"""What figures are written as."""

_STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.titlepad": 5.0,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.7,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "legend.handlelength": 1.5,
    "figure.facecolor": PAPER,
    "svg.fonttype": "path",
    "svg.hashsalt": "pseudolidar",
}


@contextmanager
def drawing_style() -> Iterator[None]:
    """One look for all figures; the settings before are back afterwards."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        settings: Any = matplotlib.rcParams
        settings.update(_STYLE)
        yield


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty figure with an Agg canvas."""
    figure = Figure(figsize=(width_in, height_in), dpi=SCREEN_DPI)
    FigureCanvasAgg(figure)
    return figure


def axes_at(figure: Figure, left_in: float, top_in: float, width_in: float, height_in: float) -> Axes:
    """Axes at a place in inches from the figure's left and top."""
    total_width, total_height = figure.get_size_inches()
    bottom = total_height - top_in - height_in
    return figure.add_axes(
        (left_in / total_width, bottom / total_height, width_in / total_width, height_in / total_height)
    )


def picture_axes(
    figure: Figure, rgb: NDArray[np.uint8], title: str, left_in: float, top_in: float, width_in: float
) -> Axes:
    """Show an image, its height following from its width, without ticks; the title stands above `top_in`."""
    axes = axes_at(figure, left_in, top_in, width_in, width_in * rgb.shape[0] / rgb.shape[1])
    axes.imshow(rgb, aspect="auto", interpolation="antialiased")
    axes.set_axis_off()
    axes.set_title(title)
    return axes


def require_figure_path(path: str | Path) -> None:
    """Before the work: see that a figure can be written to a file of this name.

    Raises:
        FormatError: another suffix than `FIGURE_SUFFIXES`, or a folder of that name.
    """
    require_output_file(path, FIGURE_SUFFIXES, "a figure")


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure, whole or not at all; the suffix says the format, one of `FIGURE_SUFFIXES`.

    Raises:
        FormatError: another suffix.
    """
    suffix = require_suffix(path, FIGURE_SUFFIXES, "a figure")
    buffer = io.BytesIO()
    with drawing_style():
        figure.savefig(buffer, format=suffix[1:], dpi=SCREEN_DPI, bbox_inches="tight", pad_inches=0.12)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def figure_to_rgb(figure: Figure, dpi: int = SCREEN_DPI) -> NDArray[np.uint8]:
    """Draw a figure into pixels, uint8 (H, W, 3) RGB."""
    with drawing_style():
        figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def figure_to_svg(figure: Figure, prefix: str, label: str) -> str:
    """A figure as an SVG element for the inside of an HTML page, the same bytes for the same figure.

    Colours of the theme become CSS variables (`--ink`, `--u`, ...), so that it follows a light or dark page, and the
    page shows through it.

    Args:
        figure: what to write; its images are sampled at twice the resolution of a screen.
        prefix: goes before every id, so that several figures of one page don't take each other's parts.
        label: what the picture shows, for readers who don't see it (plain text).
    """
    buffer = io.StringIO()
    with drawing_style():
        nothing: Mapping[str, Any] = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(buffer, format="svg", dpi=SCREEN_DPI, metadata=dict(nothing), facecolor="none")
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # An HTML parser knows the namespaces.
    text = re.sub(r"\sxmlns(:\w+)?=\"[^\"]*\"", "", text)
    used = set(re.findall(r"#([\w.-]+)", text))
    text = re.sub(r' id="([^"]*)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}", text)
    for name, (light, _) in THEME.items():
        text = text.replace(light, f"var(--{name})")
    width_px = round(float(figure.get_size_inches()[0]) * 100)
    escaped = label.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    opening = f'<svg role="img" aria-label="{escaped}" style="max-width: {width_px}px"'
    return re.sub(r'<svg( width="[^"]*"| height="[^"]*"| version="[^"]*")*', lambda _: opening, text, count=1).strip()
