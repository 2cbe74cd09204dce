"""Congruent training: the divergence against its definition, and both detectors held to an old one."""

from pathlib import Path

import pytest
import torch
from torch.distributions import Bernoulli, kl_divergence

from pseudolidar.detectors import Congruence, train_detector
from pseudolidar.detectors.congruence import congruence_loss
from pseudolidar.detectors.frustum_pointnet import FrustumTraining
from pseudolidar.detectors.pointrcnn import PointRCNNTraining
from pseudolidar.files import FormatError, InputError
from pseudolidar.kitti import ObjectDataset
from pseudolidar.training import TrainingRun, load_checkpoint, save_checkpoint
from tests.conftest import settings_of
from tests.detectors.pointrcnn.tiny import BRIEF


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


KINDS: dict[str, FrustumTraining | PointRCNNTraining] = {
    "frustum": settings_of("detector/frustum_pointnet_v1", steps=2, batch_size=4, points=64, object_points=32),
    "pointrcnn": BRIEF,
}


OBJECT_BIAS = {"frustum": "segmentation.logits.bias", "pointrcnn": "rpn.rpn_cls_layer.2.conv.bias"}


@pytest.mark.parametrize("kind", KINDS)
def test_training_holds_a_detector_to_an_old_one(street: ObjectDataset, tmp_path: Path, kind: str) -> None:
    clouds, settings = street.root / "clouds", KINDS[kind]
    old = tmp_path / "old.pt"
    train_detector(settings, street, clouds, ["Car"], TrainingRun(old, 1))
    # After a few steps it finds nothing, but for this.
    content = load_checkpoint(old, "")
    content["state_dict"][OBJECT_BIAS[kind]][-1] += 10.0
    save_checkpoint(old, content)
    weights = {}
    for name, held in (("plain", None), ("light", Congruence(old, 0.1)), ("heavy", Congruence(old, 100.0))):
        path = tmp_path / f"{name}.pt"
        train_detector(settings, street, clouds, ["Car"], TrainingRun(path, 0), congruence=held)
        weights[name] = torch.cat([each.flatten().float() for each in load_checkpoint(path, "")["state_dict"].values()])
    assert not torch.equal(weights["light"], weights["heavy"])
    other = tmp_path / "other.pt"
    train_detector(
        KINDS["pointrcnn" if kind == "frustum" else "frustum"], street, clouds, ["Car"], TrainingRun(other, 1)
    )
    with pytest.raises(FormatError, match="detector"):
        run = TrainingRun(tmp_path / "refused.pt", 0)
        train_detector(settings, street, clouds, ["Car"], run, congruence=Congruence(other, 1.0))


def test_a_weight_of_0_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found the weight 0"):
        Congruence(tmp_path / "old.pt", 0.0)
