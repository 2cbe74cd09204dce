"""Test losses item by item: the loss of any choice of the test items, which resampling needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import FormatError, read_npz, replacing

_NUMBERS_AT_ONCE = 1 << 22


class ItemLosses(Protocol):
    """A test loss, lower is better, over F test items."""

    @property
    def items(self) -> tuple[str, ...]:
        """Names of the F test items, each once: two models are compared on items of the same names."""

    @property
    def unit(self) -> str:
        """The loss's unit, for people; empty for a pure number."""

    @property
    def scored(self) -> int:
        """How many of the items hold something to score: with few, resampling tells little."""

    def of(self, weights: NDArray[np.int64]) -> NDArray[np.float64]:
        """The loss, float64 (R,), of R choices of the items; NaN where a choice holds nothing that could be scored.

        `weights`, int64 (R, F), say how often each item is taken.
        """

    def value(self) -> float:
        """The loss of all items, each taken once."""


@dataclass(frozen=True, eq=False)
class MeanLoss:
    """A mean over parts of the items, such as an error over pixels of frames: sum(w total) / sum(w count).

    Of each item, `total` is the summed loss and `count` over how many parts, 0 if it has none; both float64 (F,).
    """

    items: tuple[str, ...]
    total: NDArray[np.float64]
    count: NDArray[np.float64]
    unit: str = ""

    def __post_init__(self) -> None:
        if len(set(self.items)) < len(self.items):
            raise ValueError("items: found a name twice, expected each once")
        for name, values in (("total", self.total), ("count", self.count)):
            if values.shape != (len(self.items),):
                raise ValueError(f"{name}: found shape {values.shape}, expected {(len(self.items),)}, one an item")
        if not np.isfinite(self.count).all() or (self.count < 0).any():
            raise ValueError("count: found a value that is negative or not finite, expected 0 or more")

    @property
    def scored(self) -> int:
        """Number of items with a count above 0."""
        return int((self.count > 0).sum())

    def of(self, weights: NDArray[np.int64]) -> NDArray[np.float64]:
        """See `ItemLosses`; NaN where all counts are 0."""
        taken = weights.astype(np.float64)
        with np.errstate(invalid="ignore"):
            return (taken @ self.total) / (taken @ self.count)

    def value(self) -> float:
        """See `ItemLosses`; NaN where all counts are 0."""
        return float(self.of(np.ones((1, len(self.items)), np.int64))[0])

    def save(self, path: str | Path) -> None:
        """Write an .npz of items, total, count and unit."""
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file, items=np.array(self.items, np.str_), total=self.total, count=self.count, unit=np.array(self.unit)
            )

    @classmethod
    def load(cls, path: str | Path) -> "MeanLoss":
        """Read what `save` wrote; FormatError if it isn't there, or is something else."""
        expected = "losses by item: an .npz of items, total, count and unit"
        stored = read_npz(path, ("items", "total", "count", "unit"), expected)
        try:
            items = tuple(str(item) for item in stored["items"])
            total, count = stored["total"].astype(np.float64), stored["count"].astype(np.float64)
            return cls(items, total, count, str(stored["unit"]))
        except (ValueError, TypeError) as error:
            raise FormatError(path, "file", str(error), expected) from error


@dataclass(frozen=True, eq=False)
class MeanOfLosses:
    """The mean of one or more test losses of the same items, in the same unit: of AP over IoUs, for instance.

    `weights`, one a loss: how much each counts; empty: all count alike.
    """

    losses: tuple[ItemLosses, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.weights and (len(self.weights) != len(self.losses) or not min(self.weights) > 0):
            raise ValueError(f"weights: found {self.weights}, expected {len(self.losses)} numbers above 0")
        if any((one.items, one.unit) != (self.items, self.unit) for one in self.losses[1:]):
            raise ValueError("losses: found other items or another unit, expected the same in all")

    @property
    def items(self) -> tuple[str, ...]:
        """Names of the test items, the same in all losses."""
        return self.losses[0].items

    @property
    def unit(self) -> str:
        """The unit of all losses and of their mean."""
        return self.losses[0].unit

    @property
    def scored(self) -> int:
        """The fewest of the losses' items that hold something to score."""
        return min(loss.scored for loss in self.losses)

    def of(self, weights: NDArray[np.int64]) -> NDArray[np.float64]:
        """The mean for each choice of the items, see `ItemLosses`; NaN where one of the losses is."""
        return np.average([loss.of(weights) for loss in self.losses], axis=0, weights=self.weights or None)

    def value(self) -> float:
        """The mean of all items, each taken once."""
        return float(np.average([loss.value() for loss in self.losses], weights=self.weights or None))


def resampled_losses(
    models: Sequence[Sequence[ItemLosses]], random: np.random.Generator, replicates: int
) -> NDArray[np.float64]:
    """Losses, float64 (M, R), of M models on test items drawn R times with replacement, the same items for all.

    `models` holds for each the losses of all its training seeds, all on the same items; the result is their mean, NaN
    where drawn items hold nothing to score.
    """
    items = len(models[0][0].items)
    step = max(1, _NUMBERS_AT_ONCE // items)
    parts = []
    for first in range(0, replicates, step):
        weights = random.multinomial(items, np.full(items, 1 / items), min(step, replicates - first))
        parts.append([np.mean([loss.of(weights) for loss in seeds], axis=0) for seeds in models])
    return np.concatenate(parts, axis=1)
