"""Worker processes that don't outlive the process that started them."""

import functools
import os
import pickle
import signal
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

from pseudolidar.files.errors import WorkerError

MAX_ATTEMPTS = 3
"""How often `ProcessPool.map` tries a task whose workers die."""

_INTERVAL_S = 0.2


class ProcessPool:
    """Worker processes, each doing one task at a time; one that dies is replaced without harm to the others.

    They start when there is something for them to do.

    A context: at its end all workers end, busy ones by a kill. They also end when this process is killed. Ctrl-C, which
    reaches every process of a terminal, is left to this process. A worker imports what its tasks need, not the main
    program as in Python's own pools. Worker i, from 0, starts with the environment variables `environment(i)`.

    Attributes:
        replaced: how many workers died during a task so far.
    """

    def __init__(self, workers: int, environment: Callable[[int], Mapping[str, str]] = lambda worker: {}) -> None:
        self.replaced = 0
        self._environment = environment
        self._workers = workers
        self._not_started = iter(range(workers))
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, tuple[_Worker, Any]] = {}
        self._callers = threading.Semaphore(workers)

    def __enter__(self) -> "ProcessPool":
        return self

    def __exit__(self, *error: object) -> None:
        busy = [worker for worker, _ in self._busy.values()]
        for worker in busy:
            worker.process.terminate()
        for worker in (*self._idle, *busy):
            worker.connection.close()
        for worker in (*self._idle, *busy):
            worker.process.join()

    def start(self, task: Any, function: Callable[..., Any], *arguments: Any) -> None:
        """Let an idle worker call a function; `finished` gives `task` back with the result."""
        worker = self._told(function, arguments)
        self._busy[worker.connection] = worker, task

    def finished(self) -> Iterator[tuple[Any, bool, Any]]:
        """Wait for some tasks: each with whether its worker died, and otherwise the function's result.

        An error in the function is raised here.
        """
        for connection in wait(list(self._busy)):
            assert isinstance(connection, Connection)
            worker, task = self._busy.pop(connection)
            yield task, *self._answer(worker)

    def call(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function in a worker and wait for its result; any number of threads may do so at once.

        Errors are those of `map`, with `name` for the task. A pool is there for `call`, or for `start` and `map`.
        """
        with self._callers:
            for _ in range(MAX_ATTEMPTS):
                died, value = self._answer(self._told(function, arguments))
                if not died:
                    return value
        raise _too_many_deaths(name)

    def map(
        self, function: Callable[..., Any], tasks: Mapping[str, tuple[Any, ...]]
    ) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """Call a function for tasks by name; yield the arguments and the result of each task as it is done.

        A task on which workers died `MAX_ATTEMPTS` times is a WorkerError.
        """
        waiting, deaths = deque(tasks), Counter[str]()
        while waiting or self._busy:
            while waiting and len(self._busy) < self._workers:
                name = waiting.popleft()
                self.start(name, function, *tasks[name])
            for name, died, value in self.finished():
                if not died:
                    yield tasks[name], value
                    continue
                deaths[name] += 1
                if deaths[name] == MAX_ATTEMPTS:
                    raise _too_many_deaths(name)
                waiting.appendleft(name)

    def _told(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> "_Worker":
        """The worker that got the task."""
        message = _pickled((function, arguments))
        try:
            worker = self._idle.pop()
        except IndexError:
            worker = self._started(next(self._not_started))
        try:
            worker.connection.send_bytes(message)
        except OSError:
            # Killed while it had nothing to do.
            worker = self._started(worker.number)
            worker.connection.send_bytes(message)
        return worker

    def _answer(self, worker: "_Worker") -> tuple[bool, Any]:
        """Whether the worker died, and otherwise what its task returned."""
        try:
            value, error = pickle.loads(worker.connection.recv_bytes())
            died = False
        except (EOFError, OSError):
            value, error, died = None, None, True
            worker = self._started(worker.number)
            self.replaced += 1
        self._idle.append(worker)
        if error is not None:
            raise error
        return died, value

    def _started(self, number: int) -> "_Worker":
        return _Worker(number, self._environment(number))


def _too_many_deaths(name: str) -> WorkerError:
    found = f"{MAX_ATTEMPTS} workers that died, one after the other (killed from outside, or out of memory)"
    return WorkerError(f"{name}: found {found}, expected one that finishes; fewer workers take less memory")


class _Worker:
    def __init__(self, number: int, environment: Mapping[str, str]) -> None:
        self.number = number
        # Here and below, since whoever starts no processes need not wait for loky.
        from loky.backend import get_context  # type: ignore[import-untyped]

        self.connection, other_end = Pipe()
        self.process = get_context("loky").Process(target=_work, args=(other_end, os.getpid()), env=dict(environment))
        # No Ctrl-C while it imports what it needs: until `_work` asks for it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        other_end.close()


def _work(connection: Connection, parent: int) -> None:
    end_with(parent)
    # A handler that does nothing, since commands that a task starts would inherit a signal that is ignored.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    while True:
        try:
            message = connection.recv_bytes()
        except EOFError:
            return
        answer: tuple[Any, Exception | None]
        try:
            function, arguments = pickle.loads(message)
            answer = function(*arguments), None
        except Exception as error:
            error.add_note(f"in a worker process:\n{traceback.format_exc()}")
            answer = None, error
        connection.send_bytes(_pickled(answer))


def _pickled(value: object) -> memoryview:
    from loky.backend.reduction import dumps  # type: ignore[import-untyped]

    message: memoryview = dumps(value)
    return message


@functools.cache
def end_with(parent: int) -> None:
    """Make this process end when its parent (a process id) does, even one that is killed."""
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_INTERVAL_S)
    os._exit(1)
