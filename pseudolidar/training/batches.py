"""Batches on their way: made from files by worker processes, moved to the device while the step before computes."""

import dataclasses
import os
import signal
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from pseudolidar.files import InputError, WorkerError, end_with

# Batches that each worker makes ahead.
_AHEAD = 2


@dataclass(frozen=True)
class BatchShard:
    """One of `count` parts of a step's batch: places from `index` / `count` to (`index` + 1) / `count` of it."""

    index: int = 0
    count: int = 1

    def of(self, batch_size: int) -> range:
        """The places of a batch of `batch_size` of this shard.

        Raises:
            InputError: fewer places than shards.
        """
        if batch_size < self.count:
            expected = f"at least {self.count}: one for each shard of a step (processes x accumulate)"
            raise InputError(f"batch_size: found {batch_size}, expected {expected}")
        return range(self.index * batch_size // self.count, (self.index + 1) * batch_size // self.count)


WHOLE_BATCH = BatchShard()


@dataclass(frozen=True)
class Batch:
    """Tensors of a step, and the frame that each item came from; the tensors of other fields are moved by `to`."""

    frame_ids: Sequence[str]

    def to(self, device: torch.device) -> Self:
        """The batch with its tensors on `device`; from pinned memory the copy is under way when this returns."""
        return self._with({name: value.to(device, non_blocking=True) for name, value in self._tensors().items()})

    def pin_memory(self) -> Self:
        """The batch in memory that a GPU copies from by itself."""
        return self._with({name: value.pin_memory() for name, value in self._tensors().items()})

    def _tensors(self) -> dict[str, Tensor]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    def _with(self, tensors: dict[str, Tensor]) -> Self:
        return dataclasses.replace(self, **tensors)  # type: ignore[arg-type]


B = TypeVar("B", bound=Batch)
B_co = TypeVar("B_co", bound=Batch, covariant=True)


class BatchSource(Protocol[B_co]):
    """Makes batches; an object that can be given to another process."""

    def __call__(self, step: int, shard: BatchShard) -> B_co:
        """The shard of the batch of a step, which depends on these two and the seed of the source alone."""


class BatchFeed(Generic[B]):
    """The batches of some shards of steps, in order, on `device`: a context, since it keeps processes.

    One is always under way: a thread fetches it, and on a GPU copies it on a stream of its own, while the caller
    computes. With `workers` processes (at most one for each processor) these make the
    batches, each some ahead; with 0 the thread makes them.

    Attributes:
        waited_s: how long the caller waited for batches so far, s.
    """

    def __init__(
        self, source: BatchSource[B], places: Sequence[tuple[int, BatchShard]], workers: int, device: torch.device
    ) -> None:
        self.waited_s = 0.0
        # More would only wait for each other.
        workers = min(workers, processors())
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        context = None
        if workers:
            # Workers import what a batch needs, not the main program. Only here: it takes time to import.
            from loky.backend import get_context  # type: ignore[import-untyped]

            context = get_context("loky")
        self._loader: DataLoader[B | Exception] = DataLoader(
            _Batches(source),
            sampler=places,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=_AHEAD if workers else None,
            pin_memory=device.type == "cuda",
            multiprocessing_context=context,
            worker_init_fn=_begin_worker,
            # It draws a number for its workers; the caller's random numbers are left alone.
            generator=torch.Generator(),
        )

    def __enter__(self) -> "BatchFeed[B]":
        # No Ctrl-C in workers, which reaches every process of a terminal: it is this process that ends them.
        is_main = threading.current_thread() is threading.main_thread()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if is_main else None
        try:
            self._iterator = iter(self._loader)
        finally:
            if before is not None:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._coming: Future[B | None] = self._thread.submit(self._fetched)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=True)
        # The loader ends its workers when its iterator goes.
        del self._iterator
        # PyTorch raises it wherever the caller is at the moment.
        if error is not None and _is_of_dead_worker(error):
            raise _dead_worker(error) from error

    def __next__(self) -> B:
        began = time.perf_counter()
        batch = self._coming.result()
        self.waited_s += time.perf_counter() - began
        if batch is None:
            raise StopIteration
        if self._stream is not None:
            # Before the next copy begins there.
            now = torch.cuda.current_stream(self._device)
            now.wait_stream(self._stream)
            for tensor in batch._tensors().values():
                tensor.record_stream(now)
        self._coming = self._thread.submit(self._fetched)
        return batch

    def _fetched(self) -> B | None:
        try:
            batch = next(self._iterator, None)
        except RuntimeError as error:
            if _is_of_dead_worker(error):
                raise _dead_worker(error) from error
            raise
        if isinstance(batch, Exception):
            raise batch
        if batch is None or self._stream is None:
            return batch
        with torch.cuda.stream(self._stream):
            moved = batch.to(self._device)
        return moved


class _Batches(Dataset[B | Exception]):
    """The source as a data set. Errors are handed over: the loader's own way loses what they hold."""

    def __init__(self, source: BatchSource[B]) -> None:
        self._source = source

    def __getitem__(self, place: tuple[int, BatchShard]) -> B | Exception:
        try:
            return self._source(*place)
        except Exception as error:
            if get_worker_info() is not None:
                error.add_note(f"in a worker process:\n{traceback.format_exc()}")
            return error


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin_worker(number: int) -> None:
    end_with(os.getppid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _is_of_dead_worker(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker")


def _dead_worker(error: BaseException) -> WorkerError:
    found = f"{str(error).splitlines()[0]} (killed from outside, or out of memory)"
    return WorkerError(
        f"workers: found {found}, expected workers that live as long as the training: the same command goes on from "
        "the last state; fewer workers take less memory"
    )
