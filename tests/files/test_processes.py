"""The pool of worker processes: what comes back, who is replaced, what ends."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pseudolidar.files import ProcessPool, WorkerError


def test_every_task_is_done_once_and_workers_have_their_environment() -> None:
    with ProcessPool(2, lambda worker: {"WORKER": str(worker)}) as pool:
        found = dict(pool.map(os.getenv, {name: ("WORKER", name) for name in ("a", "b", "c", "d")}))
        assert set(found) == {("WORKER", name) for name in "abcd"}
        assert set(found.values()) <= {"0", "1"}
        assert pool.replaced == 0


def test_a_worker_that_was_killed_while_idle_is_replaced() -> None:
    with ProcessPool(1) as pool:
        pool.start("first", os.getpid)
        ((_, _, first),) = pool.finished()
        os.kill(first, signal.SIGKILL)
        time.sleep(0.2)
        pool.start("second", os.getpid)
        ((task, died, second),) = pool.finished()
        assert (task, died) == ("second", False)
        assert second not in (first, os.getpid())


def test_what_a_task_raises_comes_out_with_where_it_was_raised() -> None:
    with ProcessPool(1) as pool, pytest.raises(ValueError, match="'x'") as caught:
        dict(pool.map(int, {"a": ("x",)}))
    assert "in a worker process:\nTraceback" in caught.value.__notes__[0]


def test_a_task_that_kills_its_worker_again_and_again_is_named() -> None:
    with ProcessPool(1) as pool, pytest.raises(WorkerError, match="bad: found 3 workers that died"):
        dict(pool.map(os._exit, {"bad": (1,)}))
    assert pool.replaced == 3


def test_threads_call_functions_in_workers_and_wait_for_them() -> None:
    with ProcessPool(2) as pool, ThreadPoolExecutor(5) as threads:
        calls = [threads.submit(pool.call, str(number), pow, number, 2) for number in range(20)]
        assert [call.result() for call in calls] == [number**2 for number in range(20)]
        with pytest.raises(ValueError, match="'x'"):
            pool.call("x", int, "x")
        with pytest.raises(WorkerError, match=r"bad\.png: found 3 workers that died"):
            pool.call("bad.png", os._exit, 1)
        assert pool.call("good", pow, 3, 2) == 9


def test_workers_start_when_there_is_something_to_do() -> None:
    started = []
    with ProcessPool(3, lambda worker: started.append(worker) or {}) as pool:  # type: ignore[func-returns-value]
        assert [pool.call("one after the other", os.getpid) for _ in range(3)]
        assert started == [0]


def test_at_the_end_nobody_is_left() -> None:
    with ProcessPool(2) as pool:
        pool.start("busy", time.sleep, 60)
        pool.start("other", os.getpid)
        ((_, _, idle),) = pool.finished()
    with pytest.raises(ProcessLookupError):
        os.kill(idle, 0)
