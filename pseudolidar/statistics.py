"""Intervals over bootstrap replicates or training seeds (Student's t), and how they are written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
"""Of every interval that does not say another."""


@dataclass(frozen=True)
class Interval:
    """Low and high end; NaN where nothing is known, e.g. with only one seed."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside of the interval."""
        return self.direction != 0

    @property
    def direction(self) -> int:
        """1 where all of it lies above 0, -1 where all lies below, 0 otherwise and where nothing is known."""
        return int(self.low > 0.0) - int(self.high < 0.0)

    @property
    def digits(self) -> int:
        """Decimals that show two figures of the interval's width."""
        width = self.high - self.low
        return int(np.clip(1 - np.floor(np.log10(width)), 0, 9)) if width > 0 else 3


NO_INTERVAL = Interval(float("nan"), float("nan"))


@dataclass(frozen=True)
class Estimate:
    """A value, NaN for none, with its interval in the same unit; `signed` if it is written with its sign."""

    value: float
    interval: Interval = NO_INTERVAL
    signed: bool = False

    def scaled(self, factor: float, offset: float = 0.0) -> "Estimate":
        """factor x value + offset, in another unit; a negative factor swaps the interval's ends."""
        low, high = sorted((factor * self.interval.low + offset, factor * self.interval.high + offset))
        return replace(self, value=factor * self.value + offset, interval=Interval(low, high))


def percentile_interval(drawn: NDArray[np.float64], confidence: float = CONFIDENCE) -> Interval:
    """The central interval of replicates (R,) that are not NaN (Efron & Tibshirani 1993, chapter 13)."""
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return NO_INTERVAL
    low, high = np.quantile(drawn, ((1 - confidence) / 2, (1 + confidence) / 2))
    return Interval(float(low), float(high))


def student_interval(
    values: Sequence[float] | NDArray[np.floating] | NDArray[np.integer], signed: bool = False
) -> Estimate:
    """The mean of independent values (S,), one for each seed, with Student's interval; none for a single value."""
    found = np.asarray(values, np.float64)
    mean, count = float(found.mean()), len(found)
    if count < 2:
        return Estimate(mean, NO_INTERVAL, signed)
    # A tenth of a second to import, which whoever only evaluates need not wait for.
    from scipy.special import stdtrit

    half = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2) * found.std(ddof=1) / np.sqrt(count))
    return Estimate(mean, Interval(mean - half, mean + half), signed)


def holm(p_values: Sequence[float], level: float) -> list[bool]:
    """Which hypotheses Holm (Scand. J. Statist. 1979) rejects: a true one among them with probability `level` at most.

    A p-value of NaN is one of 1.
    """
    found = np.nan_to_num(np.asarray(p_values, np.float64), nan=1.0)
    rejected = np.zeros(len(found), bool)
    for rank, place in enumerate(np.argsort(found, kind="stable")):
        if found[place] * (len(found) - rank) > level:
            break
        rejected[place] = True
    return rejected.tolist()


def signed(value: float, digits: int) -> str:
    """A change as text, with its sign, a minus as long as the plus; never −0.00."""
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")
