"""Test loss against the number of training examples, and its uncertainty with a few training seeds.

Intervals over training seeds: the mean loss of S seeds is uncertain by its standard error times Student's t with S - 1
degrees of freedom. Draws of such means, put through an estimator, give its interval (a generalized pivot, Weerahandi,
JASA 1993). It holds for these test items; with one seed there is none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pseudolidar.statistics import Interval, percentile_interval

EXPONENTS = np.linspace(0.3, 1.0, 36)
"""c of a learning curve: 1 in classical statistics, 0.5 in distribution-free bounds, less in deep networks."""

DRAWS = 4000
"""How often mean losses are drawn for an interval."""


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Loss against the number of training examples: asymptote + error (n / largest n)^-exponent.

    Attributes:
        sizes: (K,) numbers of examples, or fractions of all.
        losses: (K, S), for each of S training seeds.
        asymptote: the loss with infinitely many examples.
        estimation_error: how far the loss at the largest size lies above it; its `interval` is NaN with one seed.
        exponent: fitted, or 0.5 where there are two sizes.
    """

    sizes: NDArray[np.float64]
    losses: NDArray[np.float64]
    asymptote: float
    estimation_error: float
    interval: Interval
    exponent: float

    @property
    def at_the_edge(self) -> bool:
        """Whether another exponent than those in the range would fit better: the curve may have another shape."""
        is_fitted = len(self.sizes) > 2 and self.estimation_error > 0
        return is_fitted and self.exponent in (EXPONENTS[0], EXPONENTS[-1])


def learning_curve(sizes: Sequence[float], losses: NDArray[np.float64], random: np.random.Generator) -> LearningCurve:
    """Fit a learning curve by least squares over all seeds; its error is at least 0, its exponent in [0.3, 1].

    `sizes` are K rising numbers of training examples, or fractions of all; `losses` are (K, S) test losses of S
    training seeds; ValueError as in `checked_losses`.

    With two sizes the exponent can't be fitted: it is set to 0.5, and the interval is as wide as all exponents in [0.3,
    1] make it.

    The interval is as good as the curve's shape: sizes hardly above the number of things to learn bend it (least
    squares of d weights has the error variance * d / (n - d - 1), steeper than 1 / n there), and the fit then takes the
    error for larger than it is.
    """
    places = checked_losses("sizes", sizes, losses)
    exponents = EXPONENTS if len(places) > 2 else np.array([0.5])
    asymptote, error, exponent = (float(values[0]) for values in _fit(places, losses.mean(axis=1)[None], exponents))
    interval = widest_interval(drawn_errors(places, losses, random))
    return LearningCurve(places, losses, asymptote, error, interval, exponent)


def checked_losses(name: str, places: Sequence[float], losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """The K sizes or capacities as an array, once they rise and (K, S) losses belong to them; ValueError otherwise."""
    found = np.asarray(places, np.float64)
    if found.ndim != 1 or len(found) < 2 or not found[0] > 0 or not (np.diff(found) > 0).all():
        raise ValueError(f"{name}: found {list(places)}, expected two or more positive numbers, rising")
    if losses.ndim != 2 or len(losses) != len(found) or not losses.shape[1]:
        raise ValueError(
            f"losses: found shape {losses.shape}, expected ({len(found)}, seeds), one row of each of {name}"
        )
    if not np.isfinite(losses).all():
        raise ValueError("losses: found a value that is not finite, expected numbers")
    return found


def drawn_means(losses: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """(DRAWS, K) possible values of the K mean losses, from (K, S) losses; NaN with one seed."""
    seeds = losses.shape[1]
    if seeds < 2:
        return np.full((DRAWS, len(losses)), np.nan)
    error = np.sqrt(losses.var(axis=1, ddof=1) / seeds)
    return losses.mean(axis=1) + error * random.standard_t(seeds - 1, (DRAWS, len(losses)))


def drawn_errors(
    sizes: NDArray[np.float64], losses: NDArray[np.float64], random: np.random.Generator
) -> NDArray[np.float64]:
    """Estimation errors at the largest size: (1, DRAWS), or (exponents, DRAWS) where no exponent can be fitted."""
    means = drawn_means(losses, random)
    choices = [EXPONENTS] if len(sizes) > 2 else np.split(EXPONENTS, len(EXPONENTS))
    return np.stack([_fit(sizes, means, exponents)[1] for exponents in choices])


def _fit(
    sizes: NDArray[np.float64], means: NDArray[np.float64], exponents: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Least squares for R times K mean losses (R, K): asymptote, error at the largest size and exponent, each (R,)."""
    best = np.full(len(means), np.inf)
    asymptote, error, exponent = (np.full(len(means), np.nan) for _ in range(3))
    for candidate in exponents:
        scale = (sizes / sizes[-1]) ** -candidate
        centred = scale - scale.mean()
        # More examples don't harm, on average.
        slope = np.maximum((means @ centred) / (centred @ centred), 0.0)
        limit = means.mean(axis=1) - slope * scale.mean()
        misfit = ((means - limit[:, None] - slope[:, None] * scale) ** 2).sum(axis=1)
        better = misfit < best
        best[better], exponent[better] = misfit[better], candidate
        asymptote[better], error[better] = limit[better], slope[better]
    return asymptote, error, exponent


def widest_interval(drawn: NDArray[np.float64]) -> Interval:
    """The smallest interval that holds those of all rows of draws (E, R)."""
    rows = [percentile_interval(row) for row in drawn]
    return Interval(min(row.low for row in rows), max(row.high for row in rows))
