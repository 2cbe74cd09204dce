"""Small real tasks for the test of the Ray runner, in a module that Ray's workers can import."""

import json
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pseudolidar.files import FormatError, replacing


@dataclass(frozen=True)
class Walk:
    """A random walk from where the parents' ended, a step a file, so that a killed one goes on where it was."""

    seed: int
    steps: int = 3
    seconds: float = 0.0
    broken: bool = False

    @property
    def version(self) -> int:
        return 1

    def settings(self) -> Mapping[str, Any]:
        return {"seed": self.seed, "steps": self.steps, "broken": self.broken}

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        print(f"walking in {os.getcwd()}")
        if self.broken:
            raise FormatError(folder / "map", "line 1", "a wall", "a way")
        position = np.zeros(4)
        for parent in parents.values():
            position += np.load(sorted(parent.glob("*.npy"))[-1])
        for step in range(self.steps):
            path = folder / f"{step:03d}.npy"
            if not path.is_file():
                # Beside the folder: who works here is no part of the result.
                with replacing(folder.parent / "processes" / f"{os.getpid()}.json") as temporary:
                    temporary.write_text(json.dumps({"folder": folder.name, "step": step}))
                time.sleep(self.seconds)
                random = np.random.default_rng([self.seed, step])
                with replacing(path) as temporary:
                    np.save(temporary, position + random.normal(size=4))
            position = np.load(path)


@dataclass(frozen=True)
class Doom:
    """Kills the process that runs it."""

    @property
    def version(self) -> int:
        return 1

    def settings(self) -> Mapping[str, Any]:
        return {}

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
