"""Reading ahead and writing behind: every item once, in order, few at a time; the first error, and Ctrl-C, end it."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.files import FormatError, overlapped

ROOT = Path(__file__).parents[2]


def nothing(number: int, *others: object) -> None:
    """A step without work."""


@settings(deadline=None, max_examples=30)
@given(delays=st.lists(st.tuples(*[st.sampled_from([0.0, 0.0, 0.002])] * 3), max_size=25), threads=st.integers(1, 5))
def test_every_item_is_read_computed_and_written_once(delays: list[tuple[float, ...]], threads: int) -> None:
    computed, written, lock = list[int](), set[int](), threading.Lock()
    unread, reading_ahead, writing_behind = set(range(len(delays))), [0], [0]

    def read(number: int) -> int:
        time.sleep(delays[number][0])
        with lock:
            unread.remove(number)
            reading_ahead.append(len(delays) - len(unread) - len(computed))
        return number**2

    def compute(number: int, square: int) -> int:
        time.sleep(delays[number][1])
        with lock:
            computed.append(number)
            writing_behind.append(len(computed) - len(written))
        return square + number

    def write(number: int, found: int) -> None:
        time.sleep(delays[number][2])
        assert found == number**2 + number
        with lock:
            written.add(number)

    overlapped(range(len(delays)), "numbers", read, compute, write, threads)
    assert computed == sorted(written) == list(range(len(delays))) and not unread
    assert max(reading_ahead) <= 2 * threads + 1 and max(writing_behind) <= 2 * threads + 1


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("step", ["read", "compute"])
def test_all_items_before_an_error_are_written_and_none_after_it(step: str, threads: int) -> None:
    def fail(number: int, *others: object) -> None:
        if number == 7:
            raise FormatError("000007.png", "byte 12", "a damaged PNG", "an image")

    written = []
    steps: dict[str, Callable[..., None]] = {"read": nothing, "compute": nothing, step: fail}
    with pytest.raises(FormatError, match="000007"):
        overlapped(range(40), "numbers", **steps, write=lambda number, found: written.append(number), threads=threads)
    assert sorted(written) == list(range(7))


@pytest.mark.parametrize("threads", [1, 4])
def test_what_can_not_be_written_ends_it(threads: int) -> None:
    computed = []

    def compute(number: int, given: None) -> None:
        time.sleep(0.01)
        computed.append(number)

    def write(number: int, found: None) -> None:
        if number == 3:
            raise FormatError("000003.txt", "file", "no space", "a file")

    with pytest.raises(FormatError, match="000003"):
        overlapped(range(1000), "numbers", nothing, compute, write, threads)
    assert 3 in computed and max(computed) < 20


@pytest.mark.parametrize("slow", ["read", "compute", "write"])
def test_ctrl_c_ends_it(slow: str) -> None:
    code = (
        "import time; from pseudolidar.files import overlapped\n"
        "def work(number, *others): print(number, flush=True); time.sleep(0.2)\n"
        "steps = dict.fromkeys(('read', 'compute', 'write'), lambda number, *others: None)\n"
        f"overlapped(range(10000), 'numbers', **steps | {{{slow!r}: work}}, threads=2)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        _, errors = process.communicate(timeout=20)
    assert time.monotonic() - started < 5
    assert process.returncode == -signal.SIGINT and errors.endswith("KeyboardInterrupt\n")
