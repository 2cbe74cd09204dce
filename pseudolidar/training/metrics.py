"""What a training says of itself on the way: files of numbers beside the checkpoint, TensorBoard, Weights & Biases."""

import csv
import io
import logging
import math
import os
import resource
import secrets
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from typing_extensions import override

from pseudolidar.files import FormatError, InputError, read_bytes, write_file

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
        steps: rows of later steps go; 0: there is no file until the first row is written.
    """

    def __init__(self, path: Path, steps: int) -> None:
        self.path = path
        self._rows: list[Metrics] = []
        self._columns: list[str] = []
        self._end = 0
        self._written_at = time.monotonic()
        self._is_failing = False
        with self._said():
            if steps:
                self._keep(steps)
            else:
                path.unlink(missing_ok=True)

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
        with self._said():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Opened for reading and writing where it is, or made.
            with open(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0) as file:
                # A file that somebody took away, or cut, begins anew.
                if file.seek(0, os.SEEK_END) < self._end:
                    self._end = 0
                if self._end == 0:
                    self._columns = list(self._rows[0])
                content = self._text(with_header=self._end == 0)
                # Behind the last whole row: an attempt that failed may have left a part of one.
                file.truncate(self._end)
                file.seek(self._end)
                written = 0
                while written < len(content):
                    # Where there is room for a part only, the next call says why.
                    written += file.write(content[written:])
            self._end += len(content)
            self._rows = []
            self._is_failing = False

    def _text(self, with_header: bool) -> bytes:
        text = io.StringIO()
        rows = csv.DictWriter(text, self._columns, restval="", extrasaction="ignore", lineterminator="\n")
        if with_header:
            rows.writeheader()
        rows.writerows({name: _written(value) for name, value in row.items()} for row in self._rows)
        return text.getvalue().encode()

    def _keep(self, steps: int) -> None:
        """Find the end of the last row up to `steps`; a file that is gone or broken begins anew."""
        if not self.path.exists():
            return
        header, *lines = self.path.read_bytes().splitlines(keepends=True) or [b""]
        if not (header.startswith(b"step,") and header.endswith(b"\n")):
            return
        self._columns, self._end = header.decode(errors="replace").strip().split(","), len(header)
        for line in lines:
            step = line.partition(b",")[0]
            if not line.endswith(b"\n") or not step.isdigit() or int(step) > steps:
                break
            self._end += len(line)

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not self._is_failing:
                logger.warning("%s: %s; the training goes on, its curves are kept in memory", self.path, error.strerror)
            self._is_failing = True


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

    A last line without its end, of a training under way, is left out.

    Raises:
        FormatError: no such file, no row, or a row that is no numbers.
        FileError: the system refuses to read it.
    """
    expected = "the numbers of a training, a line a step"
    header, *lines = read_bytes(path, expected).rpartition(b"\n")[0].decode(errors="replace").split("\n")
    names = header.split(",")
    if names[0] != "step" or not lines:
        raise FormatError(path, "line 1", "no row" if names[0] == "step" else repr(header[:80]), expected)
    rows = []
    for number, line in enumerate(lines, start=2):
        try:
            values = [float(value or math.nan) for value in line.split(",")]
        except ValueError as error:
            raise FormatError(path, f"line {number}", repr(line[:80]), f"{len(names)} numbers") from error
        if len(values) != len(names):
            raise FormatError(path, f"line {number}", f"{len(values)} numbers", f"{len(names)}, as in line 1")
        rows.append(values)
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


class Logger(ABC):
    """Where a training's numbers go besides its files."""

    @abstractmethod
    def opened(self, checkpoint: Path, steps: int) -> AbstractContextManager[Callable[[int, Metrics], None]]:
        """Begin, or go on after `steps` steps: a context that gives what takes the numbers of a step.

        What takes them may fail: that is said, and it is asked no more. The end of the context must not fail.
        """


@dataclass(frozen=True)
class CsvLogger(Logger):
    """Nothing besides the files."""

    @override
    @contextmanager
    def opened(self, checkpoint: Path, steps: int) -> Iterator[Callable[[int, Metrics], None]]:
        yield lambda step, metrics: None


@dataclass(frozen=True)
class TensorBoardLogger(Logger):
    """TensorBoard's event files in `folder`/NAME of the checkpoint; None: beside it, in `tensorboard`.

    InputError where TensorBoard is not installed.
    """

    folder: Path | None

    def __post_init__(self) -> None:
        _require_installed("tensorboard")

    @override
    @contextmanager
    def opened(self, checkpoint: Path, steps: int) -> Iterator[Callable[[int, Metrics], None]]:
        from torch.utils.tensorboard import SummaryWriter

        folder = (self.folder or checkpoint.parent / "tensorboard") / checkpoint.name
        # What is there of this step and later ones, from a run that was killed or replaced, is hidden.
        writer = SummaryWriter(str(folder), purge_step=steps + 1)

        def log(step: int, metrics: Metrics) -> None:
            for name, value in metrics.items():
                writer.add_scalar(name, value, step)
            # What a killed run held back would be missing from its curves.
            writer.flush()

        try:
            yield log
        finally:
            # It fails where a write failed before, which was said then.
            with suppress(OSError):
                writer.close()


@dataclass(frozen=True)
class WandbLogger(Logger):
    """Weights & Biases: a run of `project` with the checkpoint's name. InputError: not installed, or it refuses.

    Attributes:
        mode: `offline` (beside the checkpoint in `wandb`, for `wandb sync`; of a run that goes on, the last folder has
            all steps) or `online`.
    """

    project: str
    mode: Literal["offline", "online"]

    def __post_init__(self) -> None:
        _require_installed("wandb")

    @override
    @contextmanager
    def opened(self, checkpoint: Path, steps: int) -> Iterator[Callable[[int, Metrics], None]]:
        import wandb

        number = None
        if self.mode == "online":
            # A training that goes on goes on as the same run; a new one, even in the same place, is a new run.
            known = checkpoint.parent / "wandb" / f"{checkpoint.name}.id"
            if not (steps and known.exists()):
                write_file(known, secrets.token_hex(8))
            number = known.read_text()
        try:
            run = wandb.init(
                project=self.project,
                id=number,
                name=checkpoint.name,
                dir=str(checkpoint.parent),
                mode=self.mode,
                resume=None if number is None else "allow",
                # The terminal belongs to the progress bar.
                settings=wandb.Settings(console="off"),
            )
        except wandb.Error as error:
            expected = "a run, or logger.mode=offline"
            raise InputError(f"logger: found wandb's answer '{error}', expected {expected}") from error
        try:
            if self.mode == "offline":
                # The last rows before a kill never reach wandb's file: the new one is whole by itself.
                for step, row in _rows_before(checkpoint, steps).items():
                    run.log(row, step=step)
            yield lambda step, metrics: run.log(dict(metrics), step=step)
        finally:
            # So too where its process died on the way.
            with suppress(Exception):
                run.finish()


def _rows_before(checkpoint: Path, steps: int) -> dict[int, dict[str, float]]:
    """What was logged of the first `steps` steps, as far as its files have it."""
    rows: dict[int, dict[str, float]] = {}
    for path, prefix in ((metrics_path(checkpoint), ""), (validation_path(checkpoint), "validation/")):
        with suppress(FormatError):
            columns = read_metrics(path)
            for i, step in enumerate(columns.pop("step")):
                if step <= steps:
                    rows.setdefault(int(step), {}).update(
                        {prefix + name: values[i] for name, values in columns.items()}
                    )
    return rows


def _require_installed(package: str) -> None:
    found = find_spec(package)
    # A folder of that name, with what was logged, is no package.
    if found is None or found.origin is None:
        raise InputError(f"logger: found no {package}, expected it installed (pip install {package}), or logger=csv")


class Curves:
    """The numbers of a run on their way: to the files, the logger and the progress bar."""

    def __init__(self, log: Callable[[int, Metrics], None], checkpoint: Path, done: int) -> None:
        self._steps = MetricsFile(metrics_path(checkpoint), done)
        self._validations = MetricsFile(validation_path(checkpoint), done)
        self._log: Callable[[int, Metrics], None] | None = log
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
        self._tell(step, metrics)
        self._recent = [*self._recent[1 - _SMOOTHING_STEPS :], metrics]
        loss, rate, waiting = (
            sum(each[name] for each in self._recent) / len(self._recent) for name in ("loss", "items_per_s", "waiting")
        )
        return f"loss {loss:.4f}, {rate:.3g}/s" + (f", {waiting:.0%} waiting for data" if waiting > _LONG_WAIT else "")

    def add_validation(self, step: int, measured: Metrics) -> None:
        """Add the test losses after a step."""
        self._validations.add({"step": step, **measured})
        self._validations.write()
        self._tell(step, {f"validation/{name}": value for name, value in measured.items()})

    def write(self) -> None:
        """Write what was added since."""
        self._steps.write()
        self._validations.write()

    def _tell(self, step: int, metrics: Metrics) -> None:
        if self._log is None:
            return
        try:
            self._log(step, metrics)
        except Exception as error:  # Whatever another program's fault is, the training is worth more.
            self._log = None
            logger.warning("logger: %s at step %d; the training goes on without it", error, step)


def peak_memory_mib(device: torch.device) -> float:
    """The most memory that this process took so far: on a GPU there, else of the machine; MiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    # Linux counts KiB, macOS bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
