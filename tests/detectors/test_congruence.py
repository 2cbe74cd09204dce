"""Congruent training: the divergence against its definition, and both detectors held to an old one."""

from pathlib import Path

import pytest
import torch
from torch.distributions import Bernoulli, kl_divergence

from pseudolidar.detectors import Congruence
from pseudolidar.detectors.congruence import congruence_loss
from pseudolidar.files import InputError


def test_the_divergence_is_counted_on_object_points_that_the_old_detector_finds() -> None:
    generator = torch.Generator().manual_seed(0)
    new, old = (3 * torch.randn(4, 50, generator=generator) for _ in range(2))
    is_object = torch.rand(4, 50, generator=generator) < 0.4
    counted = is_object & (old > 0)
    divergence = kl_divergence(Bernoulli(logits=old), Bernoulli(logits=new))[counted].sum() / is_object.sum()
    torch.testing.assert_close(congruence_loss(new, old, is_object), divergence)
    torch.testing.assert_close(congruence_loss(old, old, is_object), torch.tensor(0.0))
    assert congruence_loss(new, old, torch.zeros_like(is_object)) == 0
    new.requires_grad_(True)
    congruence_loss(new, old, is_object).backward()
    assert new.grad is not None and ((new.grad != 0) == counted).all()


def test_scores_far_from_0_give_finite_gradients() -> None:
    new = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    loss = congruence_loss(new, torch.tensor([[1e4, 1e4, 80.0]]), torch.ones(1, 3, dtype=torch.bool))
    loss.backward()
    assert loss.isfinite() and new.grad is not None and new.grad.isfinite().all()


def test_a_weight_of_0_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found the weight 0"):
        Congruence(tmp_path / "old.pt", 0.0)
