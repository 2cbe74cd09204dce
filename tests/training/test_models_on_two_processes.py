"""Every model of the study trains on two processes as on one: the same losses, step by step, and gradients."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import pseudolidar.detectors.boxes2d.training
import pseudolidar.detectors.frustum_pointnet.training
import pseudolidar.detectors.pointrcnn.training
import pseudolidar.stereo.train
from pseudolidar.detectors.boxes2d import Detector2dTraining, train_detector2d
from pseudolidar.detectors.frustum_pointnet import FrustumTraining, train_frustum_pointnet
from pseudolidar.detectors.pointrcnn import PointRCNNTraining, train_pointrcnn
from pseudolidar.files import FormatError
from pseudolidar.kitti import ObjectDataset
from pseudolidar.stereo import StereoTraining, train_stereo
from pseudolidar.training import TrainingRun, TrainingSettings, TrainingTask, fit
from tests.conftest import settings_of
from tests.detectors.painted_frames import write_painted
from tests.detectors.pointrcnn.tiny import BRIEF, JOINT
from tests.detectors.street_of_boxes import write_street
from tests.stereo.conftest import write_scene
from tests.training.several_processes import SeveralProcesses

# Rates so low that the weights stay where they are: every step is compared by itself. At higher ones rounding adds up,
# since Adam makes steps of any gradient, however small; after 20 steps of 1e-4 losses are up to 1e-2 apart.
STEREO: StereoTraining = settings_of(
    "stereo/slim", loss="disparity", smooth=True, steps=20, batch_size=3, crop=(32, 64), max_disparity=16, width=8,
    pool_sizes=(4, 2), hourglasses=1, blocks=(1, 1, 1, 1), learning_rate=1e-9, max_gradient_norm=None,
    precision="float32",
)  # fmt: skip
POINTRCNN = dataclasses.replace(
    BRIEF,
    rpn_steps=20,
    rcnn_steps=20,
    rcnn_batch_size=4,
    learning_rate=1e-9,
    backbone=dataclasses.replace(BRIEF.backbone, dropout=0.0),
    checkpoint_every=100,
)
WITH_NORM = dataclasses.replace(POINTRCNN.rcnn, batch_norm=True)
FRUSTUM: FrustumTraining = settings_of(
    "detector/frustum_pointnet_v1",
    steps=20, batch_size=7, learning_rate=1e-9, width=0.25, points=64, object_points=32, dropout=0.0,
    min_box_height_px=8, threads=1,
)  # fmt: skip
BOXES: Detector2dTraining = settings_of(
    "detector2d/fcos_town", steps=3, image_height=64, crop=(64, 128), classes=("Car", "Pedestrian"), batch_size=4,
    learning_rate=1e-5, precision="float32", threads=1,
)  # fmt: skip


TRAININGS = (
    pseudolidar.stereo.train,
    pseudolidar.detectors.pointrcnn.training,
    pseudolidar.detectors.frustum_pointnet.training,
    pseudolidar.detectors.boxes2d.training,
)


@pytest.fixture(scope="module")
def two() -> Iterator[SeveralProcesses]:
    with SeveralProcesses(2) as processes:
        yield processes


@dataclass(frozen=True)
class Run:
    """What a training did, all its phases in a row.

    Attributes:
        losses: of each step.
        gradient: the mean over the last steps that Adam keeps, of all parameters; empty where nothing was trained.
    """

    losses: NDArray[np.float64]
    gradient: NDArray[np.float32]


def recorded(train: Callable[..., object], *arguments: Any, **settings: Any) -> Run:
    """The run of a training, whose own checkpoint keeps the losses of the last phase and no gradients."""
    losses: list[float] = []
    gradients: list[NDArray[np.float32]] = []

    def recording(task: TrainingTask[Any, Any], settings: TrainingSettings, run: TrainingRun) -> list[float]:
        found = fit(task, settings, run)
        losses.extend(found)
        gradients.extend(state["exp_avg"].numpy().ravel() for state in task.optimizer.state.values())
        return found

    with pytest.MonkeyPatch.context() as patch:
        for module in TRAININGS:
            patch.setattr(module, "fit", recording)
        train(*arguments, **settings)
    return Run(np.array(losses), np.concatenate([*gradients, np.zeros(0, np.float32)]))


def stereo_run(settings: StereoTraining, root: Path, checkpoint: Path) -> Run:
    return recorded(train_stereo, settings, ObjectDataset(root, "train"), TrainingRun(checkpoint))


def pointrcnn_run(settings: PointRCNNTraining, root: Path, checkpoint: Path) -> Run:
    dataset = ObjectDataset(root, "train")
    return recorded(train_pointrcnn, settings, dataset, root / "clouds", "Car", TrainingRun(checkpoint))


def frustum_run(settings: FrustumTraining, root: Path, checkpoint: Path) -> Run:
    dataset = ObjectDataset(root, "train")
    return recorded(train_frustum_pointnet, settings, dataset, root / "clouds", ["Car"], TrainingRun(checkpoint))


def boxes2d_run(settings: Detector2dTraining, root: Path, checkpoint: Path) -> Run:
    return recorded(train_detector2d, settings, ObjectDataset(root, None), TrainingRun(checkpoint))


def on_one_and_two(two: SeveralProcesses, run_of: Callable[..., Run], settings: Any, root: Path) -> tuple[Run, Run]:
    one = run_of(settings, root, root / "one.pt")
    first, second = two(run_of, settings, root, root / "two.pt")
    assert np.array_equal(first.losses, second.losses)
    assert np.array_equal(first.gradient, second.gradient)
    return one, first


def assert_alike(both: Run, one: Run, ranked: bool = False) -> None:
    """One step's rounding apart: float32 resolves 6e-8 of a value, and a loss stands on sums of up to 1e4 of them.

    Args:
        both: by two processes.
        one: by one process.
        ranked: the loss is of regions that a ranking chooses. Of 64 scores beside -4.6, 0.3 apart in all, two are equal
            up to rounding in a step out of ten, and the other one coming first changes what is sampled.
    """
    difference = np.abs(both.losses - one.losses) / one.losses
    assert (np.median(difference) if ranked else difference.max()) < 1e-5, difference
    assert difference.max() < 0.03, difference
    # Of a maximum or a ReLU whose arguments are equal up to rounding the gradient is one side's or the other's.
    assert np.linalg.norm(both.gradient - one.gradient) < 0.1 * np.linalg.norm(one.gradient)


@pytest.mark.parametrize("changes", [{}, {"loss": "depth", "checkpointing": True, "steps": 5}])
def test_psmnet(two: SeveralProcesses, tmp_path: Path, changes: dict[str, Any]) -> None:
    write_scene(tmp_path, 4)
    one, both = on_one_and_two(two, stereo_run, dataclasses.replace(STEREO, **changes), tmp_path)
    assert_alike(both, one)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_both_phases_of_pointrcnn(two: SeveralProcesses, tmp_path: Path, batch_norm: bool) -> None:
    write_street(tmp_path, frames=8, seed=0)
    settings = dataclasses.replace(POINTRCNN, rcnn=WITH_NORM) if batch_norm else POINTRCNN
    one, both = on_one_and_two(two, pointrcnn_run, settings, tmp_path)
    assert len(one.losses) == 40
    np.testing.assert_allclose(both.losses[:20], one.losses[:20], rtol=1e-5)
    assert_alike(both, one, ranked=True)
    assert not (tmp_path / "two.rpn.pt").exists()


def test_both_stages_of_pointrcnn_at_once(two: SeveralProcesses, tmp_path: Path) -> None:
    write_street(tmp_path, frames=8, seed=0)
    settings = dataclasses.replace(POINTRCNN, joint=True, rpn_steps=JOINT.rpn_steps)
    one, both = on_one_and_two(two, pointrcnn_run, settings, tmp_path)
    assert_alike(both, one, ranked=True)


def test_frustum_pointnet(two: SeveralProcesses, tmp_path: Path) -> None:
    write_street(tmp_path, frames=8, seed=0)
    one, both = on_one_and_two(two, frustum_run, FRUSTUM, tmp_path)
    assert_alike(both, one)


def test_the_2d_detector(two: SeveralProcesses, tmp_path: Path) -> None:
    write_painted(tmp_path, frames=6, seed=0)
    one, both = on_one_and_two(two, boxes2d_run, BOXES, tmp_path)
    # Each part of a batch is weighted by its images, not its objects: near, and no nearer.
    np.testing.assert_allclose(both.losses, one.losses, rtol=0.05)


@pytest.mark.parametrize(
    ("run_of", "write", "settings"),
    [
        (stereo_run, write_scene, STEREO),
        (pointrcnn_run, write_street, POINTRCNN),
        (frustum_run, write_street, FRUSTUM),
        (boxes2d_run, write_painted, BOXES),
    ],
)
def test_a_finished_run_is_known_on_other_threads_and_not_for_other_parts_of_a_batch(
    tmp_path: Path, run_of: Callable[..., Run], write: Callable[..., ObjectDataset], settings: Any
) -> None:
    write(tmp_path, 4, **({} if write is write_scene else {"seed": 0}))
    steps = {name: 1 for name in ("steps", "rpn_steps", "rcnn_steps") if hasattr(settings, name)}
    brief = dataclasses.replace(settings, **steps)
    trained = run_of(brief, tmp_path, tmp_path / "a.pt").losses
    elsewhere = dataclasses.replace(brief, threads=2, checkpoint_every=7)
    # Known, not trained again: of two phases only the last one's losses are kept.
    known = run_of(elsewhere, tmp_path, tmp_path / "a.pt")
    assert known.losses.tolist() in (trained[-1:].tolist(), [])
    assert not len(known.gradient)
    # Batch normalisation would take its statistics from other parts.
    for other in ({"accumulate": 2}, {"synchronised_batch_norm": False}):
        with pytest.raises(FormatError, match=f"record: found {next(iter(other))}"):
            run_of(dataclasses.replace(brief, **other), tmp_path, tmp_path / "a.pt")
