"""Ensembles of tiny PSMNets: the objective, training that resumes, the variance beside the disparity."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pseudolidar.ensembles.training
from pseudolidar.ensembles import Ensemble, EnsembleTraining, TrainedEnsemble, train_disparity, trained_disparity
from pseudolidar.ensembles.psmnet_ensemble import is_ensemble, load_ensemble_weights
from pseudolidar.ensembles.training import ensemble_loss
from pseudolidar.files import FormatError
from pseudolidar.kitti import ObjectDataset, read_disparity
from pseudolidar.pipeline.models import _disparity_model
from pseudolidar.stereo import (
    PSMNet,
    StereoTraining,
    TrainedPSMNet,
    load_psmnet,
    predict_disparities,
    save_psmnet,
    train_stereo,
)
from pseudolidar.stereo.augmentation import Crops
from pseudolidar.stereo.data import StereoBatch, StereoBatches
from pseudolidar.stereo.pairs import ObjectPairs
from pseudolidar.stereo.train import loss_terms
from pseudolidar.training import TrainingRun, load_checkpoint, save_checkpoint, snapshot_path
from tests.conftest import settings_of
from tests.stereo.conftest import write_scene

NETWORK: dict[str, Any] = {
    "max_disparity": 16, "width": 8, "pool_sizes": (4, 2), "hourglasses": 2, "blocks": (1, 1, 1, 1)
}  # fmt: skip
TRAINING: dict[str, Any] = {
    **NETWORK, "loss": "disparity", "smooth": True, "steps": 4, "batch_size": 2, "crop": (32, 64),
    "learning_rate": 5e-3, "schedule": "step", "max_gradient_norm": None, "precision": "float32",
    "checkpoint_every": 2,
}  # fmt: skip
TINY: EnsembleTraining = settings_of("stereo/ensemble", **TRAINING, members=3, beta=0.5)
ALONE: StereoTraining = settings_of("stereo/slim", **TRAINING)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> ObjectDataset:
    """Four painted frames of 40 x 72 px."""
    return write_scene(tmp_path_factory.mktemp("scene"), 4)


@pytest.fixture(scope="module")
def whole(scene: ObjectDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ensemble as `TINY` trains it with seed 3, with its weights after steps 1 and 2."""
    path = tmp_path_factory.mktemp("whole") / "whole.pt"
    train_disparity(TINY, scene, TrainingRun(path, 3, snapshots=(1, 2)))
    return path


def batch_of(scene: ObjectDataset) -> StereoBatch:
    return StereoBatches(ObjectPairs(scene), 2, Crops(32, 64), seed=0)(0)


def ensemble_of(members: int) -> Ensemble:
    torch.manual_seed(0)
    return Ensemble([PSMNet(**NETWORK) for _ in range(members)]).train()


def loss_at(model: Ensemble, batch: StereoBatch, beta: float) -> torch.Tensor:
    return total(ensemble_loss(model, batch, dataclasses.replace(TINY, beta=beta)))


def total(terms: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(terms.values())).sum()


def test_the_objective_goes_from_each_alone_to_all_together(scene: ObjectDataset) -> None:
    batch, model = batch_of(scene), ensemble_of(3)
    alone = torch.stack([total(loss_terms(member, batch, "disparity")) for member in model.members]).mean()  # type: ignore[arg-type]
    apart, half, jointly = (loss_at(model, batch, beta).item() for beta in (0.0, 0.5, 1.0))
    assert apart == pytest.approx(alone.item(), rel=1e-5)
    assert jointly < apart, "the mean of several answers is no worse, by Jensen"
    assert half == pytest.approx((apart + jointly) / 2, rel=1e-5)


def test_members_that_agree_lose_nothing_by_training_jointly(scene: ObjectDataset) -> None:
    batch, model = batch_of(scene), ensemble_of(2)
    model.members[1].load_state_dict(model.members[0].state_dict())
    assert float(loss_at(model, batch, 1.0).detach()) == pytest.approx(
        float(loss_at(model, batch, 0.0).detach()), rel=1e-5
    )


def test_beta_0_gives_each_member_its_own_gradient(scene: ObjectDataset) -> None:
    batch, model = batch_of(scene), ensemble_of(2)
    loss_at(model, batch, 0.0).backward()
    together = [parameter.grad for parameter in model.members[1].parameters()]
    model.zero_grad()
    total(loss_terms(model.members[1], batch, "disparity")).backward()  # type: ignore[arg-type]
    for gradient, parameter in zip(together, model.members[1].parameters(), strict=True):
        assert gradient is not None
        assert parameter.grad is not None
        torch.testing.assert_close(2 * gradient, parameter.grad, rtol=1e-4, atol=1e-6)


def test_joint_training_lowers_the_loss_of_the_mean(scene: ObjectDataset, tmp_path: Path) -> None:
    train_disparity(dataclasses.replace(TINY, beta=1.0, steps=24), scene, TrainingRun(tmp_path / "e.pt", 0))
    losses = load_checkpoint(tmp_path / "e.pt")["losses"]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


def test_a_killed_run_ends_with_the_same_bytes_and_snapshots_show_the_way(
    scene: ObjectDataset, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not snapshot_path(whole, 3).exists()
    short = dataclasses.replace(TINY, steps=2)
    train_disparity(short, scene, TrainingRun(tmp_path / "short.pt", 3))
    way, end = load_checkpoint(snapshot_path(whole, 2)), load_checkpoint(tmp_path / "short.pt")
    assert way["losses"] == end["losses"]
    for name, tensor in end["state_dict"].items():
        assert torch.equal(way["state_dict"][name], tensor)
    real = pseudolidar.ensembles.training.ensemble_loss
    calls = 0

    def killed(model: Ensemble, batch: StereoBatch, settings: EnsembleTraining) -> dict[str, torch.Tensor]:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return real(model, batch, settings)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pseudolidar.ensembles.training, "ensemble_loss", killed)
        train_disparity(TINY, scene, TrainingRun(tmp_path / "broken.pt", 3))
    assert (tmp_path / "broken.pt.partial").exists()
    train_disparity(TINY, scene, TrainingRun(tmp_path / "broken.pt", 3))
    assert (tmp_path / "broken.pt").read_bytes() == whole.read_bytes()


def test_members_start_apart(scene: ObjectDataset, tmp_path: Path) -> None:
    still = dataclasses.replace(TINY, steps=1, learning_rate=0.0)
    train_disparity(still, scene, TrainingRun(tmp_path / "random.pt", 0))
    first, second, _ = (weights.state for weights in load_ensemble_weights(tmp_path / "random.pt"))
    convolution = "feature_extraction.firstconv.0.0.weight"
    assert not torch.equal(first[convolution], second[convolution])
    train_disparity(ALONE, scene, TrainingRun(tmp_path / "init.pt", 0))
    train_disparity(still, scene, TrainingRun(tmp_path / "shared.pt", 0), tmp_path / "init.pt")
    given = load_psmnet(tmp_path / "init.pt").state_dict()
    first, second, _ = (weights.state for weights in load_ensemble_weights(tmp_path / "shared.pt"))
    for name, tensor in dict(load_psmnet(tmp_path / "init.pt").named_parameters()).items():
        same = torch.equal(first[name], second[name])
        if name.startswith("classif") and not name.endswith(".1.weight") and not name.endswith(".1.bias"):
            assert not same, name
        elif not name.startswith("classif"):
            assert same, name
            assert torch.equal(first[name], tensor), name
    assert set(given) == set(first)


def test_its_disparity_is_the_mean_and_its_variance_stands_beside(
    scene: ObjectDataset, whole: Path, tmp_path: Path
) -> None:
    model = trained_disparity(whole, threads=1)
    assert isinstance(model, TrainedEnsemble)
    predict_disparities(model, scene, tmp_path / "maps", "ensemble")
    maps = []
    for number, weights in enumerate(load_ensemble_weights(whole)):
        save_psmnet(tmp_path / f"member{number}.pt", weights.network())
        single = trained_disparity(tmp_path / f"member{number}.pt", threads=1)
        assert type(single) is TrainedPSMNet
        maps.append(single.predict(*scene[2].stereo_pair()))
    name = f"{scene.frame_ids[2]}.npy"
    np.testing.assert_allclose(read_disparity(tmp_path / "maps" / name), np.mean(maps, axis=0), atol=1e-5)
    variance = read_disparity(tmp_path / "maps" / "variance" / name)
    np.testing.assert_allclose(variance, np.var(maps, axis=0), rtol=1e-3, atol=1e-6)
    assert variance.max() > 0
    assert len(list((tmp_path / "maps" / "variance").iterdir())) == len(scene)


def test_files_say_what_they_are(scene: ObjectDataset, whole: Path, tmp_path: Path) -> None:
    train_stereo(dataclasses.replace(ALONE, steps=1), scene, TrainingRun(tmp_path / "u.pt", 0))
    assert (is_ensemble(tmp_path / "u.pt"), is_ensemble(whole)) == (False, True)
    assert isinstance(_disparity_model(whole, "cpu", None, None, None), TrainedEnsemble)
    with pytest.raises(FormatError, match=r"whole\.pt: arguments: found those of an ensemble of 3"):
        load_psmnet(whole)
    with pytest.raises(FormatError, match=r"u\.pt: arguments: .* expected members"):
        load_ensemble_weights(tmp_path / "u.pt")
    content = load_checkpoint(whole)
    save_checkpoint(tmp_path / "e.safetensors", content)
    assert is_ensemble(tmp_path / "e.safetensors")
    for ours, theirs in zip(
        load_ensemble_weights(tmp_path / "e.safetensors"), load_ensemble_weights(whole), strict=True
    ):
        assert (ours.arguments, ours.precision) == (theirs.arguments, theirs.precision)
        assert all(torch.equal(ours.state[name], tensor) for name, tensor in theirs.state.items())
    state = {name: value for name, value in content["state_dict"].items() if not name.startswith("members.1.")}
    save_checkpoint(tmp_path / "less.pt", {**content, "state_dict": state})
    with pytest.raises(FormatError, match=r"less\.pt: member 1: found no weights, expected those of 3"):
        load_ensemble_weights(tmp_path / "less.pt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"members": 1}, "members: found 1, expected 2 or more"),
        ({"beta": 1.5}, "beta: found 1.5, expected a number from 0 to 1"),
        ({"optimizer": "sgd"}, "optimizer: found 'sgd'"),
    ],
)
def test_bad_settings_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **changes)
