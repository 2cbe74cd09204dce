"""Arrays in NumPy's own files, which can be broken in many ways."""

import io
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pseudolidar.files.errors import FormatError
from pseudolidar.files.whole import replacing, require_file

# What NumPy raises for damaged files, found by damaging some in thousands of ways. MemoryError isn't one of them.
_BROKEN = (
    ValueError, LookupError, EOFError, OSError, NotImplementedError, SyntaxError, zipfile.BadZipFile, zlib.error,
    tokenize.TokenError,
)  # fmt: skip


def read_npy(path: str | Path, expected: str) -> NDArray[Any]:
    """The array of an .npy file.

    Args:
        path: the file.
        expected: what it should hold, for the error.

    Raises:
        FormatError: no such file, a damaged one, pickled objects.
    """
    return _read(path, expected, None)[0]


def read_npz(path: str | Path, names: tuple[str, ...], expected: str) -> dict[str, NDArray[Any]]:
    """Arrays of an .npz file, by name.

    Args:
        path: the file.
        names: of the arrays that are wanted; the file may hold others.
        expected: what it should hold, for the error.

    Raises:
        FormatError: no such file, a damaged one, pickled objects, no array of such a name.
    """
    return dict(zip(names, _read(path, expected, names), strict=True))


def write_npy(path: str | Path, array: ArrayLike) -> None:
    """Write an .npy file, whole or not at all.

    Raises:
        FileError: as `replacing`.
    """
    # Into an open file NumPy writes past Python, and loses the last bytes where the disk is full.
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array), allow_pickle=False)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def _read(path: str | Path, expected: str, names: tuple[str, ...] | None) -> list[NDArray[Any]]:
    require_file(path, expected)
    kind = ".npy" if names is None else ".npz"
    try:
        # A file object: NumPy leaves its own open where the file is broken.
        with open(path, "rb") as file:
            stored = np.load(file, allow_pickle=False)
            if isinstance(stored, np.ndarray) != (names is None):
                raise FormatError(path, "file", f"no {kind}", expected)
            return [stored] if names is None else [np.asarray(stored[name]) for name in names]
    except FormatError:
        raise
    except _BROKEN as error:
        # Of pickled objects NumPy says how to read them all the same, which runs what is in the file.
        reason = "pickled objects" if "allow_pickle" in str(error) or "pickled" in str(error) else error
        raise FormatError(path, "file", f"no readable {kind} ({reason})", expected) from error
