"""A report as one HTML file that needs nothing but a browser: text, tables, figures, the full configuration."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import cv2
import jinja2
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pseudolidar.files import replacing, require_suffix
from pseudolidar.tables import Table
from pseudolidar.viewing.canvas import figure_to_svg
from pseudolidar.viewing.colours import THEME


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure or an image with its caption.

    Attributes:
        image: a matplotlib figure (goes in as SVG and follows the page's theme) or uint8 (H, W, 3) RGB (as PNG).
        caption: stands under it.
        alternative: what it shows, for readers who don't see it; the caption by default.
    """

    image: Figure | NDArray[np.uint8]
    caption: str
    alternative: str = ""


Block = str | Table | Picture
"""A paragraph of plain text, a table or a picture."""


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Report:
    """A whole report.

    Attributes:
        title: of the page.
        lead: the first paragraph: the verdict, then what it rests on.
        facts: short pairs (name, value) under the lead: data set, frames, seed, time taken.
        sections: in the order of reading.
        configuration: the resolved configuration as text (YAML), in a block that opens on a click.
    """

    title: str
    lead: str
    sections: tuple[Section, ...]
    facts: tuple[tuple[str, str], ...] = field(default=())
    configuration: str = ""


def _png_element(rgb: NDArray[np.uint8], label: str) -> Markup:
    encoded, data = cv2.imencode(".png", rgb[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 6])
    if not encoded:
        raise ValueError(f"picture '{label}': found an array {rgb.shape} {rgb.dtype}, expected uint8 (H, W, 3)")
    text = base64.b64encode(data.tobytes()).decode("ascii")
    height, width = rgb.shape[:2]
    return Markup('<img src="data:image/png;base64,{}" width="{}" height="{}" alt="{}">').format(
        text, width, height, label
    )


def _picture_element(picture: Picture, number: int) -> Markup:
    label = picture.alternative or picture.caption
    if isinstance(picture.image, Figure):
        return Markup(figure_to_svg(picture.image, f"f{number}-", label))
    return _png_element(picture.image, label)


def _theme_css(dark: bool) -> Markup:
    return Markup(" ".join(f"--{name}: {colours[int(dark)]};" for name, colours in THEME.items()))


def _kind(block: Block) -> str:
    return "table" if isinstance(block, Table) else "picture" if isinstance(block, Picture) else "paragraph"


def render_report(report: Report) -> str:
    """A report as HTML: no scripts, no links to other places, nothing loaded; the same bytes for the same report."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = files("pseudolidar.viewing").joinpath("report.html.jinja").read_text(encoding="utf-8")
    pictures = [block for section in report.sections for block in section.blocks if isinstance(block, Picture)]
    numbers = {id(picture): number for number, picture in enumerate(pictures, start=1)}
    return environment.from_string(source).render(
        report=report,
        kind=_kind,
        picture_element=lambda picture: _picture_element(picture, numbers[id(picture)]),
        light=_theme_css(dark=False),
        dark=_theme_css(dark=True),
    )


def write_report(report: Report, path: str | Path) -> None:
    """Write a report as one HTML file, whole or not at all.

    Raises:
        FormatError: another suffix than .html.
    """
    require_suffix(path, (".html",), "a report")
    text = render_report(report)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def tables_of(report: Report) -> Sequence[Table]:
    """The report's tables in the order of reading, e.g. to print them."""
    return [block for section in report.sections for block in section.blocks if isinstance(block, Table)]
