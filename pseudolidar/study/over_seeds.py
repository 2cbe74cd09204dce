"""A quantity over training seeds: its mean with Student's interval."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from pseudolidar.viewing import Estimate

CONFIDENCE = 0.95


def student_interval(
    values: Sequence[float] | NDArray[np.floating] | NDArray[np.integer], signed: bool = False
) -> Estimate:
    """The mean of independent values, one per seed, with their 95 % interval; with a single value there is none.

    Args:
        values: (S,).
        signed: as changes are written.
    """
    found = np.asarray(values, np.float64)
    mean, count = float(found.mean()), len(found)
    if count < 2:
        return Estimate(mean, float("nan"), float("nan"), signed)
    half = float(student_t.ppf((1 + CONFIDENCE) / 2, count - 1) * found.std(ddof=1) / np.sqrt(count))
    return Estimate(mean, mean - half, mean + half, signed)
