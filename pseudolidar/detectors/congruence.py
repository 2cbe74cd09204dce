"""Positive-congruent training: a new detector is held to an old one where that is right (Yan et al., CVPR 2021).

Their focal distillation weights an example's distance between the two models by alpha + beta x [the old one is right].
Here an example is a point of an object, the models say whether it is one, alpha is 0 and the distance is the
Kullback-Leibler divergence: what the old detector found is to be found again, and all else is left to the labels. Both
see the same points, those of the new detector's input.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from pseudolidar.files import InputError
from pseudolidar.training import shard_weight


@dataclass(frozen=True)
class Congruence:
    """The old detector's checkpoint, and the weight of the term that holds the new one to it (beta); above 0."""

    old: str | Path
    weight: float

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise InputError(f"congruence: found the weight {self.weight}, expected a number above 0")

    def term(self, logits: Tensor, old_logits: Tensor, is_object: Tensor) -> dict[str, Tensor]:
        """The weighted term of a loss, or this process's part of it; arguments as of `congruence_loss`."""
        loss = congruence_loss(logits, old_logits, is_object)
        return {"congruence": self.weight * loss * shard_weight(is_object.sum())}


def congruence_loss(logits: Tensor, old_logits: Tensor, is_object: Tensor) -> Tensor:
    """Divergence of the new scores from the old ones on the objects' points that the old detector calls so.

    All (B, N): log odds that a point is an object's, by both detectors, and bool, whether it is. The sum over the
    number of the objects' points.
    """
    old = old_logits.detach().float()
    counted = is_object & (old > 0)
    probability = old.sigmoid()
    cross_entropy = functional.binary_cross_entropy_with_logits(logits.float(), probability, reduction="none")
    entropy = functional.binary_cross_entropy_with_logits(old, probability, reduction="none")
    return torch.where(counted, cross_entropy - entropy, 0.0).sum() / is_object.sum().clamp(min=1)
