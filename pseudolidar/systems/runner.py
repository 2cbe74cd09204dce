"""Make stages, parents first: here one after another, or several at once in processes of their own."""

import os
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from pseudolidar.files import InputError, ProcessPool, UserError, progress_bar
from pseudolidar.systems.stages import ArtifactStore, Stage, parents_first

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
class RunResult:
    """The stages of a run: made now (not those that were there before), failed for good, skipped.

    A stage is skipped, not tried, where something that it depends on failed.
    """

    made: list[Stage] = field(default_factory=list)
    failed: list[StageFailure] = field(default_factory=list)
    skipped: list[Stage] = field(default_factory=list)

    @property
    def missing(self) -> set[str]:
        """Fingerprints of the stages that are not there."""
        return {stage.fingerprint for stage in (*(failure.stage for failure in self.failed), *self.skipped)}


class Schedule:
    """Which stages can be made next, as others finish or fail; `before` of `total` were finished at the start."""

    def __init__(self, store: ArtifactStore, stages: Sequence[Stage]) -> None:
        self.result = RunResult()
        self.running: list[Stage] = []
        self._store = store
        ordered = parents_first(stages)
        self._waiting = [stage for stage in ordered if not store.is_finished(stage)]
        self._unfinished = {stage.fingerprint for stage in self._waiting}
        self.total = len(ordered)
        self.before = self.total - len(self._waiting)

    @property
    def place(self) -> int:
        """How many stages are made, failed or skipped."""
        return self.before + len(self.result.made) + len(self.result.failed) + len(self.result.skipped)

    def numbered(self, place: int) -> str:
        """A place among all stages, e.g. [ 3/12]."""
        return f"[{place:>{len(str(self.total))}}/{self.total}]"

    def ready(self) -> list[Stage]:
        """Stages that wait for nothing, in order."""
        return [
            stage
            for stage in self._waiting
            if not any(parent.fingerprint in self._unfinished for parent in stage.parents.values())
        ]

    def take(self, stage: Stage) -> None:
        """Mark a stage as being made."""
        self._waiting.remove(stage)
        self.running.append(stage)

    def end(self, stage: Stage, message: str | None) -> None:
        """Mark a stage as made, or, with the reason, as failed: then every stage that depends on it is skipped."""
        self.running.remove(stage)
        if message is None:
            self._unfinished.discard(stage.fingerprint)
            self.result.made.append(stage)
            return
        self.result.failed.append(StageFailure(stage, message))
        lost = {stage.fingerprint}
        for other in list(self._waiting):
            if any(parent.fingerprint in lost for parent in other.parents.values()):
                lost.add(other.fingerprint)
                self._waiting.remove(other)
                self.result.skipped.append(other)

    def run(
        self, start: Callable[[Stage], bool], finished: Callable[[Console], Iterable[tuple[Stage, str | None]]]
    ) -> None:
        """Make all stages, several at once, with a progress bar and a line for each.

        Args:
            start: begins to make a stage whose parents are finished; false where there is no room for it yet.
            finished: waits for some stages; each with why it failed, None if it didn't. Prints on the bar's console.
        """
        with progress_bar() as progress:
            bar = progress.add_task("stages", total=self.total, completed=self.before, note="")
            while True:
                for stage in self.ready():
                    if start(stage):
                        self.take(stage)
                names = ", ".join(map(str, self.running))
                progress.update(bar, completed=self.place, note=names if len(names) <= 60 else names[:59] + "…")
                if not self.running:
                    return
                for stage, message in finished(progress.console):
                    self.end(stage, message)
                    if message is None:
                        seconds = f"{self._store.seconds(stage):.0f} s"
                        _say(progress.console, f"{self.numbered(self.place)} {stage}: {seconds}", "dim")
                    else:
                        _say(progress.console, f"{stage} failed: {message}", "bold red")


def make_stages(store: ArtifactStore, stages: Sequence[Stage], workers: int = 1) -> RunResult:
    """Make all stages that are not finished, and their parents. A failure stops only the stages that depend on it.

    With one worker the stages are made in this process, with each stage's own progress bars. With more, that many are
    made at once (one processor each unless they ask for more) in processes of their own, whose output goes to
    `LOG_FILE` in the stage's folder; one that dies is replaced, and its stage continued, up to `MAX_DEATHS` times.
    InputError for less than one worker.
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
    return schedule.result


def _one_after_another(store: ArtifactStore, schedule: Schedule) -> None:
    console = Console(stderr=True)
    while ready := schedule.ready():
        stage, message = ready[0], None
        schedule.take(stage)
        _say(console, f"{schedule.numbered(schedule.place + 1)} {stage}", "bold")
        try:
            store.make(stage)
        except Exception as error:
            if not isinstance(error, UserError):
                traceback.print_exc()
            message = _why(error)
            _say(console, f"{stage} failed: {message}", "bold red")
        schedule.end(stage, message)


def _several_at_once(store: ArtifactStore, schedule: Schedule, workers: int) -> None:
    deaths = Counter[str]()

    def start(stage: Stage) -> bool:
        if not _fits(stage, schedule.running, workers):
            return False
        pool.start(stage, make_logged, store, stage)
        return True

    def finished(console: Console) -> Iterator[tuple[Stage, str | None]]:
        for stage, died, message in pool.finished():
            if died:
                deaths[stage.fingerprint] += 1
                if deaths[stage.fingerprint] <= MAX_DEATHS:
                    _say(console, f"{stage}: its process died; it goes on in another", "yellow")
                    pool.start(stage, make_logged, store, stage)
                    continue
                message = f"its process died {MAX_DEATHS + 1} times (killed from outside, or out of memory)"
            yield stage, message

    # Libraries start one thread per processor by default; those of several workers would crowd each other out.
    with ProcessPool(workers, lambda worker: {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}) as pool:
        schedule.run(start, finished)


def _fits(stage: Stage, running: Sequence[Stage], workers: int) -> bool:
    """Whether there is room for one more: a stage that asks for more than there is gets all of it, alone."""
    if not running:
        return True
    if sum(other.resources.cpus for other in running) + stage.resources.cpus > workers:
        return False
    # Processes of this machine share its first card; a cluster gives each stage its own: `ray_runner`.
    return not stage.resources.gpus or sum(other.resources.gpus for other in running) + stage.resources.gpus <= 1.0


def make_logged(store: ArtifactStore, stage: Stage) -> str | None:
    """Make a stage in a worker, printing to its `LOG_FILE`; returns None, or why it failed, in one line."""
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


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
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


def _say(console: Console, text: str, style: str) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
