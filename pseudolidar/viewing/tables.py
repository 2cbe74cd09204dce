"""Tables of numbers as plain data, and their look in a terminal; the report draws the same ones."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from pseudolidar.statistics import Estimate

NO_VALUE = "–"


Value = str | float | int | Estimate | None
"""A cell: text as it is; a float with the table's digits; a whole number as it is; None or NaN for 'no value'."""


@dataclass(frozen=True)
class Heading:
    """A header cell over one column or a group of them."""

    text: str
    columns: int = 1


@dataclass(frozen=True)
class Row:
    """One row of a table's body.

    Attributes:
        cells: one for each column.
        compared: whether the row takes part in the choice of the best value (an oracle does not).
        rule_above: whether a line parts it from the row before; the best value is chosen among the rows between lines.
    """

    cells: tuple[Value, ...]
    compared: bool = True
    rule_above: bool = False


@dataclass(frozen=True)
class Table:
    """A table with a caption over it and notes under it.

    Attributes:
        caption: what the table shows.
        header: header rows from top to bottom, each covering every column; a cell is text or a `Heading`.
        rows: the body; columns that hold a number anywhere are set to the right.
        notes: footnotes.
        digits: decimals of floats.
        best: which value of a column is marked among compared rows; None marks nothing.

    Raises:
        ValueError: a header row or a body row that does not cover the columns exactly.
    """

    caption: str
    header: tuple[tuple[str | Heading, ...], ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())
    digits: int = 2
    best: Literal["lowest", "highest"] | None = None

    def __post_init__(self) -> None:
        if not self.header:
            raise ValueError(f"table '{self.caption}': found no header row, expected one or more")
        for number, cells in enumerate(self.headings, start=1):
            covered = sum(cell.columns for cell in cells)
            if covered != self.columns:
                raise ValueError(
                    f"table '{self.caption}', header row {number}: found {covered} columns, expected {self.columns}"
                )
        for number, row in enumerate(self.rows, start=1):
            if len(row.cells) != self.columns:
                raise ValueError(
                    f"table '{self.caption}', row {number}: found {len(row.cells)} cells, expected {self.columns}"
                )

    @property
    def headings(self) -> tuple[tuple[Heading, ...], ...]:
        """The header rows with every cell as a `Heading`."""
        return tuple(tuple(c if isinstance(c, Heading) else Heading(c) for c in row) for row in self.header)

    @property
    def columns(self) -> int:
        """How many columns the table has: those of its last header row."""
        return sum(cell.columns for cell in self.headings[-1])

    def is_numeric(self, column: int) -> bool:
        """Whether a column holds a number anywhere."""
        return any(isinstance(row.cells[column], int | float | Estimate) for row in self.rows)

    def text(self, value: Value) -> str:
        """The value as text for a cell."""
        if isinstance(value, str):
            return value
        if isinstance(value, Estimate):
            plus = "+" if value.signed and value.value >= 0 else ""
            if np.isnan(value.interval.low) or np.isnan(value.value):
                return plus + self.text(value.value)
            return f"{plus}{self.text(value.value)} [{self.text(value.interval.low)}, {self.text(value.interval.high)}]"
        if value is None or np.isnan(value):
            return NO_VALUE
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
        first = row
        while first > 0 and not self.rows[first].rule_above:
            first -= 1
        last = row + 1
        while last < len(self.rows) and not self.rows[last].rule_above:
            last += 1
        rivals = [self._number(i, column) for i in range(first, last) if self.rows[i].compared]
        numbers = [number for number in rivals if number is not None]
        if len(set(numbers)) < 2:
            return False
        return self._number(row, column) == (min(numbers) if self.best == "lowest" else max(numbers))

    def _number(self, row: int, column: int) -> float | None:
        value = self.rows[row].cells[column]
        if isinstance(value, Estimate):
            value = value.value
        if isinstance(value, str) or value is None or np.isnan(value):
            return None
        return round(float(value), self.digits)


def _aligned(text: str, width: int, where: Literal["left", "right", "centre"]) -> str:
    space = max(0, width - cell_len(text))
    before = {"left": 0, "right": space, "centre": space // 2}[where]
    return " " * before + text + " " * (space - before)


def _column_widths(table: Table, gap: int) -> list[int]:
    widths = [
        max((cell_len(table.text(row.cells[column])) for row in table.rows), default=0)
        for column in range(table.columns)
    ]
    for cells in reversed(table.headings):
        column = 0
        for cell in cells:
            span = range(column, column + cell.columns)
            missing = cell_len(cell.text) - sum(widths[i] for i in span) - gap * (cell.columns - 1)
            for k in range(max(0, missing)):
                widths[span[-1 - k % len(span)]] += 1
            column += cell.columns
    return widths


def table_text(table: Table) -> Text:
    """A table as text for a terminal of any width: aligned columns, column groups underlined, best values bold."""
    gap = 2
    widths = _column_widths(table, gap)
    total = sum(widths) + gap * (table.columns - 1)
    numeric = [table.is_numeric(column) for column in range(table.columns)]
    out = Text(no_wrap=True, overflow="ignore")
    out.append(table.caption + "\n", style="bold")
    out.append("─" * total + "\n", style="dim")
    for cells in table.headings:
        line, under, column = [], [], 0
        for cell in cells:
            width = sum(widths[column : column + cell.columns]) + gap * (cell.columns - 1)
            where: Literal["left", "right", "centre"] = "right" if numeric[column] else "left"
            line.append(_aligned(cell.text, width, "centre" if cell.columns > 1 else where))
            under.append(("─" if cell.columns > 1 and cell.text else " ") * width)
            column += cell.columns
        out.append((" " * gap).join(line).rstrip() + "\n")
        if "─" in "".join(under):
            out.append((" " * gap).join(under).rstrip() + "\n", style="dim")
    out.append("─" * total + "\n", style="dim")
    for i, row in enumerate(table.rows):
        if row.rule_above and i > 0:
            out.append("─" * total + "\n", style="dim")
        for column, value in enumerate(row.cells):
            last = column == table.columns - 1
            text = _aligned(table.text(value), widths[column], "right" if numeric[column] else "left")
            out.append(text.rstrip() if last else text, style="bold green" if table.is_best(i, column) else "")
            out.append("\n" if last else " " * gap)
    out.append("─" * total + "\n", style="dim")
    for note in table.notes:
        out.append(note + "\n", style="dim")
    out.rstrip()
    return out


def print_table(table: Table, console: Console | None = None) -> None:
    """Print a table as the report holds it; lines longer than the terminal are left whole."""
    (console or Console(highlight=False)).print(table_text(table), soft_wrap=True)


def print_tables(tables: Sequence[Table], console: Console | None = None) -> None:
    """Print several tables, each with an empty line after it."""
    console = console or Console(highlight=False)
    for table in tables:
        print_table(table, console)
        console.print()
