"""Time and memory on an NVIDIA GPU, by its own clock, and what the card allows at most."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from pseudolidar.tables import Row, Table

# Operations of a squared distance and its comparison.
_DISTANCE = 9

Calls: TypeAlias = Mapping[str, Callable[[], object]]


class Limits(NamedTuple):
    """What the card allows: bytes a second of a large copy, float32 operations a second of a large matrix product."""

    memory: float
    rate: float

    def pairs(self, count: int) -> str:
        """The lower bound of the time for the distances of `count` pairs of points, in words."""
        seconds = _DISTANCE * count / self.rate
        return f"limit {seconds * 1e3:.4f} ms: the distance of every pair, at the rate of a float32 matrix product"

    def moved(self, *tensors: Tensor) -> str:
        """The lower bound of the time for reading or writing these tensors once, in words."""
        count = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return f"limit {count / self.memory * 1e3:.4f} ms: {count / 1e6:.1f} MB at the rate of a large copy"


def gpu_table(repetitions: int, title: str, note: str, contenders: Calls) -> Table:
    """Time, memory; the first contender is the baseline."""
    measured = {name: peak_mib(call) for name, call in contenders.items()}
    seconds = gpu_seconds(contenders, repetitions)
    first = next(iter(seconds.values()))
    rows = []
    for name, own in seconds.items():
        ratio = statistics.median(one / other for one, other in zip(own, first, strict=True))
        rows.append(Row((name, statistics.median(own) * 1e3, ratio, 1 / ratio, measured[name])))
    return Table(
        f"{title}; {torch.cuda.get_device_name()}, PyTorch {torch.__version__}",
        (("", "ms", "time / first", "times faster", "peak MiB"),),
        tuple(rows),
        (note,),
    )


def kernel_table(title: str, call: Callable[[], object], most: int = 15) -> Table:
    """How long a call's kernels keep the GPU busy, by the profiler, and how long the host takes to start them."""
    for _ in range(2):
        call()
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    host_seconds = time.perf_counter() - start
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        call()
        torch.cuda.synchronize()
    kernels = [event for event in profiler.key_averages() if event.device_type == DeviceType.CUDA]
    kernels.sort(key=lambda event: -event.self_device_time_total)
    total = sum(event.self_device_time_total for event in kernels) / 1e3
    started = sum(event.count for event in kernels)
    return Table(
        title,
        (("", "times", "ms", "%"),),
        tuple(
            Row(
                (
                    event.key[:80],
                    event.count,
                    event.self_device_time_total / 1e3,
                    event.self_device_time_total / total / 10,
                )
            )
            for event in kernels[:most]
        ),
        (f"All {started}: {total:.2f} ms on the GPU; the host came back after {host_seconds * 1e3:.2f} ms.",),
    )


def gpu_seconds(contenders: Calls, repetitions: int, warm_up: int = 2) -> dict[str, list[float]]:
    """Seconds of each contender's calls, in turn, between two events on PyTorch's stream: launches included."""
    for call in contenders.values():
        for _ in range(warm_up):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    for _ in range(repetitions):
        for name, call in contenders.items():
            torch.cuda.synchronize()
            start.record()
            call()
            end.record()
            end.synchronize()
            seconds[name].append(start.elapsed_time(end) / 1e3)
    return seconds


def peak_mib(call: Callable[[], object]) -> float:
    """How far the memory in use on the GPU rises during a call, MiB."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def copy_rate() -> float:
    """Bytes a second, read and written, of copying 2 GiB on the GPU."""
    source = torch.ones(2**29, device="cuda")
    target = torch.empty_like(source)
    (seconds,) = gpu_seconds({"copy": lambda: target.copy_(source)}, 10).values()
    return 2 * source.numel() * source.element_size() / statistics.median(seconds)


def product_rate(dtype: torch.dtype, size: int = 8192) -> float:
    """Operations a second of a large matrix product; float32 without TF32."""
    matrix = torch.randn(size, size, device="cuda").to(dtype)
    (seconds,) = gpu_seconds({"product": lambda: matrix @ matrix}, 5).values()
    return 2 * size**3 / statistics.median(seconds)
