"""Power of the verdict: how large a change is decided with how many training seeds and test items.

Noise of a change that S seeds are tested for on the same F items (see `verdicts.change`): each seed adds an error of
its own, each item one that all seeds share, each pair of the two a third:

    variance of the mean over seeds and items = seeds^2 / S + items^2 / F + pairs^2 / (S F)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, ndtr, ndtri, stdtrit

from pseudolidar.files import InputError
from pseudolidar.statistics import CONFIDENCE
from pseudolidar.systems.losses import ItemLosses, resampled_losses
from pseudolidar.systems.verdicts import variance_components

MOST_SEEDS, MOST_ITEMS = 200, 1_000_000
"""More are not looked for."""

_NODES, _BISECTIONS = 64, 50


@dataclass(frozen=True)
class ChangeNoise:
    """Standard deviations of the change of a test loss, in its unit.

    Attributes:
        seeds: over training seeds, each tested on infinitely many items; 0 where nothing is trained.
        items: over single items, each tested with infinitely many seeds.
        pairs: of what a seed does to a single item.
        scored: fraction of the items that hold something to score.

    Raises:
        InputError: a standard deviation that is negative or not finite, a fraction outside of (0, 1].
    """

    seeds: float
    items: float
    pairs: float = 0.0
    scored: float = 1.0

    def __post_init__(self) -> None:
        for name in ("seeds", "items", "pairs"):
            if not 0.0 <= (value := getattr(self, name)) < np.inf:
                raise InputError(f"{name}: found {value}, expected a standard deviation of 0 or more")
        if not 0.0 < self.scored <= 1.0:
            raise InputError(f"scored: found {self.scored}, expected a fraction above 0")

    @property
    def is_trained(self) -> bool:
        """Whether another seed changes anything: then one seed decides nothing."""
        return self.seeds > 0.0 or self.pairs > 0.0

    def of_seeds(self, items: int) -> float:
        """Standard deviation over seeds that are tested on the same items, as it is seen."""
        return float(np.hypot(self.seeds, self.pairs / np.sqrt(items)))

    def of_items(self, seeds: int, items: int) -> float:
        """Standard deviation of the mean over seeds, from which items there are."""
        return float(np.hypot(self.items, self.pairs / np.sqrt(seeds)) / np.sqrt(items))

    def of_mean(self, seeds: int, items: int) -> float:
        """Standard deviation of the mean over seeds and items."""
        both = self.pairs / np.sqrt(seeds * items)
        return float(np.sqrt(self.seeds**2 / seeds + self.items**2 / items + both**2))


def noise_of_change(
    before: Sequence[ItemLosses],
    after: Sequence[ItemLosses],
    random: np.random.Generator,
    seeds: float | None = None,
    replicates: int = 1000,
) -> ChangeNoise:
    """Noise of a change that was measured: test losses for each of S seeds, on the same F items.

    A bootstrap over items sees items and pairs, told apart by `variance_components`; over the seeds' changes there is
    what is left.

    Args:
        seeds: the standard deviation over seeds where it is known from elsewhere; with one seed it must be, and `items`
            then holds `pairs`.

    Raises:
        InputError: one seed without `seeds`, or fewer than two items with something to score.
    """
    count, items = len(before), len(before[0].items)
    scored = min(loss.scored for loss in (*before, *after))
    if scored < 2:
        raise InputError(f"test items: found {scored} with something to score, expected two or more")
    if count == 1 and seeds is None:
        raise InputError("seeds: found one training, which has no deviation; expected two or more, or a stated one")
    of_all = resampled_losses([[loss] for loss in (*before, *after)], random, replicates)
    drawn = of_all[count:] - of_all[:count]
    drawn = drawn[:, ~np.isnan(drawn).any(axis=0)]
    # A bootstrap's variance is that of a mean with 1 / n in it, where 1 / (n - 1) would be unbiased.
    of_item = items * scored / (scored - 1)
    shared, pairs = (of_item * variance for variance in variance_components(drawn))
    if seeds is None:
        by_seed = np.array([b.value() - a.value() for a, b in zip(before, after, strict=True)])
        seeds = float(np.sqrt(max(0.0, by_seed.var(ddof=1) - pairs / items)))
    return ChangeNoise(seeds, float(np.sqrt(shared)), float(np.sqrt(pairs)), scored / items)


def verdict_power(size: float, noise: ChangeNoise, seeds: int, items: int, confidence: float = CONFIDENCE) -> float:
    """Probability that `verdicts.change` calls a true change of a size improved or worse.

    Of its interval, the middle of a normal distribution (the bootstrap over items) plus Student's t: for normal noise
    this is exact but for the bootstrap's own noise. 0 with one seed of something trained, as there.

    Raises:
        InputError: no seeds, or a confidence outside of (0, 1).
    """
    widths, weights, deviation = _decided_beyond(noise, seeds, items, confidence)
    return float(weights @ (ndtr((size - widths) / deviation) + ndtr((-size - widths) / deviation)))


def smallest_change(
    noise: ChangeNoise, seeds: int, items: int, target: float = 0.8, confidence: float = CONFIDENCE
) -> float:
    """The size from which on a change is decided with probability `target`; infinite where none is."""
    from scipy.optimize import brentq

    widths, weights, deviation = _decided_beyond(noise, seeds, items, confidence)
    if not np.isfinite(widths).all():
        return float("inf")
    if deviation == 0.0:
        return 0.0
    # The chance to be beyond the wrong end counts in `verdict_power`, too, but is nil at such sizes.
    return float(
        brentq(
            lambda size: weights @ (ndtr((size - widths) / deviation) + ndtr((-size - widths) / deviation)) - target,
            0.0,
            float(widths.max()) + 10 * deviation,
        )
    )


def seeds_to_decide(
    size: float, noise: ChangeNoise, items: int, target: float = 0.8, confidence: float = CONFIDENCE
) -> int | None:
    """The fewest seeds that decide a change of a size with probability `target`; None: not even `MOST_SEEDS` do."""
    if not noise.is_trained:
        return 1 if verdict_power(size, noise, 1, items, confidence) >= target else None
    return _fewest(lambda seeds: verdict_power(size, noise, seeds, items, confidence) >= target, 2, MOST_SEEDS)


def items_to_decide(
    size: float, noise: ChangeNoise, seeds: int, target: float = 0.8, confidence: float = CONFIDENCE
) -> int | None:
    """The fewest items that decide a change of a size with probability `target`; None: not even `MOST_ITEMS` do."""
    return _fewest(lambda items: verdict_power(size, noise, seeds, items, confidence) >= target, 2, MOST_ITEMS)


def _fewest(decides: Callable[[int], bool], low: int, high: int) -> int | None:
    """The first number that does, if all behind it do."""
    if not decides(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle + 1, high)
    return low


def _decided_beyond(
    noise: ChangeNoise, seeds: int, items: int, confidence: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """The interval's half widths (N,) at nodes of the variance over seeds, their weights, the mean's deviation."""
    if seeds < 1:
        raise InputError(f"seeds: found {seeds}, expected 1 or more")
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence: found {confidence}, expected a fraction between 0 and 1")
    deviation, scored = noise.of_mean(seeds, items), round(items * noise.scored)
    if (seeds == 1 and noise.is_trained) or scored < 2:
        return np.array([np.inf]), np.ones(1), deviation
    tail = (1 + confidence) / 2
    # Expanded as the bootstrap of few items is.
    of_items = noise.items / np.sqrt(items) * float(stdtrit(scored - 1, tail) / ndtri(tail))
    if not noise.is_trained:
        return np.array([of_items * ndtri(tail)]), np.ones(1), deviation
    error = noise.of_seeds(items) / np.sqrt(seeds)
    ratios, weights = _variance_ratios(seeds - 1)
    # Student's t is a normal distribution whose variance is 1 over such a ratio; so is its sum with another one.
    errors = error * np.sqrt(ratios)[:, None]
    deviations = np.sqrt(of_items**2 + errors**2 / ratios)
    low, high = np.zeros(len(errors)), errors[:, 0] * stdtrit(seeds - 1, tail) + 10 * of_items
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = ndtr(middle[:, None] / deviations) @ weights < tail
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return high, weights, deviation


@cache
def _variance_ratios(freedom: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights for a mean over an estimated variance divided by the true one: chi^2 over its freedom."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return gammaincinv(freedom / 2, (nodes + 1) / 2) * 2 / freedom, weights / 2
