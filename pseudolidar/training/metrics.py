"""What a training says of itself on the way: files of numbers beside the checkpoint, TensorBoard, Weights & Biases."""

import csv
import errno
import hashlib
import io
import logging
import math
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from pseudolidar.files import FormatError, InputError, read_lines

logger = logging.getLogger(__name__)

# Steps over which the progress bar's loss and rate are smoothed.
_SMOOTHING_STEPS = 20
# A part of the time spent waiting for batches that is worth saying.
_LONG_WAIT = 0.1
# Time between two writes of what was collected.
_WRITTEN_EVERY_S = 10.0

Metrics = Mapping[str, float]


class MetricsFile:
    """A CSV file of numbers, a row for each step; what a run that goes on does again is cut off first.

    Rows are collected and written now and then. A disk that is full, or gone, is said once and does not end a training:
    the rows stay in memory, and every write tries again.

    Args:
        path: of the file; its first column is `step`.
        steps: rows of later steps go; 0: a new file.
    """

    def __init__(self, path: Path, steps: int) -> None:
        self.path = path
        self._rows: list[Metrics] = []
        self._columns: list[str] | None = None
        self._end = 0
        self._written_at = time.monotonic()
        self._has_failed = False
        if steps:
            self._keep(steps)

    def add(self, row: Metrics) -> None:
        """Add a row, which has the columns of the first."""
        self._rows.append(row)
        if time.monotonic() - self._written_at >= _WRITTEN_EVERY_S:
            self.write()

    def write(self) -> None:
        """Write what was added since."""
        self._written_at = time.monotonic()
        if not self._rows:
            return
        text = io.StringIO()
        columns = self._columns or list(self._rows[0])
        rows = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
        if self._columns is None:
            rows.writeheader()
        rows.writerows({name: _written(value) for name, value in row.items()} for row in self._rows)
        content = text.getvalue().encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("r+b" if self._columns is not None else "wb", buffering=0) as file:
                # Behind the last whole row: an attempt that failed may have left a part of one.
                file.truncate(self._end)
                file.seek(self._end)
                written = file.write(content)
                if written < len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            if not self._has_failed:
                logger.warning("%s: %s; the training goes on, its curves are kept in memory", self.path, error.strerror)
            self._has_failed = True
            return
        self._columns, self._end, self._rows = columns, self._end + len(content), []

    def _keep(self, steps: int) -> None:
        """Find the end of the last row up to `steps`; a file that is gone or broken begins anew."""
        try:
            lines = self.path.read_bytes().splitlines(keepends=True)
        except OSError:
            return
        if not lines or not lines[0].startswith(b"step,"):
            return
        self._columns, self._end = lines[0].decode().strip().split(","), len(lines[0])
        for line in lines[1:]:
            step = line.partition(b",")[0]
            if not line.endswith(b"\n") or not step.isdigit() or int(step) > steps:
                break
            self._end += len(line)


def _written(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.7g}"


def metrics_path(checkpoint: Path) -> Path:
    """The file of a training's numbers by step, beside its checkpoint."""
    return checkpoint.with_name(f"{checkpoint.name}.metrics.csv")


def validation_path(checkpoint: Path) -> Path:
    """The file of a training's test losses by step, beside its checkpoint."""
    return checkpoint.with_name(f"{checkpoint.name}.validation.csv")


def read_metrics(path: str | Path) -> dict[str, list[float]]:
    """The columns of a file that a training wrote, by name, NaN where a row has nothing; `step` comes first.

    Raises:
        FormatError: no such file, no row, or a row that is no numbers.
    """
    expected = "the numbers of a training, a line a step"
    (_, header), *lines = read_lines(path, expected)
    names = header.split(",")
    columns: dict[str, list[float]] = {name: [] for name in names}
    if names[0] != "step" or not lines:
        raise FormatError(path, "line 1", header[:80] if lines else "no row", expected)
    for number, line in lines:
        try:
            values = [float(value or math.nan) for value in line.split(",")]
        except ValueError as error:
            raise FormatError(path, f"line {number}", line[:80], f"{len(names)} numbers") from error
        if len(values) != len(names):
            raise FormatError(path, f"line {number}", f"{len(values)} numbers", f"{len(names)}, as in line 1")
        for name, value in zip(names, values, strict=True):
            columns[name].append(value)
    return columns


@runtime_checkable
class Logger(Protocol):
    """Where a training's numbers go besides its files."""

    def opened(self, checkpoint: Path, steps: int) -> AbstractContextManager[Callable[[int, Metrics], None]]:
        """Begin, or go on after `steps` steps: a context that gives what takes the numbers of a step."""


@dataclass(frozen=True)
class CsvLogger:
    """Nothing besides the files."""

    @contextmanager
    def opened(self, checkpoint: Path, steps: int) -> Iterator[Callable[[int, Metrics], None]]:
        """See `Logger`."""
        yield lambda step, metrics: None


@dataclass(frozen=True)
class TensorBoardLogger:
    """TensorBoard's event files in `folder`/NAME of the checkpoint; None: beside it, in `tensorboard`."""

    folder: Path | None

    @contextmanager
    def opened(self, checkpoint: Path, steps: int) -> Iterator[Callable[[int, Metrics], None]]:
        """See `Logger`; InputError where TensorBoard is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            expected = "it installed (pip install tensorboard), or logger=csv"
            raise InputError(f"logger: found no TensorBoard, expected {expected}") from error
        folder = (self.folder or checkpoint.parent / "tensorboard") / checkpoint.name
        # Steps that a run takes again are hidden.
        writer = SummaryWriter(str(folder), purge_step=steps + 1 if steps else None)
        try:

            def log(step: int, metrics: Metrics) -> None:
                for name, value in metrics.items():
                    writer.add_scalar(name, value, step)

            yield log
        finally:
            writer.close()


@dataclass(frozen=True)
class WandbLogger:
    """Weights & Biases: a run of `project` with the checkpoint's name.

    Attributes:
        mode: `offline` (a folder `wandb` beside the checkpoint, for `wandb sync`) or `online`.
    """

    project: str
    mode: str

    @contextmanager
    def opened(self, checkpoint: Path, steps: int) -> Iterator[Callable[[int, Metrics], None]]:
        """See `Logger`; InputError where wandb is not installed."""
        try:
            import wandb
        except ImportError as error:
            expected = "it installed (pip install wandb), or logger=csv"
            raise InputError(f"logger: found no wandb, expected {expected}") from error
        # The same place is the same run, which goes on.
        number = hashlib.sha256(str(checkpoint.resolve()).encode()).hexdigest()[:16]
        run = wandb.init(
            project=self.project,
            id=number,
            name=checkpoint.name,
            dir=str(checkpoint.parent),
            mode=self.mode,
            resume="allow",
        )
        try:
            yield lambda step, metrics: run.log(dict(metrics), step=step)
        finally:
            run.finish()


class Curves:
    """The numbers of a run on their way: to the files, the logger and the progress bar."""

    def __init__(self, log: Callable[[int, Metrics], None], checkpoint: Path, done: int) -> None:
        self._steps = MetricsFile(metrics_path(checkpoint), done)
        self._validations = MetricsFile(validation_path(checkpoint), done)
        self._log = log
        self._recent: list[Metrics] = []

    @classmethod
    @contextmanager
    def opened(cls, logger: Logger, checkpoint: Path, done: int) -> Iterator["Curves"]:
        """Of a run that has taken `done` steps."""
        with logger.opened(checkpoint, done) as log:
            curves = cls(log, checkpoint, done)
            try:
                yield curves
            finally:
                curves.write()

    def add(self, step: int, metrics: Metrics) -> str:
        """Add the numbers of a step; what to say beside the progress bar."""
        self._steps.add({"step": step, **metrics})
        self._log(step, metrics)
        self._recent = [*self._recent[1 - _SMOOTHING_STEPS :], metrics]
        loss, rate, waiting = (
            sum(each[name] for each in self._recent) / len(self._recent) for name in ("loss", "items_per_s", "waiting")
        )
        return f"loss {loss:.4f}, {rate:.3g}/s" + (f", {waiting:.0%} waiting for data" if waiting > _LONG_WAIT else "")

    def add_validation(self, step: int, measured: Metrics) -> None:
        """Add the test losses after a step."""
        self._validations.add({"step": step, **measured})
        self._validations.write()
        self._log(step, {f"validation/{name}": value for name, value in measured.items()})

    def write(self) -> None:
        """Write what was added since."""
        self._steps.write()
        self._validations.write()


def peak_memory_mib(device: torch.device) -> float:
    """The most memory that this process took so far: on a GPU there, else of the machine; MiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    # Linux counts KiB, macOS bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
