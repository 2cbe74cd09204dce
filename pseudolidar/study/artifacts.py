"""Stages and what they leave on disk: a finished stage is not done again, a changed one is."""

import fcntl
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console

from pseudolidar.kitti import replacing

_FINISHED = "stage.json"


@dataclass(frozen=True)
class Stage:
    """One step of a study: it fills one folder, and everything that determines the folder's content is named here.

    Attributes:
        name: what it makes, e.g. "disparity-u"; letters, digits, dots and dashes.
        settings: JSON-able values that determine the result, seed included.
        version: declared by the code of the stage, raised when the same settings give another result.
        make: fills the folder. Called again after a kill, it goes on from what it finds there.
        parents: the stages whose folders it reads.
    """

    name: str
    settings: Mapping[str, Any]
    version: int
    make: Callable[[Path], None]
    parents: tuple["Stage", ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9.-]+", self.name):
            raise ValueError(f"stage name: found {self.name!r}, expected letters, digits, dots and dashes")

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that stand for everything that determines the stage's content, its parents included."""
        content = {
            "name": self.name,
            "version": self.version,
            "settings": self.settings,
            "parents": [parent.fingerprint for parent in self.parents],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


class ArtifactStore:
    """A folder with one subfolder a stage, named by the stage and its fingerprint.

    Args:
        root: the folder; made if it is missing.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def folder(self, stage: Stage) -> Path:
        """Where the stage's content is, or will be."""
        return self.root / f"{stage.name}-{stage.fingerprint}"

    def is_finished(self, stage: Stage) -> bool:
        """Whether the stage's folder is complete."""
        return (self.folder(stage) / _FINISHED).is_file()

    def seconds(self, stage: Stage) -> float:
        """How long the finished stage took, s; without the time of runs that were killed in the middle."""
        return float(json.loads((self.folder(stage) / _FINISHED).read_text())["seconds"])

    def run(self, stages: Sequence[Stage], console: Console | None = None) -> list[Stage]:
        """Make every stage that is not finished, parents first.

        Args:
            stages: what is wanted; their parents are made too.
            console: where a line a stage is printed.

        Returns:
            the stages that were made now.
        """
        console = console or Console(stderr=True)
        ordered = parents_first(stages)
        made = []
        with self._locked():
            for number, stage in enumerate(ordered, start=1):
                place = f"[{number:>{len(str(len(ordered)))}}/{len(ordered)}]"
                if self.is_finished(stage):
                    console.print(f"{place} {stage.name}: done before", style="dim", markup=False, highlight=False)
                    continue
                console.print(f"{place} {stage.name}", style="bold", markup=False, highlight=False)
                self._make(stage)
                made.append(stage)
        return made

    def _make(self, stage: Stage) -> None:
        folder = self.folder(stage)
        folder.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        stage.make(folder)
        record = {
            "name": stage.name,
            "version": stage.version,
            "settings": stage.settings,
            "parents": [f"{parent.name}-{parent.fingerprint}" for parent in stage.parents],
            "seconds": round(time.monotonic() - started, 1),
        }
        with replacing(folder / _FINISHED) as temporary:
            temporary.write_text(json.dumps(record, indent=1, sort_keys=True))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # Two runs in one store would write the same checkpoints. The kernel drops the lock with the process.
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BlockingIOError(f"{self.root}: another run is working here; wait for it or end it") from error
            yield


def parents_first(stages: Sequence[Stage]) -> list[Stage]:
    """The stages and all that they stand on, each once, none before its parents."""
    ordered: dict[str, Stage] = {}

    def visit(stage: Stage) -> None:
        if stage.fingerprint in ordered:
            return
        for parent in stage.parents:
            visit(parent)
        ordered[stage.fingerprint] = stage

    for stage in stages:
        visit(stage)
    return list(ordered.values())
