"""Whether the diversity of an ensemble is real: without the members' biases, and with members dropped."""

from itertools import combinations

import torch
from torch import Tensor

from pseudolidar.ensembles.decomposition import DiversityDecomposition, label_log_probabilities, log_mean_exp
from pseudolidar.files import InputError

MOST_MEMBERS = 16
"""Whose subsets, 65,535, can all be visited."""


class SquaredErrorTally:
    """Sums of squared errors of M members over a stream of `count` elements, for every diagnostic."""

    def __init__(self, members: int) -> None:
        if members < 1:
            raise InputError(f"members: found {members}, expected 1 or more")
        self.members = members
        self.count = 0
        # By member: squared errors, deviations from the ensemble, their squares. Then squared errors of the ensemble.
        self._sums = torch.zeros(3, members, dtype=torch.float64)
        self._ensemble_squared_error = torch.zeros((), dtype=torch.float64)

    def add(self, predictions: Tensor, target: Tensor) -> None:
        """Add the errors of predictions (M, P) of P elements with target (P,), on any device.

        ValueError for other shapes or a value that is not finite; nothing is added then.
        """
        if predictions.shape != (self.members, *target.shape) or target.ndim != 1:
            found, expected = (tuple(predictions.shape), tuple(target.shape)), ((self.members, "P"), ("P",))
            raise ValueError(f"predictions and target: found shapes {found}, expected {expected}")
        residuals = predictions.double() - target.double()
        mean = residuals.mean(0)
        deviations = residuals - mean
        sums = torch.stack([residuals.square().sum(1), deviations.sum(1), deviations.square().sum(1)]).cpu()
        if not sums.isfinite().all():
            raise ValueError("predictions and target: found a value that is not finite, expected numbers")
        self._sums += sums
        self._ensemble_squared_error += mean.square().sum().cpu()
        self.count += target.numel()

    def decomposition(self) -> DiversityDecomposition:
        """`squared_error_decomposition` of all counted elements; like all diagnostics, ValueError if there are none."""
        self._require_elements()
        return DiversityDecomposition(
            individual=float(self._sums[0].mean() / self.count),
            diversity=float(self._sums[2].mean() / self.count),
            ensemble=float(self._ensemble_squared_error / self.count),
        )

    def debiased_diversity(self) -> float:
        """Diversity after each member's constant deviation from the ensemble is subtracted.

        Constants that cancel in the average raise diversity and individual loss alike and change nothing else
        (Jeffares et al., Section 4): 1 - debiased / diversity is the share of diversity that is only bias.
        """
        self._require_elements()
        _, bias, squared_deviation = self._sums / self.count
        return float((squared_deviation - bias.square()).clamp(min=0).mean())

    def codependence(self) -> tuple[float, ...]:
        """Loss of the average of 1, 2 ... M members, each the mean over all choices of the members kept.

        For squared error it is linear in 1 / kept, since two members drawn without replacement are any pair of them:
        no subset needs to be visited.
        """
        found = self.decomposition()
        if self.members == 1:
            return (found.ensemble,)
        excess = found.diversity / (self.members - 1)
        return tuple(found.ensemble + (self.members / kept - 1) * excess for kept in range(1, self.members + 1))

    def _require_elements(self) -> None:
        if not self.count:
            raise ValueError("count: found no elements, expected some to be added first")


def bias_share(predictions: Tensor) -> float:
    """The share of the predictive variance that is only bias (a constant for each member and output), 0 to 1.

    `predictions` are (M, N, ...) of M members for N items. NaN where the members agree on everything, ValueError for no
    members or no items.

    With squared error the variance is the diversity, and 1 - debiased / diversity is this share. The diversity of
    averaged probabilities under cross-entropy has no such part; there, pass a classifier's probabilities as outputs:
    constants that cancel among the members leave the ensemble unchanged, too.
    """
    if predictions.ndim < 2 or predictions.numel() == 0:
        raise ValueError(f"predictions: found shape {tuple(predictions.shape)}, expected (M, N, ...), none of them 0")
    deviations = predictions.double()
    deviations = deviations - deviations.mean(0)
    return float(deviations.mean(1).square().mean() / deviations.square().mean())


def cross_entropy_codependence(logits: Tensor, labels: Tensor) -> tuple[float, ...]:
    """Cross-entropy, nats, of the averaged probabilities of 1, 2 ... M members, each the mean over all choices of them.

    Every subset is visited, so ValueError for M above `MOST_MEMBERS`; otherwise as `cross_entropy_decomposition`.
    """
    log_likelihoods = label_log_probabilities(logits, labels)
    members = len(log_likelihoods)
    if members > MOST_MEMBERS:
        raise ValueError(f"logits: found {members} members, expected at most {MOST_MEMBERS}")
    return tuple(
        -sum(float(log_mean_exp(log_likelihoods[list(kept)]).mean()) for kept in subsets) / len(subsets)
        for subsets in (list(combinations(range(members), count)) for count in range(1, members + 1))
    )
