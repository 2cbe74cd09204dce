"""Files that are written whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pseudolidar.files.errors import FileError, FormatError

# There is no way to read the mask without setting it, which other threads would notice: once is enough.
_UMASK = os.umask(0)
os.umask(_UMASK)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it over `path` on success, remove it on failure.

    The temporary name keeps the suffix, since image writers choose their format by it.

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
            yield temporary
            # mkstemp makes files that only their owner reads; results are shared like any other file.
            temporary.chmod(0o666 & ~_UMASK)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def saying_which_file(path: str | Path) -> Iterator[None]:
    """Turn what the system says while `path` is read or written into an error that names `path` and the reason."""
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error


def require_file(path: str | Path, what: str) -> Path:
    """The path itself, if it is a file; `what` it should hold goes into the error."""
    path = Path(path)
    if not path.is_file():
        raise FormatError(path, "file", "nothing there" if not path.exists() else "no regular file", what)
    return path
