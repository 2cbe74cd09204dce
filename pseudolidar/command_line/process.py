"""The process of a command: set up as its work wants it, ended in one line after a user's mistake."""

import logging
import os
import platform
import shlex
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import NoReturn

import pseudolidar
from pseudolidar.files import FileError, UserError, is_first_process

SHOW_TRACEBACK = "PSEUDOLIDAR_TRACEBACK"
"""Environment variable: 1 shows the traceback of a user's mistake too."""

# What a process has to find before it imports PyTorch; worker processes inherit it. The user's own choice counts.
_ENVIRONMENT = {
    # Threads that wait for each other in a busy loop make training four to twenty times slower as soon as anything
    # else wants one of the cores; sleeping costs nothing that can be measured.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Large tensors come in huge pages (Linux): touching 200 MB of ordinary ones first takes as long as convolving them.
    "THP_MEM_ALLOC_ENABLE": "1",
}

# Loggers of libraries that remark on what is no matter: the temporary folder that is taken where there is no home; no
# CUDA runtime, where torch.compile compiles for the processor.
_REMARKS = ("matplotlib", "torch.utils.cpp_extension")


def prepare_process() -> None:
    """Set environment variables for a process whose only purpose is a command; before PyTorch is imported."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextmanager
def clear_errors() -> Iterator[None]:
    """End the program with one line and status 2 for a user's mistake, with status 130 for Ctrl-C.

    A user's mistake is a `UserError`, or a file that the system refuses to read or write. Anything else is a mistake of
    ours: it keeps its traceback, a line says what to send, and the status is 1.
    """
    # What the package counts, boxes skipped for instance, is for the user to see; of several processes' once.
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("pseudolidar").setLevel(logging.INFO if is_first_process() else logging.WARNING)
    for name in _REMARKS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read the output, `head` for instance, has seen enough. Python would complain again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except UserError as error:
        _end(error)
    except OSError as error:
        if error.filename is None or error.errno is None:
            _report(error)
        _end(FileError(f"{error.filename}: {error.strerror}"))
    except Exception as error:
        _report(error)


def _end(error: UserError) -> NoReturn:
    if os.environ.get(SHOW_TRACEBACK) == "1":
        traceback.print_exc()
    print(f"error: {str(error).strip() or type(error).__name__}", file=sys.stderr)
    sys.exit(2)


def _report(error: Exception) -> NoReturn:
    traceback.print_exc()
    versions = f"pseudolidar {pseudolidar.__version__}, Python {platform.python_version()}, PyTorch {version('torch')}"
    print(
        f"error: {type(error).__name__}: a fault of the program, not of your settings. Please report it with all lines "
        f"from 'Traceback' on, the versions ({versions}) and the command: {shlex.join(sys.orig_argv)}",
        file=sys.stderr,
    )
    sys.exit(1)
