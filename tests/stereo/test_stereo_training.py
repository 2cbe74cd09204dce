"""Training and inference of a narrow network on a tiny scene: it learns, it resumes, bad input is named."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

import pseudolidar.stereo.train
from pseudolidar.files import FormatError
from pseudolidar.kitti import ObjectDataset, read_image, write_image
from pseudolidar.stereo import (
    PSMNet,
    StereoBatch,
    StereoTraining,
    TrainedPSMNet,
    disparity_loss,
    disparity_metrics,
    load_psmnet,
    mean_disparity_of,
    predict_disparities,
    save_psmnet,
    train_stereo,
)  # fmt: skip
from pseudolidar.stereo.data import normalised
from pseudolidar.stereo.psmnet import start_comparing
from pseudolidar.stereo.train import Loss, loss_terms
from pseudolidar.training import TrainingRun, load_checkpoint, save_checkpoint
from tests.conftest import settings_of

TINY: StereoTraining = settings_of(
    "stereo/slim", loss="disparity", smooth=True, steps=6, batch_size=2, crop=(32, 64), max_disparity=16, width=8,
    pool_sizes=(4, 2), hourglasses=1, blocks=(1, 1, 1, 1), learning_rate=5e-3, max_gradient_norm=None,
    precision="float32", checkpoint_every=3,
)  # fmt: skip


@pytest.mark.parametrize("loss", ["disparity", "depth"])
def test_it_learns_a_tiny_scene(scene: ObjectDataset, tmp_path: Path, loss: Loss) -> None:
    train_stereo(dataclasses.replace(TINY, loss=loss, steps=300), scene, TrainingRun(tmp_path / "u.pt", 0))
    losses = load_checkpoint(tmp_path / "u.pt")["losses"]
    assert np.mean(losses[-10:]) < 0.4 * np.mean(losses[:10])
    predict_disparities(TrainedPSMNet(tmp_path / "u.pt"), scene, tmp_path / "predicted", "u")
    metrics = disparity_metrics(tmp_path / "predicted", scene, mean_disparity_of(scene))
    assert metrics.disparity_mae()[0, 0] < 0.75 * metrics.mean_predictor_mae()[0, 0]


def test_a_killed_run_ends_with_the_same_bytes(
    scene: ObjectDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_stereo(TINY, scene, TrainingRun(tmp_path / "whole.pt", 3))
    real = pseudolidar.stereo.train.loss_terms
    calls = 0

    def killed(model: PSMNet, batch: StereoBatch, loss: str, smooth: bool) -> dict[str, torch.Tensor]:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return real(model, batch, "disparity", smooth)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pseudolidar.stereo.train, "loss_terms", killed)
        train_stereo(TINY, scene, TrainingRun(tmp_path / "broken.pt", 3))
    assert (tmp_path / "broken.pt.partial").exists()
    train_stereo(TINY, scene, TrainingRun(tmp_path / "broken.pt", 3))
    assert (tmp_path / "broken.pt").read_bytes() == (tmp_path / "whole.pt").read_bytes()
    train_stereo(TINY, scene, TrainingRun(tmp_path / "other.pt", 4))
    assert (tmp_path / "other.pt").read_bytes() != (tmp_path / "whole.pt").read_bytes()


def test_training_starts_from_given_weights(scene: ObjectDataset, tmp_path: Path) -> None:
    train_stereo(TINY, scene, TrainingRun(tmp_path / "first.pt", 0))
    still = dataclasses.replace(TINY, steps=1, learning_rate=0.0)
    train_stereo(still, scene, TrainingRun(tmp_path / "second.pt", 1), tmp_path / "first.pt")
    first, second = (load_checkpoint(tmp_path / name)["state_dict"] for name in ("first.pt", "second.pt"))
    for name, parameter in load_psmnet(tmp_path / "first.pt").named_parameters():
        assert torch.equal(first[name], second[name])
        assert torch.equal(first[name], parameter)
    wider = dataclasses.replace(TINY, width=12)
    with pytest.raises(FormatError, match=r"first\.pt: feature_extraction\.firstconv\.0\.0\.weight: found \(8,"):
        train_stereo(wider, scene, TrainingRun(tmp_path / "third.pt", 0), tmp_path / "first.pt")


def test_the_published_initialisation_and_ours(scene: ObjectDataset, tmp_path: Path) -> None:
    still = dataclasses.replace(TINY, steps=1, learning_rate=0.0)
    for name in ("published", "comparing"):
        train_stereo(dataclasses.replace(still, initialisation=name), scene, TrainingRun(tmp_path / f"{name}.pt", 5))
    published, comparing = (load_psmnet(tmp_path / f"{name}.pt") for name in ("published", "comparing"))
    torch.manual_seed(5)
    expected = PSMNet(16, width=8, pool_sizes=(4, 2), hourglasses=1, blocks=(1, 1, 1, 1))
    for name, parameter in expected.named_parameters():
        assert torch.equal(published.get_parameter(name), parameter), name
    start_comparing(expected)
    for name, parameter in expected.named_parameters():
        assert torch.equal(comparing.get_parameter(name), parameter), name
    with pytest.raises(ValueError, match="initialisation: found 'mine', expected 'published' or 'comparing'"):
        dataclasses.replace(TINY, initialisation="mine")  # type: ignore[arg-type]


def test_the_outputs_are_weighted_as_published() -> None:
    torch.manual_seed(0)
    model = PSMNet(16, width=4, pool_sizes=(2,), blocks=(1, 1, 1, 1))
    left, right = torch.randint(0, 256, (2, 2, 32, 32, 3), dtype=torch.uint8)
    unchanged = torch.tensor([0.0, 1.0, 0.0]).expand(2, 2, 3)
    target, constant = torch.rand(2, 32, 32) * 12, torch.full((2,), 90.0)
    off = (None, None)
    batch = StereoBatch(("a", "b"), left, right, unchanged, None, off, off, off, target, constant)
    outputs = model(*batch.images())
    expected = [disparity_loss(output, target, "disparity", constant).item() for output in outputs]
    terms = loss_terms(model, batch, "disparity")
    total = torch.stack(list(terms.values())).sum()
    assert total.item() == pytest.approx(0.5 * expected[0] + 0.7 * expected[1] + expected[2], rel=1e-4)


def test_inference_keeps_existing_files_and_pads(scene: ObjectDataset, tmp_path: Path) -> None:
    train_stereo(TINY, scene, TrainingRun(tmp_path / "u.pt", 0))
    predict_disparities(TrainedPSMNet(tmp_path / "u.pt"), scene, tmp_path / "predicted", "u")
    contents = {path.name: path.read_bytes() for path in (tmp_path / "predicted").iterdir()}
    assert sorted(contents) == [f"{frame_id}.npy" for frame_id in scene.frame_ids]
    assert np.load(tmp_path / "predicted" / "000000.npy").shape == (40, 72)
    (tmp_path / "predicted" / "000002.npy").unlink()
    kept = (tmp_path / "predicted" / "000001.npy").stat().st_mtime_ns
    predict_disparities(TrainedPSMNet(tmp_path / "u.pt"), scene, tmp_path / "predicted", "u")
    assert {path.name: path.read_bytes() for path in (tmp_path / "predicted").iterdir()} == contents
    assert (tmp_path / "predicted" / "000001.npy").stat().st_mtime_ns == kept


def test_padding_goes_to_the_top_and_the_right(scene: ObjectDataset, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = PSMNet(16, width=8, pool_sizes=(4, 2), hourglasses=1, blocks=(1, 1, 1, 1)).eval()
    save_psmnet(tmp_path / "u.pt", model)
    left, right = scene[0].stereo_pair()
    # Padding is black after normalisation: ImageNet's mean colour, 0 for the network.
    padded = [torch.zeros(1, 3, 48, 80) for _ in range(2)]
    for image, place in zip((left, right), padded, strict=True):
        place[0, :, 8:, :72] = torch.from_numpy(normalised(image))
    with torch.inference_mode():
        expected = model(*padded)[0, 8:, :72].numpy()
    np.testing.assert_allclose(TrainedPSMNet(tmp_path / "u.pt").predict(left, right), expected, atol=1e-3)


def test_bad_pairs_and_checkpoints_are_named(scene: ObjectDataset, tmp_path: Path) -> None:
    train_stereo(TINY, scene, TrainingRun(tmp_path / "u.pt", 0))
    path = scene[2].path("image_3")
    image = read_image(path)
    write_image(path, image[:, :-1])
    with pytest.raises(FormatError, match=r"000002\.png.*71 x 40"):
        predict_disparities(TrainedPSMNet(tmp_path / "u.pt"), scene, tmp_path / "predicted", "u")
    assert sorted(path.name for path in (tmp_path / "predicted").iterdir()) == ["000000.npy", "000001.npy"]
    with pytest.raises(ValueError, match="right image"):
        TrainedPSMNet(tmp_path / "u.pt").predict(image, image[1:])
    save_checkpoint(tmp_path / "alien.pt", {"state_dict": {}, "arguments": {"depth": 3}, "losses": []})
    with pytest.raises(FormatError, match=r"alien\.pt"):
        load_psmnet(tmp_path / "alien.pt")
    content = load_checkpoint(tmp_path / "u.pt")
    save_checkpoint(tmp_path / "half.pt", {**content, "state_dict": dict(list(content["state_dict"].items())[:50])})
    with pytest.raises(FormatError, match=r"half\.pt"):
        load_psmnet(tmp_path / "half.pt")


@pytest.mark.parametrize(("width", "max_disparity"), [(8, 48), (20, 48), (16, 32)])
def test_networks_that_bfloat16_does_not_work_with_are_refused(
    scene: ObjectDataset, tmp_path: Path, width: int, max_disparity: int
) -> None:
    settings = dataclasses.replace(TINY, width=width, max_disparity=max_disparity, precision="bfloat16")
    with pytest.raises(ValueError, match=f"found {width if width != 16 else max_disparity} with bfloat16"):
        train_stereo(settings, scene, TrainingRun(tmp_path / "u.pt", 0))


def test_bfloat16_stays_close_to_float32(scene: ObjectDataset, tmp_path: Path) -> None:
    settings = dataclasses.replace(TINY, steps=20, width=16, max_disparity=48, precision="bfloat16")
    train_stereo(settings, scene, TrainingRun(tmp_path / "u.pt", 0))
    losses = load_checkpoint(tmp_path / "u.pt")["losses"]
    assert np.mean(losses[-5:]) < 0.5 * losses[0]
    pair = scene[0].stereo_pair()
    exact, reduced = (TrainedPSMNet(tmp_path / "u.pt", precision=name).predict(*pair) for name in ("float32", None))
    assert 0 < np.median(np.abs(exact - reduced)) < 0.1
    predict_disparities(TrainedPSMNet(tmp_path / "u.pt"), scene, tmp_path / "as_trained", "u")
    found = np.load(tmp_path / "as_trained" / f"{scene.frame_ids[0]}.npy")
    assert np.array_equal(found, reduced)
