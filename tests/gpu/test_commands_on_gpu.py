"""The commands with device=cuda: training, resuming, disparity, detection, and results that are the processor's."""

import dataclasses
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pseudolidar.benchmarks.pipeline import random_models
from pseudolidar.cloud import LIDAR_GRID, disparity_to_points, sparsify_points
from pseudolidar.detectors import Detector, detect, load_detector, train_detector
from pseudolidar.detectors.boxes2d import ground_truth_boxes
from pseudolidar.detectors.frustum_pointnet import FrustumTraining
from pseudolidar.detectors.pointrcnn import PointRCNNTraining
from pseudolidar.kitti import ObjectDataset, read_disparity, read_objects
from pseudolidar.stereo import TrainedPSMNet, load_psmnet
from pseudolidar.training import TrainingRun, load_checkpoint, partial_path
from tests.conftest import settings_of
from tests.detectors.pointrcnn.tiny import BRIEF, JOINT
from tests.detectors.street_of_boxes import write_street
from tests.stereo.conftest import write_scene

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
TINY = (
    "training.width=16", "training.pool_sizes=[4,2]", "training.hourglasses=2", "training.blocks=[1,1,1,1]",
    "training.max_disparity=48", "training.crop=[32,64]", "training.steps=6", "training.batch_size=2",
)  # fmt: skip
Command = Callable[..., str]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a script with arguments: what it prints."""

    def run(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(SCRIPTS / name), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> ObjectDataset:
    return write_street(tmp_path_factory.mktemp("street"), frames=4, seed=0)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("loss", ["depth", "disparity"])
def test_stereo_training_and_disparity(precision: str, loss: str, tmp_path: Path, command: Command) -> None:
    scene = write_scene(tmp_path / "scene", 4)
    of_training = (f"data={scene.root}", f"training.loss={loss}", f"training.precision={precision}", *TINY)
    losses = {}
    for device in ("cpu", "cuda"):
        model = tmp_path / f"{device}.pt"
        assert f"model: {model}" in command(
            "train_stereo.py", *of_training, f"training.device={device}", f"output={model}"
        )
        losses[device] = load_checkpoint(model)["losses"]
    assert len(losses["cuda"]) == 6 and np.isfinite(losses["cuda"]).all()
    # The same first batch through the same first weights.
    assert losses["cuda"][0] == pytest.approx(losses["cpu"][0], rel=2e-3 if precision == "float32" else 5e-2)
    model = tmp_path / "cuda.pt"
    for device, extra in (("cpu", "float32"), ("cuda", "float32"), ("cuda", "float16"), ("cuda", "bfloat16")):
        command(
            "predict_disparity.py", f"model={model}", f"data={scene.root}", f"device={device}", f"precision={extra}",
            f"output={tmp_path / (device + extra)}",
        )  # fmt: skip
    for frame_id in scene.frame_ids:
        expected = read_disparity(tmp_path / "cpufloat32" / f"{frame_id}.npy")
        for name, bound in (("cudafloat32", 0.02), ("cudafloat16", 0.1), ("cudabfloat16", 0.5)):
            found = read_disparity(tmp_path / name / f"{frame_id}.npy")
            assert np.median(np.abs(found - expected)) < bound, name
    assert load_psmnet(model).max_disparity == 48


FRUSTUM: FrustumTraining = settings_of(
    "detector/frustum_pointnet_v1",
    steps=4,
    batch_size=4,
    width=0.25,
    density=0.25,
    points=64,
    object_points=32,
    min_box_height_px=8,
)
SETTINGS: dict[str, FrustumTraining | PointRCNNTraining] = {
    "v1": FRUSTUM,
    "v2": dataclasses.replace(FRUSTUM, version=2),
    "v2 bfloat16": dataclasses.replace(FRUSTUM, version=2, precision="bfloat16"),
    "PointRCNN": BRIEF,
    "PointRCNN joint bfloat16": dataclasses.replace(JOINT, precision="bfloat16"),
}


def results(detector: Detector, street: ObjectDataset, folder: Path) -> list[np.ndarray]:
    boxes = ground_truth_boxes(street, ["Car"]) if detector.starts_from_boxes2d else None
    detect(detector, street, street.root / "clouds", folder, boxes)
    return [read_objects(folder / f"{frame_id}.txt", scored=True).box3d for frame_id in street.frame_ids]


@pytest.mark.parametrize("name", SETTINGS)
def test_detectors_are_trained_and_detect(name: str, street: ObjectDataset, tmp_path: Path) -> None:
    settings = SETTINGS[name]
    if isinstance(settings, PointRCNNTraining):
        # Every box of a network that has learnt nothing.
        settings = dataclasses.replace(settings, score_threshold=0.0, nms_threshold=0.5)
    checkpoint, losses = tmp_path / "car.pt", {}
    for device in ("cpu", "cuda"):
        checkpoint = tmp_path / f"{device}.pt"
        train_detector(
            dataclasses.replace(settings, device=device),
            street,
            street.root / "clouds",
            ["Car"],
            TrainingRun(checkpoint),
        )
        losses[device] = load_checkpoint(checkpoint)["losses"]
    assert len(losses["cuda"]) == 4 and np.isfinite(losses["cuda"]).all()
    found = {
        device: results(load_detector(checkpoint, device), street, tmp_path / device) for device in ("cpu", "cuda")
    }
    for ours, theirs in zip(found["cuda"], found["cpu"], strict=True):
        assert abs(len(ours) - len(theirs)) <= 0.2 * len(theirs)
        if isinstance(settings, FrustumTraining):
            np.testing.assert_allclose(ours[:, :3], theirs[:, :3], atol=0.05)
    assert sum(map(len, found["cuda"])) > 0


def test_detection_by_command(street: ObjectDataset, tmp_path: Path, command: Command) -> None:
    train_detector(
        dataclasses.replace(FRUSTUM, device="cuda"),
        street,
        street.root / "clouds",
        ["Car"],
        TrainingRun(tmp_path / "car.pt"),
    )
    printed = command(
        "detect_objects.py", f"model={tmp_path / 'car.pt'}", f"data={street.root}", "split=train",
        f"clouds={street.root / 'clouds'}", f"output={tmp_path / 'results'}", "device=cuda",
    )  # fmt: skip
    assert "results:" in printed
    assert len(list((tmp_path / "results").glob("*.txt"))) == 4


def test_pairs_to_results_by_command(tmp_path: Path, command: Command) -> None:
    scene = write_scene(tmp_path / "scene", 6)
    random_models(tmp_path, "slim", "pointrcnn_slim", "cpu", "float32")
    settings = (f"models={tmp_path / 'models'}", f"data={scene.root}", "device=cuda")
    for precision in ("float32", "float16"):
        output = tmp_path / precision
        assert "frames: 6" in command("detect.py", *settings, f"precision={precision}", f"output={output}")
        assert len(list(output.glob("results/*.txt"))) == len(list(output.glob("pictures/*.png"))) == 6
    network = TrainedPSMNet(tmp_path / "models" / "disparity.pt", device="cuda")
    left, right = scene[0].stereo_pair()
    on_card, calibration = network.disparity(left, right), scene[0].calibration
    assert on_card.is_cuda
    points = disparity_to_points(on_card, calibration)
    assert np.array_equal(points.cpu().numpy(), disparity_to_points(on_card.cpu().numpy(), calibration))
    sparse = disparity_to_points(on_card, calibration, grid=LIDAR_GRID)
    assert torch.equal(sparsify_points(points), sparse)
    expected = TrainedPSMNet(network.checkpoint).disparity(left, right)
    assert (on_card.cpu() - expected).abs().median() < 0.02


def test_an_interrupted_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints written on the GPU are read on the processor, and the other way round."""
    street = write_street(tmp_path, frames=2, seed=1)
    settings = dataclasses.replace(FRUSTUM, checkpoint_every=2)
    from pseudolidar.detectors.frustum_pointnet.samples import FrustumBatches

    batch_at = FrustumBatches.__call__

    def killed(self: FrustumBatches, step: int, shard: object) -> object:
        if step == 3:
            raise KeyboardInterrupt
        return batch_at(self, step)

    for first, then in (("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "cuda")):
        checkpoint = tmp_path / f"{first}{then}.pt"
        with monkeypatch.context() as patch:
            patch.setattr(FrustumBatches, "__call__", killed)
            with pytest.raises(KeyboardInterrupt):
                train_detector(
                    dataclasses.replace(settings, device=first),
                    street,
                    street.root / "clouds",
                    ["Car"],
                    TrainingRun(checkpoint),
                )
        assert partial_path(checkpoint).exists()
        train_detector(
            dataclasses.replace(settings, device=then), street, street.root / "clouds", ["Car"], TrainingRun(checkpoint)
        )
        assert len(load_checkpoint(checkpoint)["losses"]) == 4
    assert torch.cuda.is_available()
