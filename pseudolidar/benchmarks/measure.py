"""Time and memory of several ways to do one thing, measured side by side."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pseudolidar.tables import Row, Table

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Measured:
    """One contender.

    Attributes:
        name: what it is.
        seconds: of a call, the median.
        ratio: its time over the baseline's, the median over the repetitions; the baseline itself has 1.
        peak_mib: how far the resident memory rises during a call, MiB; NaN where the system does not tell (it is Linux
            that does).
    """

    name: str
    seconds: float
    ratio: float
    peak_mib: float


def side_by_side(contenders: Mapping[str, Callable[[], object]], repetitions: int, warm_up: int = 1) -> list[Measured]:
    """Measure all contenders in turn, A B C A B C ..., so that whatever else the machine does befalls all alike.

    Args:
        contenders: name to call; the first is the baseline.
        repetitions: timed calls of each, one at least.
        warm_up: calls of each before them (compilation, caches).

    Returns:
        one entry a contender, in their order. Memory is that of one more call, since watching it takes time.
    """
    if not contenders or repetitions < 1:
        found = f"{len(contenders)} contenders, {repetitions} repetitions"
        raise ValueError(f"contenders and repetitions: found {found}, expected one or more of each")
    for call in contenders.values():
        for _ in range(warm_up):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repetitions):
        for name, call in contenders.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    baseline = next(iter(seconds.values()))
    return [
        Measured(
            name,
            statistics.median(seconds[name]),
            statistics.median(own / other for own, other in zip(seconds[name], baseline, strict=True)),
            peak_rise_mib(call),
        )
        for name, call in contenders.items()
    ]


def peak_rise_mib(call: Callable[[], object]) -> float:
    """How far the resident memory of this process rises during a call, MiB; NaN where the system does not tell."""
    try:
        _CLEAR_REFS.write_text("5")  # the peak starts anew from what is resident now
        before = _status_kib("VmRSS")
        call()
        return max(0, _status_kib("VmHWM") - before) / 1024
    except OSError:
        return math.nan


def _status_kib(key: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    raise OSError(f"{_STATUS}: no {key}")


def benchmark_table(
    title: str, input_size: str, threads: int, rows: Sequence[Measured], notes: Sequence[str] = ()
) -> Table:
    """Measurements as a table: time, time over the baseline's, times faster than it, peak memory.

    Args:
        title: what is measured.
        input_size: on what, e.g. "375 x 1242 px".
        threads: of every contender.
        rows: as `side_by_side` returns them.
        notes: for instance the limit that the machine sets.
    """
    unit, scale = ("ms", 1e3) if rows[0].seconds < 1 else ("s", 1.0)
    return Table(
        f"{title}: {input_size}, {threads} threads, PyTorch {torch.__version__}",
        (("", unit, "time / first", "times faster", "peak MiB"),),
        tuple(Row((row.name, row.seconds * scale, row.ratio, 1 / row.ratio, row.peak_mib)) for row in rows),
        tuple(notes),
    )
