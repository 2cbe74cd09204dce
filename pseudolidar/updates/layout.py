"""Files of a prediction store: its state (JSON), and arrays (.npy) that grow in place.

Appended rows count only once the array's header and the state include them.
"""

import io
import json
import operator
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pseudolidar.files import FormatError, InputError, require_file, saying_which_file, write_file

_MOST_CLASSES = int(np.iinfo(np.int16).max)
_BYTES_AT_ONCE = 1 << 23


@dataclass(frozen=True)
class StepRecord:
    """A finished step: how many items were requested, evaluated, and got another label (first labels don't count)."""

    budget: int
    evaluated: int
    changed: int
    rule: str


@dataclass(frozen=True)
class State:
    """The part of a store that decides what is valid: rows of the arrays beyond `items` do not count.

    `items`, `classes` are N, K; `prior` is K probabilities, rounded to float32; `steps` are the finished ones.
    """

    items: int
    classes: int
    prior: tuple[float, ...]
    keep_votes: bool
    steps: tuple[StepRecord, ...]
    keep_last: bool = False  # the first stores don't say it

    @classmethod
    def fresh(cls, items: int, classes: int, prior: ArrayLike | None, keep_votes: bool, keep_last: bool) -> "State":
        """The state before the first step; arguments as for `PredictionStore.create`."""
        items, classes = operator.index(items), operator.index(classes)
        if items < 0:
            raise ValueError(f"items: found {items}, expected 0 or more")
        if not 1 <= classes <= _MOST_CLASSES:
            raise InputError(f"classes: found {classes}, expected 1 to {_MOST_CLASSES}")
        values = np.full(classes, 1 / classes) if prior is None else np.asarray(prior, np.float64)
        if values.shape != (classes,):
            raise ValueError(f"prior: found shape {values.shape}, expected {(classes,)}")
        total = values.sum()
        if not (values >= 0).all() or abs(total - 1) > 1e-6:
            raise ValueError(f"prior: found a sum of {total:.9g}, the least {values.min()}, expected probabilities")
        # As in a step, what is possible stays so in float32.
        kept = np.where(values > 0, np.maximum(values / total, np.finfo(np.float32).tiny), 0).astype(np.float32)
        return cls(items, classes, tuple(kept.tolist()), keep_votes, (), keep_last)

    @classmethod
    def read(cls, path: Path) -> "State":
        """Read a file of `write`; FormatError for another file."""
        try:
            stored = json.loads(path.read_text())
            steps = tuple(StepRecord(**record) for record in stored["steps"])
            return cls(**stored | {"prior": tuple(stored["prior"]), "steps": steps})
        except (ValueError, TypeError, KeyError) as error:
            raise FormatError(path, "file", error, "the state of a prediction store") from error

    def write(self, path: Path) -> None:
        """Write a JSON file, whole or not at all."""
        write_file(path, json.dumps(asdict(self)))

    def arrays(self) -> dict[str, tuple[str, tuple[int, ...], ArrayLike]]:
        """For each array's name its dtype and shape, and the value of rows that were never evaluated."""
        rows = (self.items,)
        entropy = sum(-p * np.log(p) for p in self.prior if p > 0)
        arrays: dict[str, tuple[str, tuple[int, ...], ArrayLike]] = {
            "posterior": ("<f4", (*rows, self.classes), self.prior),
            # Never -0, whose bits would rank above all others.
            "entropy": ("<f4", rows, max(0.0, entropy)),
            "labels": ("<i2", rows, -1),
            "evaluations": ("<u2", rows, 0),
        }
        if self.keep_votes:
            arrays["votes"] = "<u2", (*rows, self.classes), 0
        if self.keep_last:
            arrays["last"] = "<i4", rows, -1
        return arrays


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which gets its name only when complete; an error leaves nothing behind."""
    temporary = folder.with_name(f".{folder.name}.new")
    with saying_which_file(folder):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            temporary.rename(folder)
        except BaseException:
            shutil.rmtree(temporary)
            raise


def append_rows(path: Path, dtype: str, shape: tuple[int, ...], first: int, value: ArrayLike) -> None:
    """Fill the rows from `first` on with one value, whatever the file holds behind row `first`."""
    row_bytes = np.dtype(dtype).itemsize * int(np.prod(shape[1:]))
    with saying_which_file(path), path.open("r+b" if path.exists() else "wb") as file:
        if first == 0:
            file.write(header(dtype, (0, *shape[1:])))
        file.truncate(len(header(dtype, shape)) + first * row_bytes)
        file.seek(0, io.SEEK_END)
        step = max(1, _BYTES_AT_ONCE // row_bytes)
        block = np.broadcast_to(np.asarray(value, dtype), (min(step, shape[0] - first), *shape[1:])).tobytes()
        for row in range(first, shape[0], step):
            file.write(memoryview(block)[: min(step, shape[0] - row) * row_bytes])


def fit(path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    """Set the shape in the file's header and drop rows beyond it; FormatError where the file holds fewer."""
    require_file(path, f"{dtype} {shape}, .npy")
    new_header = header(dtype, shape)
    expected = len(new_header) + np.dtype(dtype).itemsize * int(np.prod(shape))
    with path.open("r+b") as file:
        try:
            np.lib.format.read_magic(file)
            there, fortran_order, there_dtype = np.lib.format.read_array_header_1_0(file)
        except ValueError as error:
            raise FormatError(path, "header", error, f"{dtype} {shape}, .npy") from error
        if (there[1:], fortran_order, there_dtype, file.tell()) != (shape[1:], False, np.dtype(dtype), len(new_header)):
            raise FormatError(path, "header", f"{there_dtype} {there}", f"{dtype} {shape}")
        size = file.seek(0, io.SEEK_END)
        if size < expected:
            raise FormatError(path, f"byte {size}", "the end of the file", f"{expected} bytes for {dtype} {shape}")
        if there != shape:
            file.seek(0)
            file.write(new_header)
        if size > expected:
            file.truncate(expected)


def mapped(path: Path, mode: Literal["r", "r+"] = "r") -> NDArray[Any]:
    """The array of an .npy file as a memory map."""
    return np.asarray(np.load(path, mmap_mode=mode))


def header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """The header of an .npy file; NumPy leaves room for N to grow, so that its length does not depend on N."""
    file = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)
    return file.getvalue()
