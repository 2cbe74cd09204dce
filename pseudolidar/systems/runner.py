"""Make stages, parents first: here one after another, or several at once in processes of their own."""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress, TaskID

from pseudolidar.files import InputError, UserError, progress_bar
from pseudolidar.systems.artifacts import ArtifactStore
from pseudolidar.systems.stages import Stage, parents_first

LOG_FILE = "log.txt"
"""Name of the file, in a stage's folder, that holds what a stage without a terminal printed, and why it failed."""

MAX_DEATHS = 3
"""How often a stage goes on after its process died: the next time it has failed."""


@dataclass(frozen=True, eq=False)
class StageFailure:
    """A stage that can't be made, and why, in one line."""

    stage: Stage
    message: str


@dataclass
class Outcome:
    """What became of stages.

    Attributes:
        made: now; those that were there before are not among them.
        failed: for good.
        skipped: not tried, since something that they stand on failed.
    """

    made: list[Stage] = field(default_factory=list)
    failed: list[StageFailure] = field(default_factory=list)
    skipped: list[Stage] = field(default_factory=list)

    @property
    def missing(self) -> set[str]:
        """Fingerprints of the stages that are not there."""
        return {failure.stage.fingerprint for failure in self.failed} | {stage.fingerprint for stage in self.skipped}


class Schedule:
    """Which stages can be made next, as others finish or fail.

    Args:
        store: where finished ones are found.
        stages: what is wanted; all that they stand on is made too.

    Attributes:
        outcome: so far.
        total: stages in all.
        before: stages that were finished before.
    """

    def __init__(self, store: ArtifactStore, stages: Sequence[Stage]) -> None:
        ordered = parents_first(stages)
        self.total = len(ordered)
        self._waiting = [stage for stage in ordered if not store.is_finished(stage)]
        self.before = self.total - len(self._waiting)
        self._unfinished = {stage.fingerprint for stage in self._waiting}
        self.outcome = Outcome()

    def ready(self) -> list[Stage]:
        """Stages that wait for nothing, in order; those handed over by `take` are no longer among them."""
        return [
            stage
            for stage in self._waiting
            if not any(parent.fingerprint in self._unfinished for parent in stage.parents.values())
        ]

    def take(self, stage: Stage) -> None:
        """Mark a stage as being made."""
        self._waiting.remove(stage)

    def finished(self, stage: Stage) -> None:
        """Mark a stage as made: those that waited for it may start."""
        self._unfinished.discard(stage.fingerprint)
        self.outcome.made.append(stage)

    def failed(self, stage: Stage, message: str) -> None:
        """Mark a stage as failed, and skip every stage that stands on it."""
        self.outcome.failed.append(StageFailure(stage, message))
        lost = {stage.fingerprint}
        for other in list(self._waiting):
            if any(parent.fingerprint in lost for parent in other.parents.values()):
                lost.add(other.fingerprint)
                self._waiting.remove(other)
                self.outcome.skipped.append(other)

    @property
    def place(self) -> int:
        """How many stages are done with, one way or another."""
        outcome = self.outcome
        return self.before + len(outcome.made) + len(outcome.failed) + len(outcome.skipped)


def make_stages(store: ArtifactStore, stages: Sequence[Stage], workers: int = 1) -> Outcome:
    """Make every stage that is not finished, parents first. A stage that fails stops only what stands on it.

    Args:
        store: where they go.
        stages: what is wanted; what they stand on is made too.
        workers: stages at once, one processor each unless they ask for more. One: in this process, with each stage's
            own progress bars. More: in processes of their own, whose output goes to `LOG_FILE` in the stage's folder;
            one that dies is replaced, and its stage goes on from where it was, up to `MAX_DEATHS` times.

    Raises:
        InputError: less than one worker.
    """
    if workers < 1:
        raise InputError(f"workers: found {workers}, expected 1 or more")
    schedule = Schedule(store, stages)
    if schedule.before:
        _say(Console(stderr=True), f"{schedule.before} of {schedule.total} stages are there already", "dim")
    if workers == 1:
        _one_after_another(store, schedule)
    elif schedule.ready():
        _several_at_once(store, schedule, workers)
    return schedule.outcome


def _one_after_another(store: ArtifactStore, schedule: Schedule) -> None:
    console = Console(stderr=True)
    while ready := schedule.ready():
        stage = ready[0]
        schedule.take(stage)
        _say(console, f"[{schedule.place + 1:>{len(str(schedule.total))}}/{schedule.total}] {stage}", "bold")
        try:
            store.make(stage)
        except Exception as error:
            if not isinstance(error, UserError):
                traceback.print_exc()
            schedule.failed(stage, _why(error))
            _say(console, f"{stage} failed: {_why(error)}", "bold red")
        else:
            schedule.finished(stage)


def _several_at_once(store: ArtifactStore, schedule: Schedule, workers: int) -> None:
    deaths: dict[str, int] = {}
    running: dict[Future[str | None], tuple[Stage, ProcessPoolExecutor]] = {}
    # One process each: in a common pool, one that dies takes the stages of all others along.
    free = [_worker() for _ in range(workers)]

    def start(stage: Stage) -> None:
        worker = free.pop()
        with _without_interrupts():
            try:
                future = worker.submit(make_logged, store, stage)
            except BrokenProcessPool:
                # Killed while it had nothing to do.
                worker = _worker()
                future = worker.submit(make_logged, store, stage)
        running[future] = stage, worker

    # Libraries start one thread per processor by default; those of several workers would crowd each other out.
    with _environment({"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}), progress_bar() as progress:
        bar = progress.add_task("stages", total=schedule.total, completed=schedule.before, note="")
        try:
            while True:
                for stage in schedule.ready():
                    if _fits(stage, [other for other, _ in running.values()], workers):
                        schedule.take(stage)
                        start(stage)
                if not running:
                    return
                _show(progress, bar, schedule, [stage for stage, _ in running.values()])
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    stage, worker = running.pop(future)
                    if isinstance(future.exception(), BrokenProcessPool):
                        worker.shutdown()
                        free.append(_worker())
                        deaths[stage.fingerprint] = deaths.get(stage.fingerprint, 0) + 1
                        if deaths[stage.fingerprint] <= MAX_DEATHS:
                            _say(progress.console, f"{stage}: its process died; it goes on in another", "yellow")
                            start(stage)
                            continue
                        message = f"its process died {MAX_DEATHS + 1} times (killed from outside, or out of memory)"
                    else:
                        free.append(worker)
                        message = future.result() or ""
                    if message:
                        schedule.failed(stage, message)
                        _say(progress.console, f"{stage} failed: {message}", "bold red")
                    else:
                        schedule.finished(stage)
                        place = f"[{schedule.place:>{len(str(schedule.total))}}/{schedule.total}]"
                        _say(progress.console, f"{place} {stage}: {store.seconds(stage):.0f} s", "dim")
                _show(progress, bar, schedule, [stage for stage, _ in running.values()])
        finally:
            # On Ctrl-C, for instance; else nothing is running any more.
            busy = [worker for _, worker in running.values()]
            for worker in busy:
                for process in list((worker._processes or {}).values()):
                    process.terminate()
            for worker in (*free, *busy):
                worker.shutdown(cancel_futures=True)


def _fits(stage: Stage, running: Sequence[Stage], workers: int) -> bool:
    """Whether there is room for one more: a stage that asks for more than there is gets all of it, alone."""
    if not running:
        return True
    if sum(other.resources.cpus for other in running) + stage.resources.cpus > workers:
        return False
    # Processes of this machine share its first card; a cluster gives each stage its own: `ray_runner`.
    return not stage.resources.gpus or sum(other.resources.gpus for other in running) + stage.resources.gpus <= 1.0


def make_logged(store: ArtifactStore, stage: Stage) -> str | None:
    """Make a stage in a worker; what it prints goes to its `LOG_FILE`.

    Args:
        store: where it goes.
        stage: its parents are finished.

    Returns:
        None, or why it failed, in one line.
    """
    folder = store.folder(stage)
    folder.mkdir(parents=True, exist_ok=True)
    with _output_to(folder / LOG_FILE):
        try:
            store.make(stage)
        except Exception as error:
            traceback.print_exc()
            return _why(error)
    return None


def _why(error: Exception) -> str:
    """An error in one line; a mistake in the code, or a lack of memory, with its type."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line if isinstance(error, UserError) else f"{type(error).__name__}: {line}"


def default_workers() -> int:
    """One worker per processor that this process may use, at most eight: each needs its own memory."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _worker() -> ProcessPoolExecutor:
    """One process, started when it is given its first stage."""
    # Forked from a server that has imported the package and done nothing: a worker starts at once, and one that was
    # forked from here would inherit PyTorch's threads half-way through whatever they do.
    context = get_context("forkserver")
    context.set_forkserver_preload(["pseudolidar.case_study"])
    return ProcessPoolExecutor(1, mp_context=context, initializer=_start_in_worker)


def _start_in_worker() -> None:
    # Ctrl-C reaches every process of the terminal; which ones end is for the parent to say. A handler that does
    # nothing, since commands that a stage starts would inherit a signal that is ignored.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    torch.set_num_threads(1)

    # A killed run must leave nobody behind who goes on writing.
    def watch() -> None:
        if (parent := parent_process()) is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes that are started inside see no Ctrl-C until they ask for it: not while they import what they need."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Standard output and error, of this process and of what it starts, go to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with path.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, kept in enumerate(saved, start=1):
            os.dup2(kept, number)
            os.close(kept)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables as processes that are started inside inherit them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _show(progress: Progress, bar: TaskID, schedule: Schedule, running: Iterable[Stage]) -> None:
    names = ", ".join(str(stage) for stage in running)
    progress.update(bar, completed=schedule.place, note=names if len(names) <= 60 else names[:59] + "…")


def _say(console: Console, text: str, style: str) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
