"""Progress bars with the time left, one look for every part."""

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")


def progress_bar() -> Progress:
    """A rich progress bar: description, bar, count, free text (field `note`), elapsed time, time left.

    Where standard error is no terminal only the finished bar is printed, one line a task.
    """
    console = Console(file=sys.stderr, width=None if sys.stderr.isatty() else 120)
    return Progress(
        TextColumn("{task.description:<36}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        refresh_per_second=4,
    )


def track(iterable: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Iterate with a progress bar.

    Args:
        iterable: what to go through.
        description: what is done, e.g. "disparity maps".
        total: how many items; by default `len(iterable)` where it has one.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    with progress_bar() as bar:
        task = bar.add_task(description, total=total, note="")
        for item in iterable:
            yield item
            bar.advance(task)
