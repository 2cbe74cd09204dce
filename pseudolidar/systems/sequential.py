"""Seeds one by one, with intervals that hold however often one looks at them."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from pseudolidar.files import InputError
from pseudolidar.statistics import CONFIDENCE

_STUDIES = 100_000


def look_confidence(seeds: int, most: int, confidence: float = CONFIDENCE) -> float:
    """Confidence of an interval after each of so many seeds, so that all of them, 2 to `most`, hold with `confidence`.

    Repeated confidence intervals (Jennison & Turnbull, JRSS B 1989): they hold together, so whatever made one stop.
    `most` has to be chosen before the first look. To stop earlier, for want of time, is free.

    The probability to miss, 1 - confidence, that a look may spend is proportional to the square of its degrees of
    freedom: after few seeds, when Student's t needs changes of many times the noise, little. The factor makes the
    probability that any interval misses right for Student's t itself, not for the normal distribution of the usual
    tables; it is a quantile over 100,000 simulated studies. Item noise is the same at every look, and makes the
    intervals hold more often.

    Raises:
        InputError: fewer than two seeds at most.
        ValueError: seeds outside of 2 to `most`, for which there is no look.
    """
    if most < 2:
        raise InputError(f"max_seeds: found {most}, expected 2 or more")
    if not 2 <= seeds <= most:
        raise ValueError(f"seeds: found {seeds}, expected 2 to {most}")
    return 1 - float(_levels(most, confidence)[seeds - 2])


@cache
def _levels(most: int, confidence: float) -> NDArray[np.float64]:
    """Probability to miss, (most - 1,), of the interval of each look by itself."""
    freedom = np.arange(1, most)
    noise = np.random.default_rng(0).normal(size=(_STUDIES, most))
    means = noise.cumsum(axis=1) / np.arange(1, most + 1)
    squares = (noise**2).cumsum(axis=1)[:, 1:] / (freedom + 1) - means[:, 1:] ** 2
    p_values = 2 * stdtr(freedom, -np.abs(means[:, 1:]) / np.sqrt(squares / freedom))
    shape = (freedom / freedom[-1]) ** 2
    levels: NDArray[np.float64] = shape * np.quantile((p_values / shape).min(axis=1), 1 - confidence)
    return levels
