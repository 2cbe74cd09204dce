"""A report as one self-contained HTML file: text, tables, figures, the full configuration."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from pseudolidar.files import require_suffix, write_file
from pseudolidar.tables import Table
from pseudolidar.viewing.canvas import figure_to_svg
from pseudolidar.viewing.colours import THEME
from pseudolidar.viewing.embedded import image_url
from pseudolidar.viewing.scene import Scenes, scene_data, scene_stills, script


@dataclass(frozen=True, eq=False)
class Picture:
    """A matplotlib figure (as SVG, follows the page's theme) or an image, uint8 (H, W, 3) RGB (as WebP).

    The caption is also the text for screen readers.
    """

    image: Figure | NDArray[np.uint8]
    caption: str


Block = str | Table | Picture | Scenes
"""A paragraph of plain text, a table, a picture or scenes to turn."""


@dataclass(frozen=True)
class Section:
    """A heading and the blocks below it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Report:
    """A whole report.

    Attributes:
        lead: the first paragraph: the verdict, then the reasons.
        facts: short pairs (name, value) under the lead: data set, frames, seed, time taken.
        configuration: resolved, as text (YAML), in a block that opens on a click.
    """

    title: str
    lead: str
    sections: tuple[Section, ...]
    facts: tuple[tuple[str, str], ...] = ()
    configuration: str = ""


def _picture_element(picture: Picture, number: int) -> Markup:
    """An SVG or img element; `number` keeps its ids apart from those of other pictures."""
    label, image = picture.caption, picture.image
    if isinstance(image, Figure):
        return Markup(figure_to_svg(image, f"f{number}-", label))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"picture '{label}': found an array {image.shape} {image.dtype}, expected uint8 (H, W, 3)")
    element = Markup('<img src="{}" width="{}" height="{}" alt="{}">')
    return element.format(image_url(Image.fromarray(image)), image.shape[1], image.shape[0], label)


def _theme_css(dark: bool) -> Markup:
    return Markup(" ".join(f"--{name}: {colours[int(dark)]};" for name, colours in THEME.items()))


def render_report(report: Report) -> str:
    """A report as HTML: no links to other places, nothing loaded; the same bytes for the same report.

    The one script is that of `Scenes`, where there are any; a browser that keeps the page's policy runs no other.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = files("pseudolidar.viewing").joinpath("report.html.jinja").read_text(encoding="utf-8")
    numbers = itertools.count(1)
    return environment.from_string(source).render(
        report=report,
        is_table=lambda block: isinstance(block, Table),
        is_scenes=lambda block: isinstance(block, Scenes),
        scene_stills=scene_stills,
        scene_data=lambda scene: Markup(scene_data(scene)),
        script=script()
        if any(isinstance(block, Scenes) for section in report.sections for block in section.blocks)
        else None,
        picture_element=lambda picture: _picture_element(picture, next(numbers)),
        light=_theme_css(dark=False),
        dark=_theme_css(dark=True),
    )


def write_report(report: Report, path: str | Path) -> None:
    """Write a report as one HTML file, whole or not at all; FormatError for another suffix than .html."""
    require_suffix(path, (".html",), "a report")
    write_file(path, render_report(report))


def tables_of(report: Report) -> Sequence[Table]:
    """The report's tables in the order of reading, e.g. to print them."""
    return [block for section in report.sections for block in section.blocks if isinstance(block, Table)]
