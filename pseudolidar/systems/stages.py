"""A stage: cached on disk, known by the fingerprint of everything that determines it; the store of stages."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from pseudolidar.files import Record, locked, require_output_folder, write_file

_FINISHED = "stage.json"
_LOCK = ".lock"


class Task(Protocol):
    """The work of a stage: a frozen dataclass at the top of its module, so that another process can be given it."""

    @property
    def version(self) -> int:
        """A number that the task's author increases when the same settings give another result."""

    def settings(self) -> Mapping[str, Any]:
        """JSON-able: all that determines the result beside the version and the parents' folders, a seed included."""

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        """Fill `folder` from the parents' folders, by role. Called again after a kill, continue from its content.

        Replace content whose record is not the one that this machine and version would make: nobody else uses it.
        """


@dataclass(frozen=True)
class Resources:
    """Processors and cards (a fraction of one, too) that a stage occupies while it is made.

    PyTorch computes with `cpus` threads on whatever machine, since their number can change the last bit of a sum.
    """

    cpus: int = 1
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.cpus < 1:
            raise ValueError(f"cpus: found {self.cpus}, expected 1 or more")
        if self.gpus < 0:
            raise ValueError(f"gpus: found {self.gpus}, expected 0 or more")


@dataclass(frozen=True, eq=False)
class Stage:
    """A task that fills one folder, reading those of its parents, which are known by their role in the task.

    Attributes:
        name: e.g. "predict-u"; letters, digits, dots, dashes and underscores.
        resources, title: no parts of the fingerprint; the title is for people.
    """

    name: str
    task: Task
    parents: Mapping[str, "Stage"] = field(default_factory=dict)
    resources: Resources = Resources()
    title: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9._-]+", self.name):
            raise ValueError(f"stage name: found {self.name!r}, expected letters, digits, dots, dashes and underscores")

    def __str__(self) -> str:
        return self.title or self.name

    @cached_property
    def record(self) -> Record:
        """Everything that determines the stage's content, its parents included."""
        inputs = {role: parent.folder_name for role, parent in self.parents.items()}
        return Record(self.name, self.task.settings(), inputs, str(self.task.version))

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that stand for the record."""
        return self.record.fingerprint

    @property
    def folder_name(self) -> str:
        """The stage's folder in a store."""
        return f"{self.name}-{self.fingerprint}"


def parents_first(stages: Sequence[Stage]) -> list[Stage]:
    """The stages and all that they depend on, each once, none before its parents."""
    ordered: dict[str, Stage] = {}

    def visit(stage: Stage) -> None:
        if stage.fingerprint in ordered:
            return
        for parent in stage.parents.values():
            visit(parent)
        ordered[stage.fingerprint] = stage

    for stage in stages:
        visit(stage)
    return list(ordered.values())


class ArtifactStore:
    """A folder with a subfolder for each stage. Any number of processes and machines that see the folder can share it.

    `root` is made when the first stage is; FormatError where it is a file.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = require_output_folder(root, "artifacts")

    def folder(self, stage: Stage) -> Path:
        """Where the stage's content is, or will be."""
        return self.root / stage.folder_name

    def is_finished(self, stage: Stage) -> bool:
        """Whether the stage's folder is complete."""
        return (self.folder(stage) / _FINISHED).is_file()

    def seconds(self, stage: Stage) -> float:
        """How long the finished stage took, s; without the time of runs that were killed in the middle."""
        return float(json.loads((self.folder(stage) / _FINISHED).read_text())["seconds"])

    def make(self, stage: Stage) -> bool:
        """Make a stage, whose parents are finished, here, or wait for the process that does; false if it was there."""
        # PyTorch, which whoever only counts flips or compares losses has no use for.
        from pseudolidar.training import arithmetic_threads

        folder = self.folder(stage)
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / _LOCK):
            if self.is_finished(stage):
                return False
            parents = {role: self.folder(parent) for role, parent in stage.parents.items()}
            started = time.monotonic()
            with arithmetic_threads(stage.resources.cpus):
                stage.task.run(folder, parents)
            seconds = round(time.monotonic() - started, 1)
            content = {**stage.record.to_dict(), "title": str(stage), "seconds": seconds}
            write_file(folder / _FINISHED, json.dumps(content, indent=1, sort_keys=True))
        return True
