"""The loss of an averaged ensemble: the mean loss of its members minus their diversity; the training objective."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DiversityDecomposition:
    """individual - diversity = ensemble (Krogh and Vedelsby, NIPS 1994; Jeffares et al., NeurIPS 2023, Section 3).

    Each of the three is a sum of its own, none the difference of the others.

    Attributes:
        individual: mean of the members' own losses.
        diversity: how much better the average is than its members are on average; never negative.
        ensemble: loss of the averaged prediction.
    """

    individual: float
    diversity: float
    ensemble: float


def augmented_loss(individual: Tensor, ensemble: Tensor, beta: float) -> Tensor:
    """(1 - beta) x mean individual loss + beta x ensemble loss (Jeffares et al., NeurIPS 2023, Section 4).

    Equals mean individual loss - beta x diversity. `individual` (M,) is each member's loss, `ensemble` () the loss of
    the averaged prediction; beta 0 trains the members independently, 1 jointly. ValueError for beta outside [0, 1] or
    losses of other shapes.
    """
    if not 0 <= beta <= 1:
        raise ValueError(f"beta: found {beta}, expected 0 to 1")
    if individual.ndim != 1 or individual.numel() == 0:
        raise ValueError(f"individual: found shape {tuple(individual.shape)}, expected (M,), one loss a member")
    if ensemble.ndim:
        raise ValueError(f"ensemble: found shape {tuple(ensemble.shape)}, expected a single loss")
    return (1 - beta) * individual.mean() + beta * ensemble


def squared_error_decomposition(predictions: Tensor, target: Tensor) -> DiversityDecomposition:
    """Decompose the mean squared error of predictions (M, ...) of a target (...), in the square of its unit.

    Diversity is the predictive variance (over M, not M - 1). Means over all elements, summed in float64; ValueError for
    no members, no elements, or shapes that differ.
    """
    if predictions.ndim == 0 or predictions.shape[1:] != target.shape or predictions.numel() == 0:
        found, expected = tuple(predictions.shape), ", ".join(["M", *map(str, target.shape)])
        raise ValueError(f"predictions: found shape {found}, expected ({expected}), with members and elements")
    residuals = predictions.double() - target.double()
    mean = residuals.mean(0)
    return DiversityDecomposition(
        individual=float(residuals.square().mean()),
        diversity=float((residuals - mean).square().mean()),
        ensemble=float(mean.square().mean()),
    )


def cross_entropy_decomposition(logits: Tensor, labels: Tensor) -> DiversityDecomposition:
    """Decompose the cross-entropy of averaged probabilities, nats; diversity is the difference of the two losses.

    It is the mean of log(mean of p) - mean of log(p), with p a member's probability of the label, and by Jensen's
    inequality never negative. Means over the items, summed in float64.

    Args:
        logits: (M, N, K) of M members for N items of K classes.
        labels: int64 (N,), 0 to K - 1.

    Raises:
        ValueError: no members, no items, shapes that differ, labels outside 0 to K - 1.
    """
    log_likelihoods = label_log_probabilities(logits, labels)
    mean = log_likelihoods.mean(0)
    return DiversityDecomposition(
        individual=-float(mean.mean()),
        diversity=float(log_mean_exp(log_likelihoods - mean).mean().clamp(min=0)),
        ensemble=-float(log_mean_exp(log_likelihoods).mean()),
    )


def label_log_probabilities(logits: Tensor, labels: Tensor) -> Tensor:
    """Log probability that each member gives to the label, float64 (M, N); see `cross_entropy_decomposition`."""
    if logits.ndim != 3 or logits.numel() == 0:
        raise ValueError(f"logits: found shape {tuple(logits.shape)}, expected (M, N, K), none of them 0")
    members, items, classes = logits.shape
    if labels.shape != (items,):
        raise ValueError(f"labels: found shape {tuple(labels.shape)}, expected ({items},), one an item")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ValueError(f"labels: found {low if low < 0 else high}, expected 0 to {classes - 1}")
    index = labels.long().expand(members, items)[..., None]
    return logits.detach().double().log_softmax(-1).gather(-1, index)[..., 0]


def log_mean_exp(values: Tensor) -> Tensor:
    """log of the mean of exp over the first axis: of M members' log probabilities, that of their average."""
    return torch.logsumexp(values, 0) - math.log(len(values))
