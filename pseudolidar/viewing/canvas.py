"""Matplotlib figures without pyplot's global state, laid out in inches, written as SVG or PNG."""

import html
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from pseudolidar.files import require_output_file, require_suffix, write_file
from pseudolidar.statistics import Estimate
from pseudolidar.viewing.colours import INK, MUTED, PAPER, RULE, THEME
from pseudolidar.viewing.embedded import png_url_to_webp

PAGE_WIDTH_IN = 10.0
"""Width of the wide figures, inches; a report's column shows it at about 100 px an inch."""
SCREEN_DPI = 192
"""Twice the usual resolution of a screen."""
FIGURE_SUFFIXES = (".png", ".webp", ".svg", ".pdf")
"""Formats of figures."""

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
    """One look for all figures; restores matplotlib's settings afterwards."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        settings: Any = matplotlib.rcParams
        settings.update(_STYLE)
        yield


def new_figure(height_in: float) -> Figure:
    """An empty figure, `PAGE_WIDTH_IN` wide, with an Agg canvas."""
    figure = Figure(figsize=(PAGE_WIDTH_IN, height_in), dpi=SCREEN_DPI)
    FigureCanvasAgg(figure)
    return figure


def axes_at(figure: Figure, left_in: float, top_in: float, width_in: float, height_in: float) -> Axes:
    """Axes at a place in inches from the figure's left and top."""
    total_width, total_height = figure.get_size_inches()
    bottom = total_height - top_in - height_in
    return figure.add_axes(
        (left_in / total_width, bottom / total_height, width_in / total_width, height_in / total_height)
    )


@dataclass(frozen=True)
class Grid:
    """Panels of one size in rows over the page; all lengths in inches.

    Attributes:
        columns: panels in a row.
        gap_in: between the panels of a row.
        left_in, right_in, above_in, below_in: left free around each row, for titles and axis numbers.
    """

    columns: int
    gap_in: float
    left_in: float = 0.0
    right_in: float = 0.0
    above_in: float = 0.3
    below_in: float = 0.0

    @property
    def width_in(self) -> float:
        """Width of a panel."""
        return (PAGE_WIDTH_IN - self.left_in - self.right_in - (self.columns - 1) * self.gap_in) / self.columns

    def figure(
        self, panels: int, height_in: float, top_in: float = 0.0, bottom_in: float = 0.0
    ) -> tuple[Figure, list[Axes]]:
        """A figure with this number of panels, row by row, each `height_in` high; `top_in`, `bottom_in` stay free."""
        row_in = self.above_in + height_in + self.below_in
        figure = new_figure(top_in + -(-panels // self.columns) * row_in + bottom_in)
        places = (divmod(panel, self.columns) for panel in range(panels))
        return figure, [
            axes_at(
                figure,
                self.left_in + column * (self.width_in + self.gap_in),
                top_in + row * row_in + self.above_in,
                self.width_in,
                height_in,
            )
            for row, column in places
        ]

    def name_rows(self, panels: Sequence[Axes], quantity: str) -> None:
        """Label the vertical axis of each row at its left, and show its numbers only there: a row has one scale."""
        for i, axes in enumerate(panels):
            if i % self.columns:
                axes.tick_params(labelleft=False)
            else:
                axes.set_ylabel(quantity)


def show_picture(axes: Axes, rgb: NDArray[np.uint8], title: str = "") -> None:
    """Fill axes with an image, without ticks; the title goes above."""
    axes.imshow(rgb, aspect="auto", interpolation="antialiased")
    axes.set_axis_off()
    axes.set_title(title)


def plot_estimates(
    axes: Axes, places: Sequence[float] | NDArray[np.floating], estimates: Sequence[Estimate], colour: str, **line: Any
) -> None:
    """Estimates as a line, their intervals as a band; `line` as for `Axes.plot`."""
    low, high = ([getattr(estimate.interval, end) for estimate in estimates] for end in ("low", "high"))
    axes.fill_between(places, low, high, color=colour, alpha=0.16, linewidth=0)
    axes.plot(places, [estimate.value for estimate in estimates], color=colour, zorder=3, **line)


def legend_row(figure: Figure, handles: Sequence[Line2D], left_in: float, top_in: float) -> None:
    """A legend in one row, at a place in inches from the figure's left and top."""
    axes = axes_at(figure, left_in, top_in, PAGE_WIDTH_IN - left_in, 0.2)
    axes.set_axis_off()
    axes.legend(handles=handles, loc="upper left", ncols=len(handles), borderaxespad=0, bbox_to_anchor=(0, 1.0))


def require_figure_path(path: str | Path) -> None:
    """Check before long work that a figure can be written to this file.

    FormatError for another suffix than `FIGURE_SUFFIXES`, or a folder of that name.
    """
    require_output_file(path, FIGURE_SUFFIXES, "a figure")


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure, whole or not at all; the suffix is one of `FIGURE_SUFFIXES`, otherwise FormatError."""
    suffix = require_suffix(path, FIGURE_SUFFIXES, "a figure")
    buffer = io.BytesIO()
    with drawing_style():
        figure.savefig(buffer, format=suffix[1:], dpi=SCREEN_DPI, bbox_inches="tight", pad_inches=0.12)
    write_file(path, buffer.getvalue())


def figure_to_rgb(figure: Figure, dpi: int = SCREEN_DPI) -> NDArray[np.uint8]:
    """A figure's pixels, uint8 (H, W, 3) RGB."""
    with drawing_style():
        figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def figure_to_svg(figure: Figure, prefix: str, label: str) -> str:
    """A figure as an SVG element for an HTML page, the same bytes for the same figure.

    Colours of the theme become CSS variables (`--ink`, `--u`, ...), so that it follows a light or dark page; the
    background is transparent. Images are sampled at twice the resolution of a screen.

    Args:
        prefix: goes before every id, so that the figures of one page don't share ids.
        label: description for readers who can't see the picture (plain text).
    """
    buffer = io.StringIO()
    with drawing_style():
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", dpi=SCREEN_DPI, metadata=metadata, facecolor="none")
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"data:image/png;base64,[^\"]*", lambda match: png_url_to_webp(match[0]), text)
    # An HTML parser knows the namespaces.
    text = re.sub(r"\sxmlns(:\w+)?=\"[^\"]*\"", "", text)
    used = set(re.findall(r"#([\w.-]+)", text))
    text = re.sub(r' id="([^"]*)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}", text)
    for name, (light, _) in THEME.items():
        text = text.replace(light, f"var(--{name})")
    width_px = round(float(figure.get_size_inches()[0]) * 100)
    opening = f'<svg role="img" aria-label="{html.escape(label)}" style="max-width: {width_px}px"'
    return re.sub(r'<svg( width="[^"]*"| height="[^"]*"| version="[^"]*")*', lambda _: opening, text, count=1).strip()
