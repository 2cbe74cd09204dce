"""The 2D detector from training to result files: it learns, resumes, is scored, and refuses what is wrong."""

import dataclasses
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pseudolidar.detectors.boxes2d import (
    Detector2d,
    Detector2dTraining,
    detect_boxes2d,
    read_detections_file,
    read_result_boxes,
    train_detector2d,
    training_data,
)
from pseudolidar.evaluation import evaluate_folders
from pseudolidar.files import DivergenceError, FormatError
from pseudolidar.kitti import ObjectDataset, read_objects
from pseudolidar.training import TrainingRun, load_checkpoint
from tests.conftest import settings_of
from tests.detectors.painted_frames import HEIGHT, write_painted

ROOT = Path(__file__).resolve().parents[2]
SETTINGS: Detector2dTraining = settings_of(
    "detector2d/fcos_town",
    steps=65,
    image_height=HEIGHT,
    crop=(64, 128),
    classes=("Car", "Pedestrian"),
    batch_size=2,
    learning_rate=3e-3,
    scale=0.0,
    flip=False,
    colour=0.0,
    precision="float32",
)
BRIEF = dataclasses.replace(
    SETTINGS, steps=4, batch_size=1, crop=(32, 64), scale=0.2, flip=True, colour=0.2, checkpoint_every=2
)


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> ObjectDataset:
    """Six frames with a car and a pedestrian each, the last one empty."""
    return write_painted(tmp_path_factory.mktemp("painted"), frames=6, seed=0)


@pytest.fixture(scope="module")
def trained(painted: ObjectDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkpoint = tmp_path_factory.mktemp("trained") / "boxes2d.pt"
    train_detector2d(SETTINGS, painted, TrainingRun(checkpoint, 0))
    return checkpoint


def test_it_learns_and_is_scored_in_2d(painted: ObjectDataset, trained: Path, tmp_path: Path) -> None:
    detect_boxes2d(trained, painted, tmp_path)
    evaluation = evaluate_folders(
        painted.folder / "label_2", tmp_path, classes=("Car", "Pedestrian"), min_overlap={"Car": {"bbox": 0.5}}
    )
    for class_name in ("Car", "Pedestrian"):
        assert evaluation.ap(class_name, "bbox", "moderate") > 80
        assert np.isnan(evaluation.ap(class_name, "3d", "moderate"))
    found = read_objects(tmp_path / "000000.txt", scored=True)
    assert (found.alpha == -10).all() and (found.box3d[:, 3:6] == -1).all() and (found.box3d[:, :3] == -1000).all()
    # Frustum networks start from the same files.
    boxes = read_result_boxes(tmp_path, painted.frame_ids)
    scores = np.concatenate([each.score for each in boxes.values() if each.score is not None])
    assert ((scores >= 0.05) & (scores <= 1)).all()
    np.testing.assert_array_equal(boxes["000000"].score, found.score)


def test_boxes_of_one_image_of_any_size(painted: ObjectDataset, trained: Path) -> None:
    detector = Detector2d.from_checkpoint(trained)
    image = painted[0].left_image()
    boxes = detector.boxes(image)
    assert boxes.score is not None and (np.diff(boxes.score) <= 0).all()
    larger = detector.boxes(np.repeat(np.repeat(image, 3, axis=0), 3, axis=1))
    # Every pixel three times: the box's centre goes from x to 3 x + 1.
    np.testing.assert_allclose(larger.box2d[0], boxes.box2d[0] * 3 + 1, atol=0.5)
    odd = detector.boxes(image[:51, :97])
    assert (odd.box2d >= 0).all() and (odd.box2d <= [96, 50, 96, 50]).all()
    for wrong in (image.astype(np.float32), image[..., 0], image[:0]):
        with pytest.raises(ValueError, match=r"image: found .* expected uint8 \(H, W, 3\) RGB"):
            detector.boxes(wrong)  # type: ignore[arg-type]


def test_result_files_are_not_written_again(painted: ObjectDataset, trained: Path, tmp_path: Path) -> None:
    detect_boxes2d(trained, painted, tmp_path, min_score=0.3)
    once = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(once) == [f"{frame_id}.txt" for frame_id in painted.frame_ids]
    assert min(read_objects(path, scored=True).score.min(initial=1) for path in tmp_path.iterdir()) >= 0.3  # type: ignore[union-attr]
    (tmp_path / "000003.txt").unlink()
    untouched = (tmp_path / "000001.txt").stat().st_mtime_ns
    detect_boxes2d(trained, painted, tmp_path, min_score=0.3)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == once
    assert (tmp_path / "000001.txt").stat().st_mtime_ns == untouched
    with pytest.raises(ValueError, match=r"min_score: found 1\.5"):
        detect_boxes2d(trained, painted, tmp_path, min_score=1.5)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_an_interrupted_training_ends_with_the_same_bytes(
    suffix: str, painted: ObjectDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, other, broken = (tmp_path / f"{name}{suffix}" for name in ("whole", "other", "broken"))
    train_detector2d(BRIEF, painted, TrainingRun(whole, 0))
    train_detector2d(BRIEF, painted, TrainingRun(other, 1))
    batch_at = training_data.Boxes2dBatches.__call__

    def killed_at_three(self: training_data.Boxes2dBatches, step: int, shard: object) -> training_data.Boxes2dBatch:
        if step == 3:
            raise KeyboardInterrupt
        return batch_at(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(training_data.Boxes2dBatches, "__call__", killed_at_three)
        with pytest.raises(KeyboardInterrupt):
            train_detector2d(BRIEF, painted, TrainingRun(broken, 0))
    assert not broken.exists()
    train_detector2d(BRIEF, painted, TrainingRun(broken, 0))
    assert broken.read_bytes() == whole.read_bytes()
    assert other.read_bytes() != whole.read_bytes()
    assert Detector2d.from_checkpoint(broken).class_names == BRIEF.classes


def test_a_loss_that_is_not_finite_names_the_frames(painted: ObjectDataset, trained: Path, tmp_path: Path) -> None:
    state = load_checkpoint(trained)["state_dict"]
    state["backbone.body.conv1.weight"][:] = torch.nan
    torch.save(state, tmp_path / "broken.pth")
    settings = dataclasses.replace(BRIEF, weights=str(tmp_path / "broken.pth"))
    with pytest.raises(DivergenceError, match=r"step 0: the loss is nan; frames 00000\d"):
        train_detector2d(settings, painted, TrainingRun(tmp_path / "boxes2d.pt", 0))
    assert not (tmp_path / "boxes2d.pt").exists()


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="frozen_batch_norm: found true without weights"):
        dataclasses.replace(SETTINGS, frozen_batch_norm=True)
    for classes in ((), ("Car", "Car")):
        with pytest.raises(ValueError, match="classes: found"):
            dataclasses.replace(SETTINGS, classes=classes)


def test_a_checkpoint_of_something_else_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="nothing there"):
        Detector2d.from_checkpoint(tmp_path / "none.pt")
    content = load_checkpoint(trained)
    torch.save({**content, "arguments": {"class_name": "Car"}}, tmp_path / "frustum.pt")
    with pytest.raises(
        FormatError, match=r"frustum\.pt: arguments and weights: .* expected a 2D detector's checkpoint"
    ):
        Detector2d.from_checkpoint(tmp_path / "frustum.pt")
    del content["state_dict"]["backbone.body.conv1.weight"]
    torch.save(content, tmp_path / "holes.pt")
    with pytest.raises(FormatError, match="2D detector's checkpoint"):
        Detector2d.from_checkpoint(tmp_path / "holes.pt")


@pytest.mark.parametrize(
    ("name", "network"), [("fcos_town", "fcos_resnet18"), ("faster_rcnn_kitti", "faster_rcnn_resnet50")]
)
def test_the_configurations_are_settings(name: str, network: str) -> None:
    settings = settings_of(f"detector2d/{name}", weights="w")
    assert isinstance(settings, Detector2dTraining)
    assert (settings.network, settings.weights) == (network, "w")


def test_the_commands(
    painted: ObjectDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (painted.root / "ImageSets").mkdir(exist_ok=True)
    (painted.root / "ImageSets" / "few.txt").write_text("000000\n000005\n")
    monkeypatch.chdir(tmp_path)

    def run(script: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [script, f"data={painted.root}", "split=few", *arguments])
        runpy.run_path(str(ROOT / "scripts" / script), run_name="__main__")
        return capsys.readouterr().out

    size = ("training.steps=1", "training.batch_size=1", "training.crop=[32,64]", f"training.image_height={HEIGHT}")
    assert run("train_detector2d.py", "output=boxes2d.pt", *size) == "model: boxes2d.pt\n"
    printed = run("detect_boxes2d.py", "model=boxes2d.pt", "output=boxes", "detections=boxes.txt", "min_score=0")
    assert printed == "2D boxes: boxes\n2D boxes in one file: boxes.txt\n"
    assert sorted(path.name for path in Path("boxes").glob("*.txt")) == ["000000.txt", "000005.txt"]
    results, published = read_result_boxes("boxes", ["000000", "000005"]), read_detections_file("boxes.txt")
    for frame_id, boxes in published.items():
        np.testing.assert_allclose(boxes.box2d, results[frame_id].box2d, atol=1e-3)
