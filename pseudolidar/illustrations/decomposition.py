"""The test loss of a downstream model, taken apart into errors with different causes ("Fixes That Fail", section 3)."""

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
class Decomposition:
    """Terms of a downstream model's excess over the Bayes-optimal loss.

    Attributes:
        terms: name -> expectation of a difference of two losses, in the unit of the loss, causes nearest to the
            data first.
        total: E[l(w∘v) - l(w*)], from these two losses alone.
    """

    terms: Mapping[str, float]
    total: float

    @property
    def remainder(self) -> float:
        """Total minus the sum of the terms: 0 but for rounding, if every term was computed rightly."""
        return self.total - sum(self.terms.values())


def decompose(
    bayes: NDArray[np.float64],
    optimal: NDArray[np.float64],
    optimal_in_set: NDArray[np.float64],
    fitted: NDArray[np.float64],
) -> Decomposition:
    """The three terms for one upstream model v and one downstream model w.

    Args:
        bayes: float64 (N,), l(w*): losses of the Bayes-optimal model, which sees x itself, on equally likely examples.
        optimal: (N,), l(w†∘v): of the best function of v's output, whatever its form.
        optimal_in_set: (N,), l(w†_H∘v): of the best function of v's output in w's hypothesis set H.
        fitted: (N,), l(w∘v): of w as it was trained; its expectation where chance takes part in the training.

    Raises:
        ValueError: losses of unequal numbers of examples, or of none.
    """
    _check(bayes=bayes, optimal=optimal, optimal_in_set=optimal_in_set, fitted=fitted)
    terms = {
        UPSTREAM: _mean(optimal - bayes),
        APPROXIMATION: _mean(optimal_in_set - optimal),
        ESTIMATION: _mean(fitted - optimal_in_set),
    }
    return Decomposition(terms, _mean(fitted - bayes))


def decompose_two_upstream(
    bayes: NDArray[np.float64],
    optimal_with_best_partner: NDArray[np.float64],
    optimal: NDArray[np.float64],
    optimal_in_set: NDArray[np.float64],
    fitted: NDArray[np.float64],
) -> Decomposition:
    """The terms for two upstream models u and v, whose upstream error has two parts.

    Args:
        bayes: float64 (N,), l(w*).
        optimal_with_best_partner: (N,), l(w†∘(u, v†_u)): v†_u is the best v for this u, whatever its form.
        optimal: (N,), l(w†∘(u, v)).
        optimal_in_set: (N,), l(w†_H∘(u, v)).
        fitted: (N,), l(w∘(u, v)).

    Raises:
        ValueError: losses of unequal numbers of examples, or of none.
    """
    partner = optimal_with_best_partner
    _check(
        bayes=bayes, optimal_with_best_partner=partner, optimal=optimal, optimal_in_set=optimal_in_set, fitted=fitted
    )
    terms = {
        EXCESS: _mean(partner - bayes),
        COMPATIBILITY: _mean(optimal - partner),
        APPROXIMATION: _mean(optimal_in_set - optimal),
        ESTIMATION: _mean(fitted - optimal_in_set),
    }
    return Decomposition(terms, _mean(fitted - bayes))


def _mean(differences: NDArray[np.float64]) -> float:
    return float(np.mean(differences))


def _check(**losses: NDArray[np.float64]) -> None:
    (first, expected), *others = ((name, values.shape) for name, values in losses.items())
    if len(expected) != 1 or expected[0] == 0:
        raise ValueError(f"{first}: found shape {expected}, expected (N,) with one example or more")
    for name, shape in others:
        if shape != expected:
            raise ValueError(f"{name}: found shape {shape}, expected {expected}, the shape of {first}")
