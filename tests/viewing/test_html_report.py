"""The report holds every number, loads nothing, escapes text, is written whole or not at all; tables print aligned."""

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from pseudolidar.tables import Heading, Row, Table, print_tables
from pseudolidar.viewing import Picture, Report, Section, range_figure, tables_of, write_report
from pseudolidar.viewing.report import render_report

TABLE = Table(
    "Table 2. MAE <px>",
    (("", Heading("here", 2), Heading("the paper", 2)), ("model", "0–20", "20–40", "0–20", "20–40")),
    (
        Row(("u", 0.924, 0.54, 1.32, 1.12)),
        Row(("u'", 0.80, 0.66, 1.21, 1.20)),
        Row(("y", 0.0, -0.001, None, float("nan")), compared=False),
        Row(("frames", 12, 7, -3, "n/a & more"), rule_above=True),
    ),
    ("A note on <u>.",),
    best="lowest",
)


class _Page(HTMLParser):
    """Collects elements, the text of cells and every reference."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.cells: list[str] = []
        self.classes: list[str] = []
        self.open_tags: list[str] = []
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.references += [v or "" for k, v in attrs if k in ("href", "src", "xlink:href", "srcset", "data")]
        if tag not in ("meta", "img", "path", "use", "image", "br"):
            self.open_tags.append(tag)
        if tag in ("td", "th"):
            self._in_cell = True
            self.cells.append("")
            self.classes.append(values.get("class") or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if self.open_tags and self.open_tags[-1] == tag:
            self.open_tags.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._in_cell = False
        if tag not in ("meta", "img", "path", "use", "image", "br"):
            assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.cells[-1] += data


def _report() -> Report:
    figure = range_figure({"here": {"u": [0.9], "u'": [0.8]}}, ["all"], "MAE (px)")
    photo = np.random.default_rng(0).integers(0, 255, (8, 12, 3)).astype(np.uint8)
    blocks = ("A paragraph with <b>no</b> markup & more.", TABLE, Picture(figure, "bars"), Picture(figure, "again"))
    return Report(
        "A title <script>alert(1)</script>",
        "The verdict.",
        (Section("One", blocks), Section("Two", (Picture(photo, 'A photo "quoted"'),)), Section("Three", ())),
        (("seed", "0"),),
        "stereo: {loss: disparity}  # <x>\n",
    )


def test_nothing_is_loaded_from_elsewhere() -> None:
    text = render_report(_report())
    page = _Page(text)
    assert page.open_tags == [], "every element is closed"
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert page.references and all(r.startswith(("#", "data:image/webp;base64,")) for r in page.references)
    assert "http:" not in text and "https:" not in text and "@import" not in text
    assert all(target.startswith(("#", "data:")) for target in re.findall(r"url\(['\"]?([^)'\"]*)", text))


def test_inner_references_have_exactly_one_target() -> None:
    text = render_report(_report())
    identifiers = re.findall(r'\sid="([^"]*)"', text)
    assert len(set(identifiers)) == len(identifiers)
    wanted = set(re.findall(r'href="#([^"]*)"', text)) | set(re.findall(r"url\(#([^)]*)\)", text))
    assert wanted and wanted <= set(identifiers)


def test_every_cell_is_there_in_order_and_the_best_are_marked() -> None:
    page = _Page(render_report(_report()))
    expected = ["", "here", "the paper", "model", "0–20", "20–40", "0–20", "20–40"]
    expected += [TABLE.text(value) for row in TABLE.rows for value in row.cells]
    assert page.cells == expected
    marked = [cell for cell, kind in zip(page.cells, page.classes, strict=True) if "best" in kind]
    assert marked == ["0.54", "1.12", "0.80", "1.21"], "y is not compared, nor is what stands under the line"
    assert all("number" in kind for cell, kind in zip(page.cells, page.classes, strict=True) if cell == "0.92")


def test_text_is_escaped() -> None:
    text = render_report(_report())
    for raw in ("<script", "<b>no", "<px>", "on <u>", "# <x>", 'alt="A photo "quoted'):
        assert raw not in text
    for escaped in ("&lt;script&gt;alert(1)", "&lt;b&gt;no&lt;/b&gt;", "n/a &amp; more", "# &lt;x&gt;"):
        assert escaped in text


def test_a_report_is_the_same_bytes_again_and_no_partial_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    write_report(_report(), path)
    first = path.read_bytes()
    write_report(_report(), path)
    assert path.read_bytes() == first and [p.name for p in tmp_path.iterdir()] == ["report.html"]
    broken = Report("t", "l", (Section("s", (Picture(np.zeros((2, 2, 7), np.uint8), "seven channels"),)),))
    with pytest.raises(Exception, match=r".+"):
        write_report(broken, path)
    # The disk fills up in the middle of writing.
    write_bytes = Path.write_bytes

    def half(self: Path, data: bytes) -> int:
        write_bytes(self, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="No space"):
        write_report(_report(), path)
    assert path.read_bytes() == first and [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_values_as_written() -> None:
    written = [TABLE.text(value) for value in (0.924, -0.001, -0.125, -3, 12, None, float("nan"), "text")]
    assert written == ["0.92", "0.00", "−0.12", "−3", "12", "–", "–", "text"]


def test_equal_values_are_all_best_unless_all_are() -> None:
    table = Table(
        "t", (("a", "b", "c"),), (Row(("x", 1.001, 2.0)), Row(("y", 1.002, 2.0)), Row(("z", 0.5, 2.0))), best="highest"
    )
    assert [[table.is_best(row, column) for column in (1, 2)] for row in range(3)] == [
        [True, False],
        [True, False],
        [False, False],
    ]


def test_tables_that_do_not_fit_their_header_are_refused() -> None:
    with pytest.raises(ValueError, match="row 1: found 2 cells, expected 3"):
        Table("t", (("a", "b", "c"),), (Row(("x", 1.0)),))
    with pytest.raises(ValueError, match="header row 1: found 2 columns, expected 3"):
        Table("t", ((Heading("g", 2),), ("a", "b", "c")), ())


def test_the_terminal_shows_the_same_cells_aligned() -> None:
    stream = io.StringIO()
    print_tables([TABLE], Console(file=stream, width=20))
    lines = stream.getvalue().rstrip().splitlines()
    assert lines[0] == TABLE.caption and lines[-1] == TABLE.notes[0]
    body = [line for line in lines if line.startswith(("model", "u", "y", "frames"))]
    for row, line in zip(TABLE.rows, body[1:], strict=True):
        assert re.split(r"\s{2,}", line) == [TABLE.text(value) for value in row.cells]
    # Numbers end in the same column as their heading.
    ends = [[match.end() for match in re.finditer(r"\S+", line)][1:4] for line in body[:3]]
    assert ends[0] == ends[1] == ends[2]


def test_the_reports_tables_in_order() -> None:
    assert list(tables_of(_report())) == [TABLE]
