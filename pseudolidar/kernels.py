"""How kernels run on the processor: compiled by numba, without the interpreter's lock, in several threads."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar, cast

import numba
import torch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_pool: ThreadPoolExecutor | None = None


def cpu_kernel(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile a function of numbers and arrays that runs without the interpreter's lock; kept between runs.

    No fast-math: NaN and infinity are compared, and all backends round alike. Not numba's own `parallel=True`: its
    OpenMP threads end a process that is forked after their first use (a data loader's workers), its other portable
    layer fails when two Python threads call, and neither knows of PyTorch's threads.
    """
    return cast(
        Callable[Arguments, Result],
        numba.njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)(function),
    )


def in_threads(
    work: Callable[[Iterator[tuple[int, int]]], Result], items: int, smallest: int, threads: int | None
) -> list[Result]:
    """Call `work(pieces)` in several threads and list the results; every piece goes to one of them.

    Pieces are taken as they are needed, since some are more work than others (the sky yields no points), and a thread
    that the system starts late must not keep the others waiting: it then finds nothing left to do.

    Args:
        work: goes through an iterator of pieces (first, end) of 0 .. items - 1, which rise, and calls a `cpu_kernel` on
            each; what holds the interpreter's lock waits for the other threads.
        items: how many.
        smallest: a piece of fewer is not worth its overhead.
        threads: at most; None takes as many as PyTorch would (`torch.set_num_threads`; one in a data loader's worker).
    """
    threads = max(1, min(torch.get_num_threads() if threads is None else threads, items // smallest))
    if threads == 1:
        return [work(iter([(0, items)]))]
    count = min(8 * threads, items // smallest)
    pieces = iter([(items * piece // count, items * (piece + 1) // count) for piece in range(count)])
    others = [_threads().submit(work, pieces) for _ in range(threads - 1)]
    results = [work(pieces)]
    return results + [other.result() for other in others if not other.cancel()]


def in_shares(function: Callable[[int, int], Result], most: int, threads: int | None) -> list[Result]:
    """Call `function(share, shares)` for every share 0 .. shares - 1, a thread each, and list the results.

    Args:
        function: does every so-many-th item, where items are alike; otherwise as the `work` of `in_threads`.
        most: how many shares the work is worth.
        threads: as for `in_threads`.
    """
    shares = max(1, min(torch.get_num_threads() if threads is None else threads, most))
    others = [_threads().submit(function, share, shares) for share in range(1, shares)]
    # The calling thread takes a share itself.
    return [function(0, shares), *(other.result() for other in others)]


def _threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="pseudolidar")
    return _pool


def _forget_threads() -> None:
    global _pool
    _pool = None


# Threads do not live on in a forked process.
os.register_at_fork(after_in_child=_forget_threads)
