"""Processes that find themselves as torchrun would have started them, kept for several calls."""

import os
import socket
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from types import TracebackType
from typing import Any

import torch

from tests.forked import forking

_LONGEST_CALL_S = 120


class SeveralProcesses:
    """`count` processes on this machine; a function called with it runs in all of them at the same time."""

    def __init__(self, count: int) -> None:
        port = free_port()
        self._executors = [
            ProcessPoolExecutor(1, forking(), become, (rank, count, port, torch.get_num_threads()))
            for rank in range(count)
        ]

    def __enter__(self) -> "SeveralProcesses":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for executor in self._executors:
            # One that waits for another for ever would never end by itself.
            for process in list((executor._processes or {}).values()) if kind is not None else ():
                process.kill()
            executor.shutdown()

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """What the function returns in each process, or the exception that it raises there."""
        futures = [executor.submit(_outcome, function, arguments) for executor in self._executors]
        return [future.result(timeout=_LONGEST_CALL_S) for future in futures]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def become(rank: int, count: int, port: int, threads: int) -> None:
    """The one of `count` processes that this process is from now on."""
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(count),
        LOCAL_WORLD_SIZE=str(count),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        TORCHELASTIC_RUN_ID="test",
    )
    # With fewer or more than here, sums would come out in another order.
    torch.set_num_threads(threads)


def _outcome(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        return function(*arguments)
    except BaseException as error:
        return error
