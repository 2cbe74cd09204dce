"""Frames in worker processes: handed out in chunks; a worker that dies is replaced and its chunk done again."""

import io
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, Protocol, TypeVar

from loky.process_executor import BrokenProcessPool, ProcessPoolExecutor  # type: ignore[import-untyped]

from pseudolidar.files import InputError, Record, WorkerError, claimed, end_with, progress_bar
from pseudolidar.inference.shard import WHOLE, Shard

MAX_ATTEMPTS = 3
"""How often a chunk is tried whose workers die."""

# Small enough for the last chunks to end together and for the bar to move.
_MOST_FRAMES_A_CHUNK = 8

Result = TypeVar("Result")
ResultOfJob = TypeVar("ResultOfJob", covariant=True)
Chunk = tuple[str, ...]


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
        WorkerError: frames on which workers died `MAX_ATTEMPTS` times.
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
    size = min(_MOST_FRAMES_A_CHUNK, -(-len(names) // (4 * workers)))
    waiting: deque[Chunk] = deque(tuple(names[start : start + size]) for start in range(0, len(names), size))
    deaths: Counter[Chunk] = Counter()
    results: list[Result] = []
    # Pools of one process each: a death takes no other worker along, and tells which chunk it befell.
    pools = [_pool(job, worker, workers) for worker in range(workers)]
    running: dict[Future[Any], tuple[int, Chunk]] = {}
    try:
        with progress_bar() as bar:
            task = bar.add_task(job.description, total=len(names), note="")
            for worker in range(workers):
                _hand_out(waiting, running, pools, worker)
            while running:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    worker, chunk = running.pop(future)
                    if isinstance(future.exception(), BrokenProcessPool):
                        deaths[chunk] += 1
                        if deaths[chunk] == MAX_ATTEMPTS:
                            raise WorkerError(_death_notice(chunk)) from future.exception()
                        pools[worker].shutdown(wait=False, kill_workers=True)
                        pools[worker] = _pool(job, worker, workers)
                        waiting.appendleft(chunk)
                        bar.update(task, note=f"{deaths.total()} workers replaced")
                    else:
                        results.append(future.result())
                        bar.advance(task, len(chunk))
                    _hand_out(waiting, running, pools, worker)
    finally:
        # What they were to write is written, or is not wanted any more.
        for pool in pools:
            pool.shutdown(kill_workers=True)
    return results


def _hand_out(
    waiting: deque[Chunk], running: dict[Future[Any], tuple[int, Chunk]], pools: list[ProcessPoolExecutor], worker: int
) -> None:
    if waiting:
        chunk = waiting.popleft()
        running[pools[worker].submit(_do, chunk)] = worker, chunk


def _pool(job: FrameJob[Any], worker: int, workers: int) -> ProcessPoolExecutor:
    # Here, since workers that need no tensor import this module too.
    import torch

    threads = str(max(1, torch.get_num_threads() // workers))
    # Of PyTorch and OpenMP, of numba, of OpenCV; set before a worker loads them.
    environment = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), threads)
    if torch.cuda.device_count():
        environment["CUDA_VISIBLE_DEVICES"] = gpu_of(
            worker, torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES")
        )
    return ProcessPoolExecutor(1, initializer=_begin, initargs=(job, os.getpid()), env=environment)


def gpu_of(worker: int, count: int, visible: str | None) -> str:
    """The GPU of a worker as CUDA_VISIBLE_DEVICES names it: workers take turns at the `count` of this process."""
    names = visible.split(",") if visible else [str(index) for index in range(count)]
    return names[worker % count]


def _death_notice(chunk: Chunk) -> str:
    frames = chunk[0] if len(chunk) == 1 else f"{chunk[0]} to {chunk[-1]}"
    found = f"{MAX_ATTEMPTS} workers that died, one after the other (killed from outside, or out of memory)"
    return f"frames {frames}: found {found}, expected one that finishes; fewer workers take less memory"


# What a worker process keeps between chunks.
_job: FrameJob[Any]
_work: Callable[[Sequence[str]], Any] | None = None


def _begin(job: FrameJob[Any], parent: int) -> None:
    global _job
    # A killed run must leave nobody behind who goes on writing.
    end_with(parent)
    # Ctrl-C goes to all processes of a terminal; the parent ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _job = job


def _do(chunk: Chunk) -> Any:
    global _work
    # Progress is the parent's to show.
    with redirect_stderr(io.StringIO()):
        _work = _work or _job.open()
        return _work(chunk)
