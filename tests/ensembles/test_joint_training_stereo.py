"""Joint training of PSMNets: stages on a painted scene against predictions compared by hand; what they depend on."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import smooth_l1_loss

from pseudolidar.ensembles import EnsembleTraining, TrainedEnsemble, squared_error_decomposition
from pseudolidar.ensembles.joint_training import StereoEnsembles
from pseudolidar.ensembles.joint_training.experiments import Training, read_training
from pseudolidar.ensembles.joint_training.stereo import MeasureEnsemble, TrainEnsemble
from pseudolidar.kitti import ObjectDataset, read_disparity, write_disparity
from pseudolidar.synthetic import TownData
from pseudolidar.systems import parents_first
from tests.conftest import settings_of
from tests.stereo.conftest import write_scene

TRAINING: EnsembleTraining = settings_of(
    "stereo/ensemble", loss="disparity", smooth=True, steps=4, batch_size=1, crop=(32, 64), members=2, beta=0.5,
    width=8, max_disparity=16, pool_sizes=(4, 2), hourglasses=1, blocks=(1, 1, 1, 1), learning_rate=5e-3,
    max_gradient_norm=None, precision="float32",
)  # fmt: skip
ENSEMBLES = StereoEnsembles(
    data=TownData("mini", 3, 2), training=TRAINING, betas=(0, 1), seed=5, seeds=2, moments=2, frames=2
)


@dataclasses.dataclass(frozen=True)
class Measured:
    """A data set, an ensemble trained on it, what was measured."""

    data: Path
    model: Path
    training: Training


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    root = tmp_path_factory.mktemp("joint")
    data = write_scene(root / "scene", 5).root
    (data / "ImageSets" / "train.txt").write_text("000000\n000001\n000002\n")
    (data / "ImageSets" / "val.txt").write_text("000003\n000004\n")
    # Nearer than the networks can say.
    path = data / "training" / "disparity" / "000003.png"
    disparity = read_disparity(path)
    disparity[4:8, 10:30] = 17
    write_disparity(path, disparity)
    for name in ("model", "measurements"):
        (root / name).mkdir()
    TrainEnsemble(TRAINING, 5, (2,)).run(root / "model", {"data": data})
    MeasureEnsemble(TRAINING, (2, 4), 2).run(root / "measurements", {"data": data, "model": root / "model"})
    return Measured(data, root / "model", read_training(root / "measurements"))


@pytest.mark.parametrize(("moment", "file"), [(0, "model.step-2.pt"), (1, "model.pt")])
@pytest.mark.parametrize(("name", "frames"), [("train", (0, 1)), ("test", (3, 4))])
def test_the_first_frames_are_measured_at_every_moment(
    measured: Measured, moment: int, file: str, name: str, frames: tuple[int, int]
) -> None:
    model, data = TrainedEnsemble(measured.model / file), ObjectDataset(measured.data)
    members, targets = [], []
    for frame in frames:
        target = read_disparity(measured.data / "training" / "disparity" / f"{frame:06d}.png")
        valid = (target > 0) & (target < 16)
        members.append(model.predict_members(*data[frame].stereo_pair())[:, valid])
        targets.append(target[valid])
    predicted, wanted = torch.from_numpy(np.concatenate(members, axis=1)), torch.from_numpy(np.concatenate(targets))
    snapshot = measured.training.snapshots[moment]
    assert snapshot.step == (2, 4)[moment]
    found = getattr(snapshot, name)
    whole = squared_error_decomposition(predicted, wanted)
    assert dataclasses.astuple(found.decomposition) == pytest.approx(dataclasses.astuple(whole), rel=1e-6)
    alone = [float((one.double() - wanted).square().mean()) for one in predicted]
    assert found.codependence == pytest.approx((np.mean(alone), whole.ensemble), rel=1e-6)
    assert found.objective.individual == pytest.approx(
        np.mean([float(smooth_l1_loss(one, wanted)) for one in predicted]), rel=1e-5
    )
    assert found.objective.ensemble == pytest.approx(float(smooth_l1_loss(predicted.mean(0), wanted)), rel=1e-5)


def test_what_it_was_trained_on_is_said(measured: Measured) -> None:
    assert measured.training.loss == "smooth L1 of disparity"
    assert "4 steps of 1 crops of 64 x 32 px, smooth L1 of disparity" in ENSEMBLES.design().setting


def fingerprints(ensembles: StereoEnsembles, kind: str) -> set[str]:
    stages = parents_first(list(ensembles.design().stages.values()))
    return {stage.fingerprint for stage in stages if stage.name.startswith(kind)}


def test_every_beta_and_seed_is_a_training_on_one_town() -> None:
    assert [len(fingerprints(ENSEMBLES, kind)) for kind in ("town", "train-", "measure-")] == [1, 4, 4]
    assert set(ENSEMBLES.design().stages) == {(beta, seed) for beta in (0.0, 1.0) for seed in (5, 6)}
    ignored = dataclasses.replace(ENSEMBLES, training=dataclasses.replace(TRAINING, beta=0.9, checkpoint_every=1))
    assert fingerprints(ignored, "") == fingerprints(ENSEMBLES, "")


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"betas": (0, 0.5, 1), "seeds": 3}, ("town", "train-", "measure-")),
        ({"frames": 1}, ("town", "train-")),
        ({"training": dataclasses.replace(TRAINING, members=3)}, ("town",)),
        ({"data": TownData("mini", 4, 2)}, ()),
    ],
)
def test_what_a_change_leaves(changes: dict[str, Any], kept: tuple[str, ...]) -> None:
    after = dataclasses.replace(ENSEMBLES, **changes)
    for kind in ("town", "train-", "measure-"):
        before = fingerprints(ENSEMBLES, kind)
        left = before & fingerprints(after, kind)
        assert left == (before if kind in kept else set())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"betas": ()}, "betas: found 0, expected 1 or more"),
        ({"seeds": 0}, "seeds: found 0, expected 1 or more"),
        ({"frames": 3}, "frames: found 3, expected at most 2"),
        ({"moments": 5}, "moments: found 5, expected 1 to 4"),
    ],
)
def test_settings_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(ENSEMBLES, **changes)


@pytest.mark.parametrize(("betas", "message"), [((0.5, 1), "betas: found"), ((0, 1.5), "beta: found 1.5")])
def test_betas_that_nothing_can_be_trained_on_or_compared_with(betas: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(ENSEMBLES, betas=betas).design()
