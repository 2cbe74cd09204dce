"""A training that is interrupted."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from pseudolidar.training import Logger


@dataclass(frozen=True)
class Interrupting(Logger):
    """A logger that ends the run with the step `at`, as Ctrl-C does."""

    at: int

    @override
    @contextmanager
    def opened(self, checkpoint: Path, steps: int) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
        def log(step: int, metrics: Mapping[str, float]) -> None:
            if step == self.at:
                raise KeyboardInterrupt

        yield log
