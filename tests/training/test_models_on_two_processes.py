"""Every model of the study trains on two processes as on one: the same losses, step by step."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pseudolidar.detectors.pointrcnn.training
from pseudolidar.detectors.boxes2d import Detector2dTraining, train_detector2d
from pseudolidar.detectors.frustum_pointnet import FrustumTraining, train_frustum_pointnet
from pseudolidar.detectors.pointrcnn import PointRCNNTraining, train_pointrcnn
from pseudolidar.files import FormatError
from pseudolidar.kitti import ObjectDataset
from pseudolidar.stereo import StereoTraining, train_stereo
from pseudolidar.training import fit, load_checkpoint
from tests.detectors.painted_frames import write_painted
from tests.detectors.pointrcnn.tiny import BRIEF, JOINT
from tests.detectors.street_of_boxes import write_street
from tests.stereo.conftest import write_scene
from tests.training.several_processes import SeveralProcesses

# Rates so low that rounding stays rounding: at ten times the rate two runs of one process, whose first weights differ
# by 1e-7, are 3e-3 apart after 20 steps. Adam makes steps of any gradient, however small.
STEREO = StereoTraining(
    loss="disparity", steps=20, batch_size=3, crop=(32, 64), max_disparity=16, width=8, pool_sizes=(4, 2),
    hourglasses=1, blocks=(1, 1, 1, 1), learning_rate=1e-4, threads=1,
)  # fmt: skip
POINTRCNN = dataclasses.replace(
    BRIEF,
    rpn_steps=20,
    rcnn_steps=20,
    rcnn_batch_size=4,
    learning_rate=1e-4,
    backbone=dataclasses.replace(BRIEF.backbone, dropout=0.0),
    checkpoint_every=100,
)
WITH_NORM = dataclasses.replace(POINTRCNN.region, batch_norm=True)
FRUSTUM = FrustumTraining(
    steps=20, batch_size=7, learning_rate=1e-5, width=0.25, points=64, object_points=32, dropout=0.0,
    min_box_height_px=8, threads=1,
)  # fmt: skip
BOXES = Detector2dTraining(
    "fcos_resnet18", steps=3, image_height=64, crop=(64, 128), classes=("Car", "Pedestrian"), batch_size=4,
    learning_rate=1e-5, precision="float32", threads=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def two() -> Iterator[SeveralProcesses]:
    with SeveralProcesses(2) as processes:
        yield processes


def stereo_losses(settings: StereoTraining, root: Path, checkpoint: Path) -> list[float]:
    train_stereo(settings, ObjectDataset(root, "train"), checkpoint, None, seed=0)
    return list(load_checkpoint(checkpoint)["losses"])


def pointrcnn_losses(settings: PointRCNNTraining, root: Path, checkpoint: Path) -> list[float]:
    """Of both phases, one after the other: the finished checkpoint keeps the last one's alone."""
    losses: list[float] = []

    def recorded(*arguments: Any, **settings: Any) -> list[float]:
        losses.extend(fit(*arguments, **settings))
        return losses

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pseudolidar.detectors.pointrcnn.training, "fit", recorded)
        train_pointrcnn(settings, ObjectDataset(root, "train"), root / "clouds", "Car", checkpoint, seed=0)
    return losses


def frustum_losses(settings: FrustumTraining, root: Path, checkpoint: Path) -> list[float]:
    train_frustum_pointnet(settings, ObjectDataset(root, "train"), root / "clouds", ["Car"], checkpoint, seed=0)
    return list(load_checkpoint(checkpoint)["losses"])


def boxes2d_losses(settings: Detector2dTraining, root: Path, checkpoint: Path) -> list[float]:
    train_detector2d(settings, ObjectDataset(root, None), checkpoint, seed=0)
    return list(load_checkpoint(checkpoint)["losses"])


def on_one_and_two(
    two: SeveralProcesses, losses_of: Callable[..., list[float]], settings: Any, root: Path
) -> tuple[list[float], list[float]]:
    one = losses_of(settings, root, root / "one.pt")
    first, second = two(losses_of, settings, root, root / "two.pt")
    assert first == second
    return one, first


@pytest.mark.parametrize("changes", [{}, {"loss": "depth", "checkpointing": True, "steps": 5}])
def test_psmnet(two: SeveralProcesses, tmp_path: Path, changes: dict[str, Any]) -> None:
    write_scene(tmp_path, 4)
    one, both = on_one_and_two(two, stereo_losses, dataclasses.replace(STEREO, **changes), tmp_path)
    np.testing.assert_allclose(both, one, rtol=1e-4)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_both_phases_of_pointrcnn(two: SeveralProcesses, tmp_path: Path, batch_norm: bool) -> None:
    write_street(tmp_path, frames=8, seed=0)
    settings = dataclasses.replace(POINTRCNN, region=WITH_NORM) if batch_norm else POINTRCNN
    one, both = on_one_and_two(two, pointrcnn_losses, settings, tmp_path)
    assert len(one) == 40
    np.testing.assert_allclose(both, one, rtol=1e-4)
    assert not (tmp_path / "two.rpn.pt").exists()


def test_both_stages_of_pointrcnn_at_once(two: SeveralProcesses, tmp_path: Path) -> None:
    write_street(tmp_path, frames=8, seed=0)
    settings = dataclasses.replace(POINTRCNN, joint=True, rpn_steps=JOINT.rpn_steps)
    one, both = on_one_and_two(two, pointrcnn_losses, settings, tmp_path)
    np.testing.assert_allclose(both, one, rtol=1e-4)


def test_frustum_pointnet(two: SeveralProcesses, tmp_path: Path) -> None:
    write_street(tmp_path, frames=8, seed=0)
    one, both = on_one_and_two(two, frustum_losses, FRUSTUM, tmp_path)
    np.testing.assert_allclose(both, one, rtol=1e-4)


def test_the_2d_detector(two: SeveralProcesses, tmp_path: Path) -> None:
    write_painted(tmp_path, frames=6, seed=0)
    one, both = on_one_and_two(two, boxes2d_losses, BOXES, tmp_path)
    # Each part of a batch is weighted by its images, not its objects: near, and no nearer.
    np.testing.assert_allclose(both, one, rtol=0.05)


@pytest.mark.parametrize(
    ("losses_of", "write", "settings"),
    [
        (stereo_losses, write_scene, STEREO),
        (pointrcnn_losses, write_street, POINTRCNN),
        (frustum_losses, write_street, FRUSTUM),
        (boxes2d_losses, write_painted, BOXES),
    ],
)
def test_a_finished_run_is_known_on_other_threads_and_not_for_other_parts_of_a_batch(
    tmp_path: Path, losses_of: Callable[..., list[float]], write: Callable[..., ObjectDataset], settings: Any
) -> None:
    write(tmp_path, 4, **({} if write is write_scene else {"seed": 0}))
    steps = {name: 1 for name in ("steps", "rpn_steps", "rcnn_steps") if hasattr(settings, name)}
    brief = dataclasses.replace(settings, **steps)
    trained = losses_of(brief, tmp_path, tmp_path / "a.pt")
    elsewhere = dataclasses.replace(brief, threads=2, checkpoint_every=7)
    # Known, not trained again: of two phases only the last one's losses are kept.
    assert losses_of(elsewhere, tmp_path, tmp_path / "a.pt") in (trained[-1:], [])
    # Batch normalisation would take its statistics from other parts.
    for other in ({"accumulate": 2}, {"synchronised_batch_norm": False}):
        with pytest.raises(FormatError, match=f"record: found {next(iter(other))}"):
            losses_of(dataclasses.replace(brief, **other), tmp_path, tmp_path / "a.pt")
