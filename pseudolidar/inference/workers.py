"""Frames in worker processes: handed out in chunks; a worker that dies is replaced and its chunk done again."""

import io
import os
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pseudolidar.files import InputError, ProcessPool, Record, claimed, progress_bar
from pseudolidar.inference.shard import WHOLE, Shard

# Small enough for the last chunks to end together and for the bar to move.
_MOST_FRAMES_A_CHUNK = 8

Result = TypeVar("Result")
ResultOfJob = TypeVar("ResultOfJob", covariant=True)


class FrameJob(Protocol[ResultOfJob]):
    """What is done for every frame of a data set: a dataclass that can be given to another process."""

    @property
    def description(self) -> str:
        """The title of the progress bar."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """All frames, in order, each once."""
        ...

    @property
    def output(self) -> Path:
        """The folder that the results go into."""
        ...

    @property
    def outputs(self) -> Sequence[str]:
        """Paths of a frame's files inside of `output`, {} standing for its name."""
        ...

    @property
    def record(self) -> Record:
        """All that determines the output beside a frame's own files."""
        ...

    def digest(self, name: str) -> str:
        """Digest of the files that belong to this frame alone, see `files.files_digest`."""
        ...

    def is_finished(self, name: str) -> bool:
        """Whether the frame's output is there."""
        ...

    def open(self) -> Callable[[Sequence[str]], ResultOfJob]:
        """Load the models: a function that writes the output of the frames it is given, but for finished ones."""
        ...


def run_job(job: FrameJob[Result], workers: int = 1, shard: Shard = WHOLE, overwrite: bool = False) -> list[Result]:
    """Do a job for every frame that is not finished; a worker that dies is replaced.

    The job's output folder keeps a record of what made it (`files.claimed`): frames that are there are left alone if
    they were made of the same model, settings and files, and otherwise refused.

    Each worker computes with its share of the threads that this process may use; with several GPUs the workers take
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
    names = shard.of(job.names)
    if not names:
        return []
    with claimed(job.output, job.record, {name: job.digest(name) for name in names}, job.outputs, overwrite):
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
