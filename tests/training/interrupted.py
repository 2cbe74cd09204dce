"""A training that is interrupted."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Interrupting:
    """A logger that ends the run with the step `at`, as Ctrl-C does."""

    at: int

    @contextmanager
    def opened(self, checkpoint: Path, steps: int) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
        def log(step: int, metrics: Mapping[str, float]) -> None:
            if step == self.at:
                raise KeyboardInterrupt

        yield log
