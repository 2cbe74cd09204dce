"""What steps did to the stored labels, against any ground truth: accuracy, negative and positive flips."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.integer]

_ITEMS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Flips:
    """What happened to the stored labels of some items.

    Attributes:
        items: how many items the rates are of.
        evaluated: how many items were looked at.
        changed: how many of them had a label and now have another.
        negative: of those, right before and wrong after.
        positive: of those, wrong before and right after.
    """

    items: int
    evaluated: int
    changed: int
    negative: int
    positive: int

    @property
    def negative_rate(self) -> float:
        """Negative flips as a share of the items; NaN without items."""
        return self.negative / self.items if self.items else float("nan")

    @property
    def positive_rate(self) -> float:
        """Positive flips as a share of the items; NaN without items."""
        return self.positive / self.items if self.items else float("nan")


def flips(before: Labels, after: Labels, truth: Labels, items: int | None = None) -> Flips:
    """Compare labels before and after, in chunks.

    Args:
        before: integers (n,), -1 for none yet: a first label is no flip.
        after: integers (n,).
        truth: integers (n,), of the same items: of a step, `truth[step.items]`.
        items: N, all items, where only the evaluated ones are given; None: they are all.
    """
    changed = negative = positive = 0
    for part in _chunks(before=before, after=after, truth=truth):
        old, new, true = (array[part] for array in (before, after, truth))
        differs = (old >= 0) & (old != new)
        changed += int(np.count_nonzero(differs))
        negative += int(np.count_nonzero(differs & (old == true)))
        positive += int(np.count_nonzero(differs & (new == true)))
    return Flips(len(truth) if items is None else items, len(truth), changed, negative, positive)


def accuracy(labels: Labels, truth: Labels) -> float:
    """Share of the items (n,) whose label is true, in chunks; no label (-1) counts as wrong; NaN without items."""
    right = sum(
        np.count_nonzero((labels[part] == truth[part]) & (labels[part] >= 0))
        for part in _chunks(labels=labels, truth=truth)
    )
    return right / len(truth) if len(truth) else float("nan")


def _chunks(**arrays: Labels) -> Iterator[slice]:
    length = len(arrays["truth"])
    for name, array in arrays.items():
        if array.shape != (length,):
            raise ValueError(f"{name}: found shape {array.shape}, expected {(length,)}, as truth")
    for first in range(0, length, _ITEMS_AT_ONCE):
        yield slice(first, first + _ITEMS_AT_ONCE)
