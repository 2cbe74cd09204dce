"""Small stages for tests of artifacts and runners, at the top of a module, so that other processes can take them."""

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pseudolidar.files import FileError
from pseudolidar.systems import Stage


@dataclass(frozen=True)
class Counted:
    """Leaves a file, and a line in `log` each time it is made."""

    log: Path
    name: str
    values: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1

    def settings(self) -> Mapping[str, Any]:
        return self.values

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        (folder / "content.txt").write_text(f"{self.name} {self.values} after {sorted(parents)}")
        with self.log.open("a") as lines:
            lines.write(f"{self.name}\n")


@dataclass(frozen=True)
class FailsUntil(Counted):
    """Fails as bad input does, until a file is there."""

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        if not (self.log.parent / "mended").is_file():
            raise FileError("disk full")
        super().run(folder, parents)


@dataclass(frozen=True)
class Dies(Counted):
    """Its process is killed, the first `times`."""

    times: int = 1

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        deaths = folder / "deaths.txt"
        so_far = len(deaths.read_text()) if deaths.is_file() else 0
        if so_far < self.times:
            deaths.write_text("x" * (so_far + 1))
            os.kill(os.getpid(), signal.SIGKILL)
        super().run(folder, parents)


@dataclass(frozen=True)
class DiesBeside(Dies):
    """Its process is killed when another stage has begun."""

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        while not self.log.is_file():
            time.sleep(0.02)
        super().run(folder, parents)


@dataclass(frozen=True)
class Bystander(Counted):
    """Takes until another stage's process has died."""

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        super().run(folder, parents)
        while not list(folder.parent.glob("*/deaths.txt")):
            time.sleep(0.02)
        time.sleep(0.5)


@dataclass(frozen=True)
class Waits(Counted):
    """Says that it has begun, and takes a minute."""

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        super().run(folder, parents)
        time.sleep(60)


@dataclass(frozen=True)
class Mistaken(Counted):
    """Fails as code with a mistake in it does."""

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        raise RuntimeError("out of memory\nand more lines")


@dataclass(frozen=True)
class Slow:
    """Writes four files, 5 ms apart, so that a kill finds it half done."""

    number: int
    version: int = 1

    def settings(self) -> Mapping[str, Any]:
        return {"n": self.number}

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        for part in range(4):
            time.sleep(0.005)
            (folder / f"{part}.txt").write_text(f"{self.number} {part}")


def diamond(log: Path, u_rate: float = 0.1, w_steps: int = 5, w_version: int = 1) -> dict[str, Stage]:
    """Data -> u -> (v, w), and z beside u."""
    data = Stage("data", Counted(log, "data", {"seed": 0}))
    u = Stage("u", Counted(log, "u", {"rate": u_rate}), {"data": data})
    z = Stage("z", Counted(log, "z"), {"data": data})
    v = Stage("v", Counted(log, "v"), {"u": u, "data": data})
    w = Stage("w", Counted(log, "w", {"steps": w_steps}, w_version), {"u": u})
    return {"data": data, "u": u, "z": z, "v": v, "w": w}


def slow_chain(links: int = 5) -> list[Stage]:
    """Stages that stand on each other."""
    stages: list[Stage] = []
    for number in range(links):
        stages.append(Stage(f"link-{number}", Slow(number), {"before": stages[-1]} if stages else {}))
    return stages
