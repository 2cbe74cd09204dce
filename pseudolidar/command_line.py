"""How every script ends when something is wrong: one line that says what, no traceback from deep inside."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from pseudolidar.files import FileError, UserError


@contextmanager
def clear_errors() -> Iterator[None]:
    """End the program with one line and status 2 for a user's mistake, with status 130 for Ctrl-C.

    A user's mistake is a `UserError`, a setting that the configuration does not know, a file that the system refuses
    to read or write. Anything else is a mistake of ours and keeps its traceback.
    """
    # What the package counts, boxes skipped for instance, is for the user to see.
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("pseudolidar").setLevel(logging.INFO)
    try:
        yield
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except InstantiationException as error:
        if not isinstance(error.__cause__, UserError):
            raise
        _end(error.__cause__)
    except (UserError, OmegaConfBaseException) as error:
        _end(error)
    except OSError as error:
        if error.filename is None:
            raise
        _end(FileError(f"{error.filename}: {error.strerror}"))


def instantiate(config: DictConfig, **changes: Any) -> Any:
    """The object that a configuration group describes (`_target_` and its arguments), with plain lists and dicts."""
    return hydra.utils.instantiate(config, _convert_="all", **changes)


def _end(error: BaseException) -> None:
    # Messages of the configuration library go on with lines about its own inside.
    lines = str(error).strip().splitlines() or [type(error).__name__]
    print(f"error: {lines[0]}", file=sys.stderr)
    sys.exit(2)
