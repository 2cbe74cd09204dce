"""Frames in shards and in worker processes, to which they are handed out in chunks; a worker that dies is replaced."""

import io
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pseudolidar.files import InputError, ProcessPool, Record, claimed, progress_bar

# Small enough for the last chunks to end together and for the bar to move.
_MOST_FRAMES_A_CHUNK = 8

Result = TypeVar("Result")
ResultOfJob = TypeVar("ResultOfJob", covariant=True)


class FrameJob(ABC, Generic[ResultOfJob]):
    """What is done for every frame of a data set: a dataclass that can be given to another process.

    Attributes:
        description: the title of the progress bar.
        output: the folder that the results go into, made if missing.
        outputs: paths of a frame's files inside of `output`, {} standing for its name.
    """

    description: str
    output: Path
    outputs: tuple[str, ...] = ("{}.txt",)

    @abstractmethod
    def names(self) -> Sequence[str]:
        """All frames, in order, each once."""

    @abstractmethod
    def made_of(self) -> Record:
        """All that determines the output beside a frame's own files."""

    @abstractmethod
    def digest(self, name: str) -> str:
        """Digest of the files that belong to this frame alone, see `files.files_digest`."""

    def is_finished(self, name: str) -> bool:
        """Whether the frame's output is there."""
        return all((self.output / path.format(name)).is_file() for path in self.outputs)

    @abstractmethod
    def open(self) -> Callable[[Sequence[str]], ResultOfJob]:
        """Load the models: a function that writes the output of the frames it is given, but for finished ones."""


@dataclass(frozen=True)
class Shard:
    """The frames for one of several machines, or one task of a Slurm array: every `count`-th, from the `number`-th on.

    Neighbours in a drive are alike; taken in turn, every shard has its part of what is slow.

    Attributes:
        number: 1 to `count`.
        count: shards in all.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise InputError(f"shard: found {self.number}/{self.count}, expected 1/N to N/N, N shards in all")

    @classmethod
    def from_text(cls, text: str | None) -> "Shard":
        """`3/16` is the third of sixteen; None all frames.

        Raises:
            InputError: anything else.
        """
        if text is None:
            return WHOLE
        match = re.fullmatch(r"(\d+)/(\d+)", str(text))
        if match is None:
            raise InputError(f"shard: found {text!r}, expected NUMBER/COUNT, e.g. 3/16 for the third of sixteen")
        return cls(int(match[1]), int(match[2]))

    def of(self, names: Sequence[str]) -> list[str]:
        """The names that belong to this shard, by their places in the list, finished ones too."""
        return list(names[self.number - 1 :: self.count])


WHOLE = Shard(1, 1)
"""Every frame."""


def run_job(job: FrameJob[Result], workers: int = 1, shard: Shard = WHOLE, overwrite: bool = False) -> list[Result]:
    """Do a job for every frame that is not finished; a worker that dies is replaced.

    The job's output folder keeps a record of what made it (`files.claimed`): frames that are there are left alone if
    they were made of the same model, settings and files, and otherwise refused.

    Each worker computes with its part of the threads that this process may use; with several GPUs the workers take
    turns at them. With the same number of threads per process the same bytes come out, whatever the workers and shards;
    with another number PyTorch's sums differ in their last bits.

    Args:
        job: what to do.
        workers: processes; one is this process itself.
        shard: of the job's frames.
        overwrite: what is there of another record is replaced.

    Returns:
        what the job's function returned for each chunk of frames, in no particular order.

    Raises:
        FormatError: results of another record in the output folder, unless `overwrite`.
        InputError: no workers; what the job raises comes out as it is.
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
            return [job.open()(names)]
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
    """The GPU of a worker as CUDA_VISIBLE_DEVICES names it: workers take turns at the `count` of this process."""
    names = visible.split(",") if visible else [str(index) for index in range(count)]
    return names[worker % count]


# What a worker process keeps between chunks: the models of its one job.
_work: Callable[[Sequence[str]], Any] | None = None


def _do(job: FrameJob[Any], chunk: Sequence[str]) -> Any:
    global _work
    # Progress is the parent's to show.
    with redirect_stderr(io.StringIO()):
        _work = _work or job.open()
        return _work(chunk)
