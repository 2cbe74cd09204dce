"""Tables of numbers as plain data, and how a terminal shows them; `viewing.report` draws the same ones in HTML."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from shutil import get_terminal_size
from typing import Literal

import numpy as np
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from pseudolidar.statistics import Estimate

Value = str | float | int | Estimate | None
"""A cell: text as it is; a float with the table's digits; a whole number as it is; None or NaN for 'no value'."""

_NO_VALUE = "–"
_GAP = "  "
_LONGEST_LINE = 100


@dataclass(frozen=True)
class Heading:
    """A header cell over one column or a group of them."""

    text: str
    columns: int = 1


@dataclass(frozen=True)
class Row:
    """One row of a table's body; only `compared` rows can have the best value (an oracle can't).

    `rule_above` draws a line above it; each block between lines has its own best value.
    """

    cells: tuple[Value, ...]
    compared: bool = True
    rule_above: bool = False


@dataclass(frozen=True)
class Table:
    """A table with a caption above and notes below.

    Attributes:
        header: header rows from top to bottom, each covering every column.
        rows: the body; columns with a number in any row are aligned to the right.
        digits: decimals of floats.
        best: which value of a column is marked among compared rows; None marks nothing.

    Raises:
        ValueError: a header row or a body row that does not cover the columns exactly.
    """

    caption: str
    header: tuple[tuple[str | Heading, ...], ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    digits: int = 2
    best: Literal["lowest", "highest"] | None = None

    def __post_init__(self) -> None:
        headings = [sum(cell.columns for cell in cells) for cells in self.headings]
        for kind, unit, counts in (
            ("header row", "columns", headings),
            ("row", "cells", [len(row.cells) for row in self.rows]),
        ):
            for number, found in enumerate(counts, start=1):
                if found != self.columns:
                    where = f"table '{self.caption}', {kind} {number}"
                    raise ValueError(f"{where}: found {found} {unit}, expected {self.columns}")

    @property
    def headings(self) -> tuple[tuple[Heading, ...], ...]:
        """The header rows with every cell as a `Heading`."""
        return tuple(tuple(c if isinstance(c, Heading) else Heading(c) for c in row) for row in self.header)

    @property
    def columns(self) -> int:
        """How many columns the last header row covers."""
        return sum(cell.columns for cell in self.headings[-1])

    def is_numeric(self, column: int) -> bool:
        """Whether any row has a number in this column."""
        return any(isinstance(row.cells[column], int | float | Estimate) for row in self.rows)

    def text(self, value: Value) -> str:
        """A value as a cell's text."""
        if isinstance(value, str):
            return value
        if isinstance(value, Estimate):
            plus = "+" if value.signed and value.value >= 0 else ""
            if np.isnan(value.interval.low) or np.isnan(value.value):
                return plus + self.text(value.value)
            return f"{plus}{self.text(value.value)} [{self.text(value.interval.low)}, {self.text(value.interval.high)}]"
        if value is None or np.isnan(value):
            return _NO_VALUE
        written = f"{value}" if isinstance(value, int | np.integer) else f"{value:.{self.digits}f}"
        # -0.00 says nothing that 0.00 does not.
        sign = written.startswith("-") and bool(written.strip("-0."))
        return ("−" if sign else "") + written.lstrip("-")

    def is_best(self, row: int, column: int) -> bool:
        """Whether a value is the best of its column among the compared rows between two lines, as written.

        Equal values are all marked, unless none of the block is worse.
        """
        if self.best is None or not self.rows[row].compared:
            return False
        blocks = list(accumulate(each.rule_above for each in self.rows))
        rivals = {
            self._number(i, column) for i, each in enumerate(self.rows) if each.compared and blocks[i] == blocks[row]
        }
        numbers = [number for number in rivals if number is not None]
        best = {"lowest": min, "highest": max}[self.best]
        return len(numbers) > 1 and self._number(row, column) == best(numbers)

    def _number(self, row: int, column: int) -> float | None:
        value = self.rows[row].cells[column]
        if isinstance(value, Estimate):
            value = value.value
        if isinstance(value, str) or value is None or np.isnan(value):
            return None
        return round(float(value), self.digits)


def table_text(table: Table) -> Text:
    """A table without its notes as text for a terminal: aligned columns, groups underlined, best values bold.

    `rich.table.Table` is not used: its cells cannot span several columns.
    """
    body = [tuple(Heading(table.text(value)) for value in row.cells) for row in table.rows]
    widths = _column_widths((*body, *reversed(table.headings)), table.columns)
    numeric = [table.is_numeric(column) for column in range(table.columns)]
    rule = "─" * (sum(widths) + len(_GAP) * (table.columns - 1)) + "\n"

    def line(cells: Sequence[Heading]) -> tuple[list[str], list[str]]:
        texts, lines, column = [], [], 0
        for cell in cells:
            width = sum(widths[column : column + cell.columns]) + len(_GAP) * (cell.columns - 1)
            space = max(0, width - cell_len(cell.text))
            before = space // 2 if cell.columns > 1 else space if numeric[column] else 0
            texts.append(" " * before + cell.text + " " * (space - before))
            lines.append(("─" if cell.columns > 1 and cell.text else " ") * width)
            column += cell.columns
        return texts, lines

    out = Text(no_wrap=True, overflow="ignore")
    out.append(table.caption + "\n", style="bold").append(rule, style="dim")
    for cells in table.headings:
        texts, lines = line(cells)
        out.append(_GAP.join(texts).rstrip() + "\n")
        if "─" in "".join(lines):
            out.append(_GAP.join(lines).rstrip() + "\n", style="dim")
    out.append(rule, style="dim")
    for i, row in enumerate(table.rows):
        if row.rule_above and i > 0:
            out.append(rule, style="dim")
        texts, _ = line(body[i])
        texts[-1] = texts[-1].rstrip()
        for column, text in enumerate(texts):
            out.append(text, style="bold green" if table.is_best(i, column) else "")
            out.append(_GAP if column < table.columns - 1 else "\n")
    return out.append(rule.rstrip(), style="dim")


def _column_widths(rows: Sequence[Sequence[Heading]], columns: int) -> list[int]:
    """Characters of each column; a group that is wider than its columns widens these from the last one on."""
    widths = [0] * columns
    for cells in rows:
        column = 0
        for cell in cells:
            span = range(column, column + cell.columns)
            missing = cell_len(cell.text) - sum(widths[i] for i in span) - len(_GAP) * (cell.columns - 1)
            for k in range(max(0, missing)):
                widths[span[-1 - k % len(span)]] += 1
            column += cell.columns
    return widths


def text_console() -> Console:
    """Standard output, with text wrapped between words: at 100 columns, or at the width of a narrower terminal.

    COLUMNS, where it is set, counts as the terminal's width.
    """
    return Console(highlight=False, width=min(_LONGEST_LINE, get_terminal_size((_LONGEST_LINE, 1)).columns))


def print_tables(tables: Sequence[Table], console: Console | None = None) -> None:
    """Print tables with their notes, each with an empty line after it.

    Notes are wrapped between words; table lines that are longer than the terminal are left whole.
    """
    console = console or text_console()
    for table in tables:
        console.print(table_text(table), soft_wrap=True)
        for note in table.notes:
            console.print(Text(note, style="dim"))
        console.print()
