"""Frames in shards and in worker processes, which get them in chunks; a worker that dies is replaced."""

import io
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pseudolidar.files import InputError, ProcessPool, Record, claimed, progress_bar

# Small enough for the last chunks to end together and for the bar to move.
_MOST_FRAMES_A_CHUNK = 8

Result = TypeVar("Result")
ResultOfJob = TypeVar("ResultOfJob", covariant=True)


class FrameJob(ABC, Generic[ResultOfJob]):
    """A job for every frame of a data set: a dataclass that can be given to another process.

    Attributes:
        description: the title of the progress bar.
        output: the folder of the results, made if missing.
        outputs: paths of a frame's files inside of `output`, with {} for its name.
    """

    description: str
    output: Path
    outputs: tuple[str, ...] = ("{}.txt",)

    @abstractmethod
    def names(self) -> Sequence[str]:
        """All frames, in order, each once."""

    @abstractmethod
    def made_of(self) -> Record:
        """The record of all that determines the output except a frame's own files."""

    @abstractmethod
    def digest(self, name: str) -> str:
        """Digest of the files that belong to this frame only, see `files.files_digest`."""

    def is_finished(self, name: str) -> bool:
        """Whether the frame's output exists."""
        return all((self.output / path.format(name)).is_file() for path in self.outputs)

    @abstractmethod
    def open(self) -> AbstractContextManager[Callable[[Sequence[str]], ResultOfJob]]:
        """Load the models: a function that writes the output of the frames it is given, except finished ones."""


@dataclass(frozen=True)
class Shard:
    """The frames for one of several machines, or one task of a Slurm array: every `count`-th, from the `number`-th on.

    `number` is 1 to `count`. Frames are taken in turn because neighbours in a drive are alike: every shard gets its
    part of the slow ones.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise InputError(f"shard: found {self.number}/{self.count}, expected 1/N to N/N, N shards in all")

    @classmethod
    def from_text(cls, text: str | None) -> "Shard":
        """`3/16` is the third of sixteen; None is all frames.

        Raises:
            InputError: any other text.
        """
        if text is None:
            return WHOLE
        match = re.fullmatch(r"(\d+)/(\d+)", str(text))
        if match is None:
            raise InputError(f"shard: found {text!r}, expected NUMBER/COUNT, e.g. 3/16 for the third of sixteen")
        return cls(int(match[1]), int(match[2]))

    def of(self, names: Sequence[str]) -> list[str]:
        """The names that belong to this shard, by their places in the list, finished ones included."""
        return list(names[self.number - 1 :: self.count])


WHOLE = Shard(1, 1)
"""Every frame."""


def run_job(job: FrameJob[Result], workers: int = 1, shard: Shard = WHOLE, overwrite: bool = False) -> list[Result]:
    """Do a job for every unfinished frame; the job's results for chunks of frames come back in no particular order.

    The output folder keeps a record of what made it (`files.claimed`): frames of the same model, settings and files are
    kept, others are refused, or replaced with `overwrite`. A worker that dies is replaced.

    The `workers` are processes (with 1, this one), each with its part of this process's threads; with several GPUs they
    take turns at them. With the same number of threads per process the bytes are the same whatever the workers and
    shards; with another number PyTorch's sums differ in their last bits.

    Raises:
        FormatError: results of another record in the output folder, unless `overwrite`.
        InputError: no workers. Errors of the job itself come out unchanged.
        WorkerError: frames on which workers died, see `ProcessPool.map`.
    """
    if workers < 1:
        raise InputError(f"workers: found {workers}, expected 1 or more")
    names = shard.of(job.names())
    if not names:
        return []
    with claimed(job.output, job.made_of(), {name: job.digest(name) for name in names}, job.outputs, overwrite):
        missing = [name for name in names if not job.is_finished(name)]
        if workers == 1 or not missing:
            # With nothing to do the job still checks what it is given.
            with job.open() as work:
                return [work(names)]
        return _in_processes(job, missing, min(workers, len(missing)))


def _in_processes(job: FrameJob[Result], names: list[str], workers: int) -> list[Result]:
    # Here, since workers that need no tensor import this module too.
    import torch

    threads = str(max(1, torch.get_num_threads() // workers))
    # Of PyTorch and OpenMP, of numba, of OpenCV; set before a worker loads them.
    shared = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), threads)
    gpus, visible = torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES")

    def environment(worker: int) -> dict[str, str]:
        return {**shared, "CUDA_VISIBLE_DEVICES": gpu_of(worker, gpus, visible)} if gpus else shared

    size = min(_MOST_FRAMES_A_CHUNK, -(-len(names) // (4 * workers)))
    chunks = [tuple(names[start : start + size]) for start in range(0, len(names), size)]
    tasks = {f"frames {chunk[0]}" + (f" to {chunk[-1]}" if len(chunk) > 1 else ""): (job, chunk) for chunk in chunks}
    results: list[Result] = []
    with ProcessPool(workers, environment) as pool, progress_bar() as bar:
        row = bar.add_task(job.description, total=len(names), note="")
        for (_, chunk), result in pool.map(_do, tasks):
            results.append(result)
            bar.update(row, advance=len(chunk), note=f"{pool.replaced} workers replaced" if pool.replaced else "")
    return results


def gpu_of(worker: int, count: int, visible: str | None) -> str:
    """A worker's GPU for CUDA_VISIBLE_DEVICES: workers take turns at the `count` GPUs of this process."""
    names = visible.split(",") if visible else [str(index) for index in range(count)]
    return names[worker % count]


# What a worker process keeps between chunks: the models of its one job, to its end.
_work: Callable[[Sequence[str]], Any] | None = None
_opened = ExitStack()


def _do(job: FrameJob[Any], chunk: Sequence[str]) -> Any:
    global _work
    # Progress is the parent's to show.
    with redirect_stderr(io.StringIO()):
        _work = _work or _opened.enter_context(job.open())
        return _work(chunk)
