"""A stage: one step of a study, known by the fingerprint of everything that determines what it makes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from pseudolidar.files import Record


class Task(Protocol):
    """What a stage does: a frozen dataclass at the top of its module, so that another process can be given it."""

    @property
    def version(self) -> int:
        """Declared by the task's code, raised when the same settings give another result."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """JSON-able: all that determines the result beside the version and the parents' folders, a seed included."""
        ...

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        """Fill `folder` from the parents' folders, by role. Called again after a kill, go on from what is there.

        What is there of another record than this machine and version would make is replaced: nobody else uses it.
        """
        ...


@dataclass(frozen=True)
class Resources:
    """What a stage occupies while it is made.

    Attributes:
        cpus: processor threads; PyTorch computes with as many, on whatever machine, since their number can change the
            last bit of a sum.
        gpus: cards, or a share of one.
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
    """One step of a study: it fills one folder.

    Attributes:
        name: what it makes, e.g. "predict-u"; letters, digits, dots, dashes and underscores.
        task: what makes it.
        parents: the stages whose folders it reads, by their role in the task.
        resources: what it occupies; no part of the fingerprint.
        title: for people; no part of the fingerprint.
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
        """The stage's folder in a store: the name for people, the fingerprint for what is in it."""
        return f"{self.name}-{self.fingerprint}"


def parents_first(stages: Sequence[Stage]) -> list[Stage]:
    """The stages and all that they stand on, each once, none before its parents."""
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
