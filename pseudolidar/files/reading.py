"""Reading files that may be missing, damaged, of another kind or in another encoding."""

import codecs
import os
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files.errors import FormatError, saying_which_file

# The mark of UTF-32 begins with the one of UTF-16: longer ones first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# What NumPy raises for damaged files, found by damaging some in thousands of ways. MemoryError isn't one of them.
_BROKEN = (
    ValueError, LookupError, EOFError, OSError, NotImplementedError, SyntaxError, zipfile.BadZipFile, zlib.error,
    tokenize.TokenError,
)  # fmt: skip


def require_file(path: str | Path, what: str) -> Path:
    """The path itself, if it is a readable file; `what` names its content in errors.

    Raises:
        FormatError: no such file, or a folder.
        FileError: the system refuses, e.g. for lack of permission.
    """
    path = Path(path)
    with saying_which_file(path):
        if not path.is_file():
            raise FormatError(path, "file", "nothing there" if not path.exists() else "no regular file", what)
        os.close(os.open(path, os.O_RDONLY))
    return path


def require_suffix(path: str | Path, suffixes: Collection[str], what: str) -> str:
    """The suffix of a path in lower case, if it is one of `suffixes`, otherwise a FormatError; the file need not exist.

    `suffixes` are in lower case, with the dot; `what` names the content in errors, e.g. "a disparity map".
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in suffixes:
        expected = f"{what}, whose format the suffix says: {', '.join(suffixes)}"
        raise FormatError(path, "name", f"suffix {path.suffix}" if suffix else "no suffix", expected)
    return suffix


def read_bytes(path: str | Path, what: str) -> bytes:
    """The whole content of a file; errors as of `require_file`."""
    with saying_which_file(path):
        return require_file(path, what).read_bytes()


def read_lines(path: str | Path, what: str) -> Iterator[tuple[int, str]]:
    """The lines of a text file that are not blank, stripped, each with its number, from 1; `what` goes into errors.

    Lines end as in `str.splitlines`. The encoding is UTF-8, or what a byte order mark says (UTF-8, UTF-16, UTF-32).
    Invalid bytes are read as U+FFFD: comments and names in other encodings do no harm.

    Raises:
        FormatError: no such file, or NUL characters in it: UTF-16 without its mark, or a file that a crash left empty.
        FileError: the system refuses to read it.
    """
    data = read_bytes(path, what)
    mark, encoding = next((one for one in _MARKS if data.startswith(one[0])), (b"", "utf-8"))
    lines = data[len(mark) :].decode(encoding, errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if "\0" in line:
            raise FormatError(path, f"line {number}", "NUL characters", f"{what}, as plain text (UTF-8)")
    return ((number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip())


def read_npy(path: str | Path, expected: str) -> NDArray[Any]:
    """The array of an .npy file; FormatError if missing, damaged or pickled. `expected` names its content in errors."""
    return _read(path, expected, None)[0]


def read_npz(path: str | Path, names: tuple[str, ...], expected: str) -> dict[str, NDArray[Any]]:
    """The arrays `names` of an .npz file, which may hold others; errors as of `read_npy`, or for a missing array."""
    return dict(zip(names, _read(path, expected, names), strict=True))


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
