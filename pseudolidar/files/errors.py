"""Errors for users, which alone end a command in one line; all others keep their traceback."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """An error in what the user gave; its text has place, found and expected in one line."""


class InputError(UserError, ValueError):
    """A setting, or a combination of settings, that can't be used."""


class FormatError(InputError):
    """A file does not hold what it should; `place` is e.g. "line 3, field 15 (rotation_y)", or "file" for all of it."""

    def __init__(self, path: str | Path, place: str, found: object, expected: str) -> None:
        self.path = Path(path)
        self.place = place
        self.found = found
        self.expected = expected
        super().__init__(f"{path}: {place}: found {found}, expected {expected}")

    def __reduce__(self) -> tuple[type["FormatError"], tuple[Path, str, object, str]]:
        # Errors cross to other processes by pickle, which calls the class with `args`.
        return type(self), (self.path, self.place, self.found, self.expected)


class FileError(UserError, OSError):
    """The system refuses to read or write a file: no permission, no space, a read-only disk."""


class DivergenceError(UserError, FloatingPointError):
    """A training whose loss or gradient is not finite."""


class WorkerError(UserError, ChildProcessError):
    """Worker processes that die."""


@contextmanager
def saying_which_file(path: str | Path) -> Iterator[None]:
    """Turn a system error while `path` is read or written into a FileError with `path` and the reason."""
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error
