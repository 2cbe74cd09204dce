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


@contextmanager
def clear_errors() -> Iterator[None]:
    """End the program with one line and status 2 for a user's mistake, with status 130 for Ctrl-C.

    A user's mistake is what the package raises for bad input: `FormatError` and other `ValueError`s, a file that can't
    be read or written, a library of the system that is missing, a training that left the finite numbers, a setting that
    the configuration does not know. Anything else is a mistake of ours and keeps its traceback.
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
        _end(error.__cause__ or error)
    except (ValueError, OSError, FloatingPointError, OmegaConfBaseException) as error:
        _end(error)


def instantiate(config: DictConfig, **changes: Any) -> Any:
    """The object that a configuration group describes (`_target_` and its arguments), with plain lists and dicts."""
    return hydra.utils.instantiate(config, _convert_="all", **changes)


def _end(error: BaseException) -> None:
    # Messages of the configuration library go on with lines about its own inside.
    lines = str(error).strip().splitlines() or [type(error).__name__]
    print(f"error: {lines[0]}", file=sys.stderr)
    sys.exit(2)
