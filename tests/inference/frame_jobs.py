"""Jobs whose workers die, for the test of those who watch over them; in a module that workers can import."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pseudolidar.files import FormatError, Record, replacing
from pseudolidar.inference import FrameJob


@dataclass(frozen=True)
class Writing(FrameJob[int]):
    """Writes each frame's name into a file and returns the process' number."""

    description = "writing"
    outputs = ("{}",)

    output: Path
    count: int
    deaths: int = 0
    deadly: str = ""
    broken: str = ""
    seconds: float = 0.0

    def names(self) -> Sequence[str]:
        return [f"{number:06d}" for number in range(self.count)]

    def made_of(self) -> Record:
        return Record("names", {}, {})

    def digest(self, name: str) -> str:
        return ""

    @contextmanager
    def open(self) -> Iterator[Callable[[Sequence[str]], int]]:
        yield self._work

    def _work(self, names: Sequence[str]) -> int:
        for name in names:
            if self.is_finished(name):
                continue
            if name == self.broken:
                raise FormatError(self.output / name, "line 1", "nothing", "a frame")
            died_before = len(list(self.output.glob("death-*")))
            if name == self.deadly and died_before < self.deaths:
                (self.output / f"death-{died_before}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(self.seconds)
            with replacing(self.output / name) as temporary:
                temporary.write_text(f"{name} {os.environ.get('OMP_NUM_THREADS')}")
        return os.getpid()
