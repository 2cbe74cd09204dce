"""Training: losses fall, interrupted runs end with the same bytes, bad data and numbers stop it with a clear error."""

import dataclasses
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch

from pseudolidar.detectors import load_detector, train_detector
from pseudolidar.detectors.pointrcnn import PointRCNN, PointRCNNDetector, PointRCNNTraining, train_pointrcnn
from pseudolidar.detectors.pointrcnn.scenes import SceneBatch, SceneBatches
from pseudolidar.detectors.pointrcnn.training import rpn_path
from pseudolidar.files import DivergenceError, FormatError
from pseudolidar.kitti import ObjectDataset
from pseudolidar.training import TrainingRun, load_checkpoint, save_checkpoint
from tests.detectors.pointrcnn.tiny import BRIEF, JOINT
from tests.detectors.street_of_boxes import write_street


def train(settings: PointRCNNTraining, street: ObjectDataset, checkpoint: Path, seed: int = 0) -> bytes:
    train_pointrcnn(settings, street, street.root / "clouds", "Car", TrainingRun(checkpoint, seed))
    return checkpoint.read_bytes()


def killed_at_batch(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch of that number, counted from 0 over both phases, is never made."""
    batch_at, made = SceneBatches.__call__, iter(range(number + 1))

    def interrupted(self: SceneBatches, step: int, shard: object) -> SceneBatch:
        if next(made) == number:
            raise KeyboardInterrupt
        return batch_at(self, step)

    monkeypatch.setattr(SceneBatches, "__call__", interrupted)


@pytest.mark.parametrize("settings", [BRIEF, JOINT], ids=["two phases", "joint"])
def test_the_same_seed_gives_the_same_bytes(settings: PointRCNNTraining, street: ObjectDataset, tmp_path: Path) -> None:
    one, two, three = (
        train(settings, street, tmp_path / f"{name}.pt", seed) for name, seed in (("one", 0), ("two", 0), ("three", 1))
    )
    assert one == two
    assert one != three
    # Nothing else is left but the numbers of the steps: no running state, no RPN.
    left = {path.name for path in tmp_path.iterdir() if not path.name.endswith(".metrics.csv")}
    assert left == {"one.pt", "three.pt", "two.pt"}


@pytest.fixture(scope="module")
def whole(street: ObjectDataset, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a training that is left alone writes."""
    return train(BRIEF, street, tmp_path_factory.mktemp("whole") / "car.pt")


@pytest.mark.parametrize("batch", range(BRIEF.rpn_steps + BRIEF.rcnn_steps))
def test_an_interrupted_training_ends_with_the_same_bytes(
    batch: int, whole: bytes, street: ObjectDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_at_batch(batch, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(BRIEF, street, tmp_path / "broken.pt")
    assert not (tmp_path / "broken.pt").exists()
    assert rpn_path(tmp_path / "broken.pt").exists() == (batch >= BRIEF.rpn_steps)
    monkeypatch.undo()
    assert train(BRIEF, street, tmp_path / "broken.pt") == whole
    assert not rpn_path(tmp_path / "broken.pt").exists()


@pytest.mark.parametrize("name", ["car.pt", "car.safetensors"])
def test_a_finished_training_is_left_alone(
    name: str, street: ObjectDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(BRIEF, street, tmp_path / name)
    killed_at_batch(0, monkeypatch)
    assert train(BRIEF, street, tmp_path / name) == first
    assert load_detector(tmp_path / name).class_names == ("Car",)
    with pytest.raises(FormatError, match=r"found learning_rate=0\.002, expected learning_rate=0\.1"):
        train(dataclasses.replace(BRIEF, learning_rate=0.1), street, tmp_path / name)


def test_the_rpn_is_fixed_in_the_second_phase(street: ObjectDataset, tmp_path: Path) -> None:
    for steps in (1, 4):
        train(dataclasses.replace(BRIEF, rcnn_steps=steps), street, tmp_path / f"{steps}.pt")
    first, second = (load_checkpoint(tmp_path / f"{steps}.pt")["state_dict"] for steps in (1, 4))
    changed = {name.split(".")[0] for name in first if not torch.equal(first[name], second[name])}
    assert changed == {"rcnn_net"}


def test_both_phases_learn(street: ObjectDataset, tmp_path: Path) -> None:
    settings = dataclasses.replace(BRIEF, rpn_steps=160, rcnn_steps=160, learning_rate=0.01)
    first_losses = _rpn_losses(settings, street, tmp_path / "car.pt")
    second_losses = load_checkpoint(tmp_path / "car.pt")["losses"]
    for losses in (first_losses, second_losses):
        assert len(losses) == 160
        assert_falling(losses)


def assert_falling(losses: list[float]) -> None:
    """Seeds 0 to 4 end at 0.83 at most. Medians: now and then a batch has a roi that is refined by far."""
    assert statistics.median(losses[-20:]) < 0.9 * statistics.median(losses[:20])


def _rpn_losses(settings: PointRCNNTraining, street: ObjectDataset, checkpoint: Path) -> list[float]:
    """Train in two calls, the first stopped before its second phase."""
    with pytest.MonkeyPatch.context() as patch:
        killed_at_batch(settings.rpn_steps, patch)
        with pytest.raises(KeyboardInterrupt):
            train(settings, street, checkpoint)
    losses: list[float] = load_checkpoint(rpn_path(checkpoint))["losses"]
    train(settings, street, checkpoint)
    return losses


def test_both_stages_learn_together(street: ObjectDataset, tmp_path: Path) -> None:
    train(dataclasses.replace(JOINT, rcnn_steps=160, learning_rate=0.01), street, tmp_path / "car.pt")
    trained = load_checkpoint(tmp_path / "car.pt")
    assert_falling(trained["losses"])
    weights = trained["state_dict"]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        start = PointRCNN(backbone=BRIEF.backbone, rcnn=BRIEF.rcnn).state_dict()
    changed = {name.split(".")[0] for name in start if not torch.equal(start[name], weights[name])}
    assert changed == {"rpn", "rcnn_net"}


@pytest.mark.parametrize("settings", [BRIEF, JOINT], ids=["two phases", "joint"])
def test_bfloat16(settings: PointRCNNTraining, street: ObjectDataset, tmp_path: Path) -> None:
    train(dataclasses.replace(settings, precision="bfloat16"), street, tmp_path / "car.pt")
    assert load_checkpoint(tmp_path / "car.pt")["precision"] == "bfloat16"


def test_near_only(street: ObjectDataset, tmp_path: Path) -> None:
    settings = dataclasses.replace(BRIEF, mean_size="training_set")
    clouds = street.root / "clouds"
    train_detector(settings, street, clouds, ["Car"], TrainingRun(tmp_path / "near.pt", 0), max_depth=15.0)
    trained = PointRCNNDetector.from_checkpoint(tmp_path / "near.pt")
    assert trained.max_depth == 15.0 and trained.class_names == ("Car",)
    sizes = [box for frame in street for box in frame.objects().box3d if box[2] <= 15]
    np.testing.assert_allclose(trained.model.mean_size_m.numpy(), np.mean(sizes, axis=0)[3:6], rtol=1e-5)


def test_pedestrians(tmp_path: Path) -> None:
    street = write_street(tmp_path, frames=2, seed=1, class_name="Pedestrian")
    train_pointrcnn(BRIEF, street, tmp_path / "clouds", "Pedestrian", TrainingRun(tmp_path / "pedestrian.pt", 0))
    trained = PointRCNNDetector.from_checkpoint(tmp_path / "pedestrian.pt")
    assert trained.class_names == ("Pedestrian",)
    torch.testing.assert_close(trained.model.mean_size_m, torch.tensor([1.763, 0.661, 0.844]))


@pytest.mark.parametrize("phase", ["first", "second", "joint"])
def test_numbers_that_are_not_finite_stop_it(
    phase: str, street: ObjectDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pseudolidar.detectors.pointrcnn import training

    settings = JOINT if phase == "joint" else BRIEF
    broken = "rpn" if phase == "first" else "rcnn_net"
    from_arguments = PointRCNN.from_arguments

    def with_a_weight_broken(arguments: dict[str, object]) -> PointRCNN:
        model = from_arguments(arguments)
        with torch.no_grad():
            next(model.get_submodule(broken).parameters()).fill_(torch.nan)
        return model

    monkeypatch.setattr(training.PointRCNN, "from_arguments", staticmethod(with_a_weight_broken))
    with pytest.raises(DivergenceError, match=r"step 0: the loss is nan; frames 00000\d, 00000\d"):
        train(settings, street, tmp_path / "car.pt")
    left = {path.name for path in tmp_path.iterdir() if not path.name.endswith(".metrics.csv")}
    assert left == ({rpn_path(Path("car.pt")).name} if phase == "second" else set())


def test_bad_classes_are_refused(street: ObjectDataset, clouds: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="class_name: found 'Tram', expected one of Car, Pedestrian, Cyclist"):
        train_pointrcnn(BRIEF, street, clouds, "Tram", TrainingRun(tmp_path / "none.pt", 0))
    with pytest.raises(FormatError, match="Pedestrian objects in 8 frames: found none to train on"):
        train_pointrcnn(BRIEF, street, clouds, "Pedestrian", TrainingRun(tmp_path / "none.pt", 0))
    with pytest.raises(ValueError, match="class_names: found Car, Pedestrian, expected one"):
        train_detector(BRIEF, street, clouds, ["Car", "Pedestrian"], TrainingRun(tmp_path / "none.pt", 0))
    assert list(tmp_path.iterdir()) == []


def test_several_folders_of_clouds(street: ObjectDataset, clouds: Path, raised: Path, tmp_path: Path) -> None:
    def trained(folders: Path | list[Path]) -> tuple[bytes, dict[str, str]]:
        path = tmp_path / "car.pt"
        train_pointrcnn(JOINT, street, folders, "Car", TrainingRun(path, 0, overwrite=True))
        return path.read_bytes(), load_checkpoint(path)["record"]["inputs"]

    alone, inputs = trained(clouds)
    assert trained([clouds]) == (alone, inputs) and inputs.keys() == {"data", "clouds"}
    both, of_both = trained([clouds, raised])
    assert both != alone
    assert of_both == {**inputs, "clouds_2": trained(raised)[1]["clouds"]}
    with pytest.raises(ValueError, match="clouds: found no folder, expected one or several"):
        trained([])


@pytest.mark.parametrize("settings", [BRIEF, JOINT], ids=["two phases", "joint"])
def test_it_starts_from_weights(
    settings: PointRCNNTraining, whole: bytes, street: ObjectDataset, clouds: Path, tmp_path: Path
) -> None:
    init, path = tmp_path / "whole.pt", tmp_path / "car.pt"
    init.write_bytes(whole)
    still = dataclasses.replace(settings, learning_rate=0.0, mean_size="published")
    train_detector(still, street, clouds, ["Car"], TrainingRun(path, 1), init=init)
    before, after = load_checkpoint(init), load_checkpoint(path)
    for name, tensor in after["state_dict"].items():
        # Statistics of norms follow what they see, whatever is learned.
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(tensor, before["state_dict"][name]), name
    assert after["arguments"]["network"]["mean_size_m"] == before["arguments"]["network"]["mean_size_m"]
    assert "init" in after["record"]["inputs"]
    with pytest.raises(FormatError, match="record: found init="):
        train_detector(still, street, clouds, ["Car"], TrainingRun(path, 1))


def test_it_starts_from_weights_of_its_own_kind_alone(
    whole: bytes, street: ObjectDataset, clouds: Path, tmp_path: Path
) -> None:
    init, run = tmp_path / "whole.pt", TrainingRun(tmp_path / "car.pt", 0)
    init.write_bytes(whole)
    wider = dataclasses.replace(BRIEF, backbone=dataclasses.replace(BRIEF.backbone, head=2 * BRIEF.backbone.head))
    with pytest.raises(FormatError, match=r"whole.pt: rpn\..*expected \(.*\) for this PointRCNN \(differences in all"):
        train_detector(wider, street, clouds, ["Car"], run, init=init)
    content = load_checkpoint(init)
    content["arguments"]["class_name"] = "Cyclist"
    save_checkpoint(init, content)
    with pytest.raises(FormatError, match="class_name: found Cyclist, expected Car, as is to be trained"):
        train_detector(BRIEF, street, clouds, ["Car"], run, init=init)
    content["arguments"] = {"class_names": ["Car"], "network": {}}
    save_checkpoint(init, content)
    with pytest.raises(FormatError, match="detector: found Frustum PointNet, expected PointRCNN"):
        train_detector(BRIEF, street, clouds, ["Car"], run, init=init)
    content["arguments"] = {"detector": "pointrcnn", "class_name": "Car"}
    save_checkpoint(init, content)
    with pytest.raises(FormatError, match=r"whole.pt: arguments and weights: found 'network'"):
        train_detector(BRIEF, street, clouds, ["Car"], run, init=init)
