"""Processes forked from a server that has imported the package already: a start costs a test nothing."""

import multiprocessing
from multiprocessing.context import ForkServerContext


def forking() -> ForkServerContext:
    """Where such processes come from; their environment is that of the first call in this session."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pseudolidar.study", "hydra"])
    return context
