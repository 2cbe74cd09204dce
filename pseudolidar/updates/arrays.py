"""Arrays of items in .npy files that grow in place: rows are appended to the file and count once the header says so."""

import io
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pseudolidar.files import FormatError, require_file, saying_which_file

_BYTES_AT_ONCE = 1 << 23


def append_rows(path: Path, dtype: str, shape: tuple[int, ...], first: int, value: ArrayLike) -> None:
    """Give the rows from `first` on all one value; whatever the file holds behind row `first` is dropped.

    Raises:
        FileError: the system refuses, e.g. for lack of space.
    """
    row_bytes = np.dtype(dtype).itemsize * int(np.prod(shape[1:]))
    with saying_which_file(path), path.open("r+b" if path.exists() else "wb") as file:
        if first == 0:
            file.write(_header(dtype, (0, *shape[1:])))
        file.truncate(len(_header(dtype, shape)) + first * row_bytes)
        file.seek(0, io.SEEK_END)
        step = max(1, _BYTES_AT_ONCE // row_bytes)
        block = np.broadcast_to(np.asarray(value, dtype), (min(step, shape[0] - first), *shape[1:])).tobytes()
        for row in range(first, shape[0], step):
            file.write(memoryview(block)[: min(step, shape[0] - row) * row_bytes])


def fit(path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    """Make the file say that it holds `shape`, and drop rows behind that.

    Raises:
        FormatError: no such file, other contents, or fewer rows.
    """
    require_file(path, f"{dtype} {shape}, .npy")
    header = _header(dtype, shape)
    expected = len(header) + np.dtype(dtype).itemsize * int(np.prod(shape))
    with path.open("r+b") as file:
        try:
            np.lib.format.read_magic(file)
            there, fortran_order, there_dtype = np.lib.format.read_array_header_1_0(file)
        except ValueError as error:
            raise FormatError(path, "header", error, f"{dtype} {shape}, .npy") from error
        if (there[1:], fortran_order, there_dtype, file.tell()) != (shape[1:], False, np.dtype(dtype), len(header)):
            raise FormatError(path, "header", f"{there_dtype} {there}", f"{dtype} {shape}")
        size = file.seek(0, io.SEEK_END)
        if size < expected:
            raise FormatError(path, f"byte {size}", "the end of the file", f"{expected} bytes for {dtype} {shape}")
        if there != shape:
            file.seek(0)
            file.write(header)
        if size > expected:
            file.truncate(expected)


def mapped(path: Path, mode: Literal["r", "r+"] = "r") -> NDArray[Any]:
    """The array of an .npy file as a memory map, read-only by default."""
    return np.asarray(np.load(path, mmap_mode=mode))


def write_header(file: BinaryIO, dtype: str, shape: tuple[int, ...]) -> None:
    """Start a new file of `shape`; its rows are to follow."""
    file.write(_header(dtype, shape))


def _header(dtype: str, shape: tuple[int, ...]) -> bytes:
    # numpy leaves room for the first dimension to grow: the length of the header doesn't depend on it.
    file = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)
    return file.getvalue()
