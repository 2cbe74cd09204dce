"""Files that are written whole or not at all."""

import io
import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from pseudolidar.files.errors import FormatError, saying_which_file
from pseudolidar.files.reading import require_suffix

# Written to a file to learn why writing it fails: more than the rest of any file system's block.
_PROBE_BYTES = 1 << 17

# There is no way to read the mask without setting it, which other threads would notice: once is enough.
_UMASK = os.umask(0)
os.umask(_UMASK)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it over `path` on success, remove it on failure.

    Write it through Python's own files (`write_bytes`, `write_text`, `open`): they report every byte that the system
    does not take. Code that writes through C's buffers (`tofile`, `np.save` into an open file, OpenCV) loses the last
    ones without a word. Of an `io.BytesIO` write `getvalue()`: a view of its buffer, left behind by a failed write,
    ends Python 3.12.1 with a segmentation fault. The temporary name keeps the suffix: libraries choose their format by
    it.

    Raises:
        FileError: the system refuses, e.g. for lack of space or of permission; names `path` and the reason.
    """
    path = Path(path)
    with saying_which_file(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            with _knowing_the_reason(temporary):
                yield temporary
            # mkstemp makes files that only their owner reads; results are for everybody, like any other file.
            temporary.chmod(0o666 & ~_UMASK)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _knowing_the_reason(temporary: Path) -> Iterator[None]:
    """Replace the error of a library that failed to write, and doesn't say why, by the system's own."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        try:
            with temporary.open("ab") as file:
                file.write(bytes(_PROBE_BYTES))
        except OSError as reason:
            raise reason from error
        raise


def write_file(path: str | Path, content: str | bytes | memoryview) -> None:
    """Write a file, text as UTF-8, whole or not at all; errors as of `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_npy(path: str | Path, array: ArrayLike) -> None:
    """Write an .npy file, whole or not at all; errors as of `replacing`."""
    # Into an open file NumPy writes past Python, and loses the last bytes where the disk is full.
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array), allow_pickle=False)
    write_file(path, buffer.getvalue())


def require_output_file(path: str | Path, suffixes: Collection[str], what: str) -> str:
    """The suffix of a file to write (`require_suffix`), which must be no folder; to be checked before the work."""
    if Path(path).is_dir():
        raise FormatError(path, "file", "a folder", f"the name of a file for {what}")
    return require_suffix(path, suffixes, what)


def require_output_folder(path: str | Path, what: str) -> Path:
    """The path itself, if it is a folder or can become one; to be checked before the work.

    A file of that name, or of the name of a folder above it, is a FormatError.
    """
    path = Path(path)
    for place in (path, *path.parents):
        if place.is_dir():
            break
        if place.exists():
            raise FormatError(place, "folder", "a file", f"a folder for {what}, or nothing yet")
    return path
