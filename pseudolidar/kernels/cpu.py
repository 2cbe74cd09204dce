"""How kernels run on the processor: compiled by numba, without the interpreter's lock, in several threads."""

import functools
import logging
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar, cast

import numba

logger = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def cpu_kernel(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile a function of numbers and arrays that runs without the interpreter's lock.

    The machine code is kept between runs in a folder of numba's choice or NUMBA_CACHE_DIR; where that can't be written,
    every process compiles anew.

    No fast-math: NaN and infinity are compared, and all backends round alike. Not numba's own `parallel=True`: its
    OpenMP threads end a process that is forked after their first use (a data loader's workers), its other portable
    layer fails when two Python threads call, and neither knows of PyTorch's threads.
    """
    compiled = numba.njit(nogil=True, error_model="numpy", boundscheck=False)(function)
    try:
        compiled.enable_caching()
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        _say_that_nothing_is_kept()
    return cast(Callable[Arguments, Result], compiled)


@functools.cache
def _say_that_nothing_is_kept() -> None:
    logger.info(
        "kernels: compiled anew by every process, which takes seconds each, since neither the package's folder nor a "
        "cache folder of the user can be written; NUMBA_CACHE_DIR=DIR names another"
    )


def in_chunks(function: Callable[[int, int], Result], most: int, threads: int | None) -> list[Result]:
    """Call `function(chunk, chunks)` for every chunk 0 .. chunks - 1, each in a thread, and list the results.

    A chunk is best every n-th band of the whole, since neighbours are alike (the sky yields no points), worked on in
    one call of a `cpu_kernel`: a thread that comes back for more waits long for the interpreter's lock. There are at
    most `most` chunks, and at most `threads`; None: as many as PyTorch would take (`torch.set_num_threads`; one in a
    data loader's worker).
    """
    chunks = max(1, min(_threads_of_torch() if threads is None else threads, most))
    others = [_pool().submit(function, chunk, chunks) for chunk in range(1, chunks)]
    results = [function(0, chunks)]
    for chunk, other in enumerate(others, start=1):
        # A busy system may not have started a thread yet: then its chunk is done here.
        results.append(function(chunk, chunks) if other.cancel() else other.result())
    return results


def _threads_of_torch() -> int:
    # Asked only where it is there already: to import it takes longer than many a program that needs no tensor.
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given):
        return int(given)
    # Where the system can bind a process to some of its processors, those count (Linux).
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="pseudolidar")


# Threads do not live on in a forked process.
os.register_at_fork(after_in_child=_pool.cache_clear)
