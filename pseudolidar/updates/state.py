"""What a prediction store's JSON file says: its size, its prior, its history; and what its arrays look like then."""

import json
import operator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from pseudolidar.files import FormatError, InputError, replacing
from pseudolidar.updates.journal import StepRecord

_MOST_CLASSES = int(np.iinfo(np.int16).max)


@dataclass(frozen=True)
class State:
    """The part of a store that decides what is valid: rows of the arrays beyond `items` do not count.

    Attributes:
        items: N.
        classes: K.
        prior: K probabilities, as float32 has them.
        keep_votes: whether there is an array of votes.
        steps: a record of each finished step.
    """

    items: int
    classes: int
    prior: tuple[float, ...]
    keep_votes: bool
    steps: tuple[StepRecord, ...]

    @classmethod
    def fresh(cls, items: int, classes: int, prior: ArrayLike | None, keep_votes: bool) -> "State":
        """The state before the first step; arguments as for `PredictionStore.create`."""
        items, classes = operator.index(items), operator.index(classes)
        if items < 0:
            raise ValueError(f"items: found {items}, expected 0 or more")
        if not 1 <= classes <= _MOST_CLASSES:
            raise InputError(f"classes: found {classes}, expected 1 to {_MOST_CLASSES}")
        values = np.full(classes, 1 / classes) if prior is None else np.asarray(prior, np.float64)
        if values.shape != (classes,):
            raise ValueError(f"prior: found shape {values.shape}, expected {(classes,)}")
        total = values.sum()
        if not (values >= 0).all() or abs(total - 1) > 1e-6:
            raise ValueError(f"prior: found a sum of {total:.9g}, the least {values.min()}, expected probabilities")
        # As in a step, what is possible stays so in float32.
        kept = np.where(values > 0, np.maximum(values / total, np.finfo(np.float32).tiny), 0).astype(np.float32)
        return cls(items, classes, tuple(kept.tolist()), keep_votes, ())

    @classmethod
    def read(cls, path: Path) -> "State":
        """Read a file of `write`.

        Raises:
            FormatError: the file holds something else.
        """
        try:
            stored = json.loads(path.read_text())
            steps = tuple(StepRecord(**record) for record in stored["steps"])
            return cls(**stored | {"prior": tuple(stored["prior"]), "steps": steps})
        except (ValueError, TypeError, KeyError) as error:
            raise FormatError(path, "file", error, "the state of a prediction store") from error

    def write(self, path: Path) -> None:
        """Write the state to a JSON file, whole or not at all."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(asdict(self)))

    def layout(self) -> dict[str, tuple[str, tuple[int, ...], ArrayLike]]:
        """Dtype and shape of each array by its name, and the value of rows that were never evaluated."""
        rows = (self.items,)
        entropy = sum(-p * np.log(p) for p in self.prior if p > 0)
        layout: dict[str, tuple[str, tuple[int, ...], ArrayLike]] = {
            "posterior": ("<f4", (*rows, self.classes), self.prior),
            # Never -0, whose bits would rank above all others.
            "entropy": ("<f4", rows, max(0.0, entropy)),
            "labels": ("<i2", rows, -1),
            "evaluations": ("<u2", rows, 0),
        }
        return layout | ({"votes": ("<u2", (*rows, self.classes), 0)} if self.keep_votes else {})
