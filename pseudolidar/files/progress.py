"""Progress with the time left: a bar on a terminal, a line now and then in a file."""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from typing_extensions import override

T = TypeVar("T")

# Without a terminal: a line every tenth of the work, but not so soon after another, and every minute.
_TENTHS = 10
_SOONEST_S = 5.0
_LATEST_S = 60.0
# Columns of a terminal from which on the bar is long and descriptions stand below each other.
_WIDE = 110


def is_first_process() -> bool:
    """Whether this process reports progress: a single process, or the first that torchrun started."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ["RANK"] == "0"


def progress_bar() -> Progress:
    """Rich's progress bar: description, bar, count, free text (field `note`), elapsed time, time left.

    Where standard error is no terminal (a file, Slurm, CI), lines of text report it instead, at least one every minute
    while items finish, and one at the end. Of several processes only the first shows it.
    """
    if not is_first_process():
        return Progress(console=Console(quiet=True), disable=True)
    if not sys.stderr.isatty():
        return _Lines()
    console = Console(file=sys.stderr)
    is_wide = console.width >= _WIDE
    return Progress(
        TextColumn("{task.description:<36}" if is_wide else "{task.description}", markup=False),
        BarColumn(bar_width=28 if is_wide else 10),
        MofNCompleteColumn(),
        # What is left of the line.
        TextColumn(
            "{task.fields[note]}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
        ),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        expand=True,
        refresh_per_second=4,
    )


def track(iterable: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Iterate with a progress bar; `total` is by default `len(iterable)` where it has one."""
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    with progress_bar() as bar:
        task = bar.add_task(description, total=total, note="")
        for item in iterable:
            yield item
            bar.advance(task)


@dataclass
class _Printed:
    """When and where a task began (runs go on), when its last line came, and its tenths."""

    began: float
    first: float
    at: float
    tenths: int
    is_done: bool = False


class _Lines(Progress):
    """Report a progress bar's calls in lines of plain text."""

    def __init__(self) -> None:
        super().__init__(console=Console(file=sys.stderr, width=120), disable=True)
        self._printed: dict[TaskID, _Printed] = {}

    @override
    def stop(self) -> None:
        # Rich 13.0 ends a progress bar with an empty line even where it shows none.
        pass

    @override
    def add_task(self, description: str, *args: Any, **kwargs: Any) -> TaskID:
        number = super().add_task(description, *args, **kwargs)
        now, task = time.monotonic(), self.tasks[-1]
        self._printed[number] = _Printed(now, task.completed, now, _tenths(task))
        if task.total == 0:
            self._print(task, now)
        return number

    @override
    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._print_if_due(task_id)

    @override
    def update(self, task_id: TaskID, **kwargs: Any) -> None:
        super().update(task_id, **kwargs)
        self._print_if_due(task_id)

    def _print_if_due(self, number: TaskID) -> None:
        printed, now = self._printed[number], time.monotonic()
        task = next(task for task in self.tasks if task.id == number)
        is_due = now - printed.at >= (_SOONEST_S if _tenths(task) > printed.tenths else _LATEST_S)
        if is_due or (_is_done(task) and not printed.is_done):
            self._print(task, now)

    def _print(self, task: Task, now: float) -> None:
        printed = self._printed[task.id]
        printed.at, printed.tenths, printed.is_done = now, _tenths(task), _is_done(task)
        count = f"{task.completed:g}" if task.total is None else f"{task.completed:g}/{task.total:g}"
        elapsed, done = now - printed.began, task.completed - printed.first
        line = f"{task.description}: {count}, {_clock(elapsed)}"
        if task.total is not None and not printed.is_done and done > 0:
            line += f", {_clock(elapsed / done * (task.total - task.completed))} left"
        print("  ".join(filter(None, [line, task.fields.get("note", "")])), file=self.console.file, flush=True)


def _is_done(task: Task) -> bool:
    return task.total is not None and task.completed >= task.total


def _tenths(task: Task) -> int:
    return int(_TENTHS * task.completed / task.total) if task.total else 0


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
