"""The test loss of a downstream model as a sum of errors with different causes ("Fixes That Fail", section 3)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UPSTREAM = "upstream error"
COMPATIBILITY = "upstream compatibility error"
EXCESS = "excess upstream error"
APPROXIMATION = "downstream approximation error"
ESTIMATION = "downstream estimation error"


@dataclass(frozen=True)
class ErrorDecomposition:
    """Terms of a downstream model's excess over the Bayes-optimal loss.

    Attributes:
        terms: expectations of differences of two losses, in the unit of the loss, causes nearest to the data first.
        total: E[l(w∘v) - l(w*)], from these two losses alone.
    """

    terms: Mapping[str, float]
    total: float

    @property
    def remainder(self) -> float:
        """Total minus the sum of the terms: 0 up to rounding if every term is right."""
        return self.total - sum(self.terms.values())


def decompose(
    bayes: NDArray[np.float64],
    optimal: NDArray[np.float64],
    optimal_in_set: NDArray[np.float64],
    fitted: NDArray[np.float64],
    optimal_with_best_partner: NDArray[np.float64] | None = None,
) -> ErrorDecomposition:
    """The terms for one downstream model w behind one upstream model v, or behind two, u and v.

    All losses are (N,), on equally likely examples; ValueError for other shapes or no examples.

    Args:
        bayes: l(w*), of the Bayes-optimal model, which sees x itself.
        optimal: l(w†∘v) or l(w†∘(u, v)), of the best function of the upstream outputs, whatever its form.
        optimal_in_set: l(w†_H∘v) or l(w†_H∘(u, v)), of the best such function in w's hypothesis set H.
        fitted: l(w∘v) or l(w∘(u, v)), of w as trained; its expectation where training is random.
        optimal_with_best_partner: only with two upstream models, whose upstream error has two parts:
            l(w†∘(u, v†_u)), where v†_u is the best v for this u, whatever its form.
    """
    partner = optimal_with_best_partner
    if bayes.ndim != 1 or not len(bayes):
        raise ValueError(f"bayes: found shape {bayes.shape}, expected (N,) with one example or more")
    losses = {"optimal": optimal, "optimal_in_set": optimal_in_set, "fitted": fitted}
    for name, values in (losses | ({} if partner is None else {"optimal_with_best_partner": partner})).items():
        if values.shape != bayes.shape:
            raise ValueError(f"{name}: found shape {values.shape}, expected {bayes.shape}, the shape of bayes")
    if partner is None:
        differences = {UPSTREAM: optimal - bayes}
    else:
        differences = {EXCESS: partner - bayes, COMPATIBILITY: optimal - partner}
    differences |= {APPROXIMATION: optimal_in_set - optimal, ESTIMATION: fitted - optimal_in_set}
    terms = {name: float(difference.mean()) for name, difference in differences.items()}
    return ErrorDecomposition(terms, float((fitted - bayes).mean()))
