"""Processes forked from a server that has imported the package already: a start costs a test nothing."""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Sequence
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

SCRIPTS = Path(__file__).parents[1] / "scripts"


def forking() -> ForkServerContext:
    """Where such processes come from; their environment is that of the first call in this session."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pseudolidar.case_study", "hydra"])
    return context


def start_script(name: str, arguments: Sequence[str], printed: Path, errors: Path) -> BaseProcess:
    """A script as users start it, in such a process; what it says goes to the ends of two files, or of one."""
    process = forking().Process(target=_become, args=(str(SCRIPTS / name), arguments, printed, errors))
    process.start()
    return process


def _become(script: str, arguments: Sequence[str], printed: Path, errors: Path) -> None:
    for stream, path in ((sys.stdout, printed), (sys.stderr, errors)):
        with path.open("a") as file:
            os.dup2(file.fileno(), stream.fileno())
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")
