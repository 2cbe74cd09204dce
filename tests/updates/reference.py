"""Beliefs, rules and selection in plain PyTorch: short, on any device, what the kernels must equal."""

import torch
from torch import Tensor

from pseudolidar.updates.rules import (
    CostRatio,
    FlipCosts,
    MajorityVote,
    MaxBelief,
    MaxBeliefMinEntropy,
    Never,
    Replace,
    Rule,
)


def updated_posterior(posterior: Tensor, likelihood: Tensor, weight: Tensor) -> Tensor:
    """Posterior (B, K), float32, after evidence of a likelihood (B, K); the earlier belief counts to a power (B,).

    A class that stays possible keeps at least the smallest normal number. A row is NaN whose evidence is impossible.
    """
    possible, likelihood = posterior > 0, likelihood.double()
    prior = torch.where(possible, posterior.double() ** weight.double()[:, None], 0)
    joint = prior * likelihood / torch.where(possible, likelihood, 0).amax(dim=1, keepdim=True)
    joint = torch.where(possible, joint, 0)
    updated = (joint / joint.sum(dim=1, keepdim=True)).float()
    floor = torch.finfo(torch.float32).tiny
    return torch.where(possible & (likelihood > 0), updated.clamp(min=floor), updated)


def entropy(posterior: Tensor) -> Tensor:
    """float32 (B,), nats, of a posterior (B, K)."""
    return torch.special.entr(posterior.double()).sum(dim=1).float()


def stored_labels(
    rule: Rule, stored: Tensor, given: Tensor, posterior: Tensor, entropy_fell: Tensor, votes: Tensor
) -> Tensor:
    """Labels (B,) that a rule stores.

    Args:
        rule: when a stored label gives way.
        stored: (B,), -1 for none yet.
        given: (B,), by the new evaluation.
        posterior: (B, K), after it.
        entropy_fell: bool (B,), whether it lowered the entropy.
        votes: (B, K), it included.
    """
    first = stored < 0
    match rule:
        case Replace():
            return given
        case Never():
            return torch.where(first, given, stored)
        case MajorityVote():
            return _best(votes, stored)
        case MaxBelief():
            return _best(posterior, stored)
        case MaxBeliefMinEntropy():
            return torch.where(first | entropy_fell, _best(posterior, stored), stored)
        case CostRatio(ratio):
            return stored_labels(FlipCosts(ratio, 0.0), stored, given, posterior, entropy_fell, votes)
        case FlipCosts(negative, neutral):
            best = _best(posterior, stored)
            p, q = (posterior.double().gather(1, label[:, None])[:, 0] for label in (best, stored.clamp(min=0)))
            return torch.where(first | (p > negative * q + neutral * (1 - q - p).clamp(min=0)), best, stored)


def most_uncertain(entropies: Tensor, budget: int, seed: int) -> Tensor:
    """The items of highest entropy (N,), ascending; equal entropies by the hash of seed and item."""
    by_hash = _hashes(len(entropies), seed).argsort()
    by_entropy = entropies[by_hash].argsort(descending=True, stable=True)
    return by_hash[by_entropy[:budget]].sort().values


def information_gain(posterior: Tensor, tables: Tensor) -> Tensor:
    """(N,), nats: the entropy of a posterior (N, K) less that to be expected after P(said i | class k), (N, K, K)."""
    said = (tables.double() * posterior.double()[:, None]).sum(dim=2)
    after = tables.double() * posterior.double()[:, None] / torch.where(said > 0, said, 1)[:, :, None]
    entropies = torch.special.entr(after).sum(dim=2)
    return torch.special.entr(posterior.double()).sum(dim=1) - (said * entropies).sum(dim=1)


def random_items(items: int, budget: int, seed: int) -> Tensor:
    """The items of lowest hash, ascending."""
    return _hashes(items, seed).argsort()[:budget].sort().values


def _best(scores: Tensor, stored: Tensor) -> Tensor:
    is_best = scores == scores.amax(dim=1, keepdim=True)
    lowest = is_best.int().argmax(dim=1)
    stored_is_best = (stored >= 0) & is_best.gather(1, stored.clamp(min=0)[:, None])[:, 0]
    return torch.where(stored_is_best, stored, lowest)


def _hashes(items: int, seed: int) -> Tensor:
    """SplitMix64's numbers of a state made from the seed, int64 (N,), in the order of unsigned numbers."""
    start = _mixed(torch.tensor(_signed(seed)))
    return _mixed(start + torch.arange(items) * _signed(0x9E3779B97F4A7C15)) ^ -(2**63)


def _mixed(x: Tensor) -> Tensor:
    x = (x ^ _shifted(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shifted(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << 64 - bits) - 1)


def _signed(number: int) -> int:
    """The number modulo 2^64, as PyTorch's signed integers hold it."""
    return (number + 2**63) % 2**64 - 2**63
