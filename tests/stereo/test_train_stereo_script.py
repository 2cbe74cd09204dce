"""scripts/train_stereo.py: every kind of data, published weights to start from, and mistakes in one line."""

import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
import torch

from pseudolidar.ensembles.psmnet_ensemble import is_ensemble
from pseudolidar.kitti import ObjectDataset, read_image, read_pfm, write_image
from pseudolidar.stereo import PSMNet, StereoTraining, load_psmnet, save_psmnet
from tests.stereo.test_kitti_stereo import write_benchmark
from tests.stereo.test_scene_flow import write_pfm, write_scenes

ROOT = Path(__file__).resolve().parents[2]
# Not narrower: held to AVX2, oneDNN (PyTorch 2.14) crashes in the backward pass of 4 channels.
TINY: dict[str, Any] = {"width": 8, "pool_sizes": [4, 2], "hourglasses": 1, "blocks": [1, 1, 1, 1]}
SETTINGS = (
    *(f"training.{name}={str(value).replace(' ', '')}" for name, value in TINY.items()), "training.max_disparity=16",
    "training.crop=[16,32]", "training.steps=2", "training.batch_size=2", "training.precision=float32",
)  # fmt: skip
Train = Callable[..., str]


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Train:
    """The command in an empty folder: what it prints, or its one line on standard error after a mistake."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*arguments: str, mistake: bool = False) -> str:
        monkeypatch.setattr(sys, "argv", ["train_stereo.py", *SETTINGS, *arguments])
        code = 0
        try:
            runpy.run_path(str(ROOT / "scripts" / "train_stereo.py"), run_name="__main__")
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capfd.readouterr()
        assert code == (2 if mistake else 0), printed.err
        if mistake:
            lines = [line for line in printed.err.splitlines() if line.startswith("error: ")]
            assert len(lines) == 1 and "Traceback" not in printed.err
            assert not [path for path in Path.cwd().iterdir() if path.name == "u.pt"]
            return lines[0]
        return printed.out

    return run


def published(path: Path, **arguments: Any) -> PSMNet:
    """A tiny network's weights as published files hold them; four pooling branches, since none records fewer."""
    torch.manual_seed(0)
    model = PSMNet(**{**TINY, "max_disparity": 16, **arguments})
    state = {f"module.{name}": value for name, value in model.state_dict().items() if "num_batches" not in name}
    torch.save({"epoch": 10, "state_dict": state, "train_loss": np.float64(1)}, path)
    return model


def test_kittis_object_layout(scene: ObjectDataset, train: Train) -> None:
    assert "model: u.pt" in train(f"data={scene.root}", "output=u.pt", "training.loss=depth")
    assert load_psmnet("u.pt").max_disparity == 16
    written = sorted(path.name for path in Path.cwd().iterdir())
    assert written == ["u.pt", "u.pt.curves.png", "u.pt.metrics.csv"]


def test_the_picture_of_the_curves_changes_nothing_else(scene: ObjectDataset, train: Train) -> None:
    data = f"data={scene.root}"
    train(data, "output=u.pt")
    picture, checkpoint = Path("u.pt.curves.png"), Path("u.pt").read_bytes()
    assert read_image(picture).shape[1] > 1800
    picture.unlink()
    train(data, "output=u.pt")
    assert not picture.exists(), "there was nothing left to train"
    train(data, "output=plain/u.pt", "plot=false")
    assert Path("plain/u.pt").read_bytes() == checkpoint
    assert sorted(path.name for path in Path("plain").iterdir()) == ["u.pt", "u.pt.metrics.csv"]
    picture.mkdir()
    Path("u.pt").unlink()
    assert "model: u.pt" in train(data, "output=u.pt"), "a picture that can't be written is no mistake"
    assert Path("u.pt").read_bytes() == checkpoint


def test_validation_on_the_way(scene: ObjectDataset, train: Train) -> None:
    for split, frames in (("train", "000000\n000001\n"), ("val", "000002\n000003\n"), ("mixed", "000003\n000001\n")):
        (scene.root / "ImageSets" / f"{split}.txt").write_text(frames)
    data = (f"data={scene.root}", "output=u.pt")
    shared = train(*data, "validation.every=1", "validation.split=mixed", mistake=True)
    assert "validation: found 1 frames that are trained on (000001), expected others" in shared
    assert "ImageSets/vla.txt" in train(*data, "validation.every=1", "validation.split=vla", mistake=True)
    alone = train(*data, "validation.patience=1", mistake=True)
    assert "validation.patience: found 1 without validation.every" in alone
    train(*data, "validation.every=1")
    written = {path.name for path in Path.cwd().iterdir()}
    assert written == {"u.pt", "u.best.pt", "u.pt.curves.png", "u.pt.metrics.csv", "u.pt.validation.csv"}
    assert load_psmnet("u.best.pt").max_disparity == 16


def test_an_ensemble(scene: ObjectDataset, train: Train) -> None:
    ensemble = (f"data={scene.root}", "stereo@training=ensemble", "output=u.pt")
    assert "model: u.pt" in train(*ensemble, "training.members=2", "training.beta=0.5")
    assert is_ensemble("u.pt")
    Path("u.pt").rename("e.pt")
    assert "beta: found 2, expected a number from 0 to 1" in train(*ensemble, "training.beta=2", mistake=True)
    message = train(f"data={scene.root}", "init=e.pt", "output=u.pt", mistake=True)
    assert "e.pt: arguments: found those of an ensemble of 2, expected the arguments of one PSMNet" in message


def test_the_benchmark_of_2015(tmp_path: Path, train: Train) -> None:
    write_benchmark(tmp_path, 2015, 2)
    train(f"data={tmp_path}", "pairs=kitti_2015", "output=u.pt", "training.loss=depth", "training.erasing=0.5")
    assert load_psmnet("u.pt").max_disparity == 16


def test_depth_needs_a_calibration(tmp_path: Path, train: Train) -> None:
    write_benchmark(tmp_path, 2012, 2, calibrated=False)
    data = (f"data={tmp_path}", "pairs=kitti_2012", "output=u.pt")
    assert "calibration: found none" in train(*data, "training.loss=depth", mistake=True)
    train(*data)


def test_scene_flow_and_on_from_there(tmp_path: Path, scene: ObjectDataset, train: Train) -> None:
    write_scenes(tmp_path)
    train(f"data={tmp_path}", "experiment=scene_flow", "output=scene_flow.pt")
    # kitti_depth_mae starts from scene_flow.pt; another max_disparity is no other network.
    still = ("training.learning_rate=0", "training.max_disparity=32", "training.steps=1")
    train(f"data={scene.root}", "experiment=kitti_depth_mae", "output=u.pt", *still)
    before, after = load_psmnet("scene_flow.pt"), load_psmnet("u.pt")
    assert (before.max_disparity, after.max_disparity) == (16, 32)
    for name, parameter in before.named_parameters():
        assert torch.equal(parameter, after.get_parameter(name)), name


@pytest.mark.parametrize(("name", "loss"), [("kitti_depth_mae", "depth"), ("kitti_disparity_mae", "disparity")])
def test_the_papers_schedule(name: str, loss: str) -> None:
    with hydra.initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = hydra.compose("train_stereo", [f"experiment={name}"])
    settings: StereoTraining = hydra.utils.instantiate(config.training, _convert_="all")
    epoch = 310
    assert (settings.steps, list(settings.milestones), settings.batch_size) == (300 * epoch, [50 * epoch], 12)
    assert -(-3712 // settings.batch_size) == epoch
    assert (settings.optimizer, settings.learning_rate, settings.schedule, settings.smooth) == (
        "adam", 1e-3, "step", True,
    )  # fmt: skip
    assert (settings.loss, settings.crop, settings.jitter, settings.erasing) == (loss, [256, 512], 0, 0)
    assert sum(parameter.numel() for parameter in PSMNet(**settings.network()).parameters()) == 5_224_768


@pytest.mark.parametrize(
    ("arguments", "initialisation"),
    [
        (["experiment=scene_flow"], "published"),
        (["experiment=kitti_depth_mae"], "published"),
        (["experiment=kitti_disparity_mae"], "published"),
        (["stereo@training=kitti_paper/u"], "published"),
        (["stereo@training=kitti_paper/u_prime"], "published"),
        ([], "comparing"),
        (["stereo@training=demo/weights"], "comparing"),
        (["stereo@training=kitti/weights"], "comparing"),
    ],
)
def test_the_papers_networks_start_as_published(arguments: list[str], initialisation: str) -> None:
    with hydra.initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        assert hydra.compose("train_stereo", arguments).training.initialisation == initialisation


def test_published_weights_demand_a_choice_and_are_recorded(scene: ObjectDataset, train: Train) -> None:
    model = published(Path("published.tar"))
    data = (f"data={scene.root}", "init=published.tar", "output=u.pt", "training.learning_rate=0", "training.steps=1")
    assert "align_corners: found no record of it" in train(*data, mistake=True)
    train(*data, "training.align_corners=true", "training.checkpointing=true")
    trained = load_psmnet("u.pt")
    assert trained.align_corners
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, trained.get_parameter(name)), name
    Path("u.pt").rename("first.pt")
    again = (f"data={scene.root}", "init=first.pt", "output=u.pt", "training.align_corners=false")
    assert "align_corners: found a record of True" in train(*again, mistake=True)


def hostile(path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, ("was_run",)

    torch.save({"state_dict": {}, "loss": Runs()}, path)


def truncated(path: Path) -> None:
    published(path)
    path.write_bytes(path.read_bytes()[:-1000])


def wider(path: Path) -> None:
    published(path, width=16)


def other(path: Path) -> None:
    torch.save(torch.nn.Conv2d(3, 8, 3).state_dict(), path)


def deeper(path: Path) -> None:
    save_psmnet(path, PSMNet(**{**TINY, "hourglasses": 2}))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (hostile, r"init.pt: pickle: found"),
        (truncated, r"init.pt: file: found nothing readable"),
        (wider, r"firstconv.0.0.weight: found (16, 3, 3, 3), expected (8, 3, 3, 3)"),
        (other, r"firstconv.0.0.weight: found nothing, expected (8, 3, 3, 3)"),
        (deeper, r"dres3.conv1.0.0.weight: found (16, 8, 3, 3, 3), expected no such layer"),
    ],
)
def test_weights_that_are_refused(
    scene: ObjectDataset, train: Train, make: Callable[[Path], None], message: str
) -> None:
    make(Path("init.pt"))
    settings = (f"data={scene.root}", "init=init.pt", "output=u.pt")
    choice = () if make is deeper else ("training.align_corners=true",)
    assert message in train(*settings, *choice, mistake=True)
    assert not Path("was_run").exists()


def test_missing_weights_and_data(scene: ObjectDataset, train: Train) -> None:
    message = train(f"data={scene.root}", "experiment=kitti_depth_mae", "output=u.pt", mistake=True)
    assert "found no file scene_flow.pt" in message and "init=null" in message
    assert "data: found nothing, expected a value" in train("output=u.pt", mistake=True)
    assert "FlyingThings3D" in train(f"data={scene.root}", "experiment=scene_flow", "output=u.pt", mistake=True)


def test_a_disparity_that_is_not_a_number(tmp_path: Path, train: Train) -> None:
    write_scenes(tmp_path)
    for path in tmp_path.rglob("left/*.pfm"):
        values = read_pfm(path)
        values[5, 7] = np.nan
        write_pfm(path, values)
    message = train(f"data={tmp_path}", "pairs=scene_flow", "output=u.pt", mistake=True)
    assert "disparity, row 5, column 7 (1 such pixels): found nan" in message


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optimizer=sgd", "optimizer: found 'sgd', expected adam or adamw"),
        ("schedule=cosine", "schedule: found 'cosine', expected one_cycle or step"),
        ("device=toaster", "device: found 'toaster'"),
        ("erasing=2", "erasing: found 2, expected a number from 0 to 1"),
        ("noise=-1", "noise: found -1, expected a number from 0 to 255"),
        ("scale=[2,1]", "scale: found [2, 1], expected two numbers above 0, the smaller one first"),
        ("scale=[0.5]", "scale: found"),
        ("crop=[20,32]", "images: found 20 x 32 px, expected multiples of 16"),
    ],
)
def test_settings_that_no_run_has(scene: ObjectDataset, train: Train, setting: str, message: str) -> None:
    assert message in train(f"data={scene.root}", "output=u.pt", f"training.{setting}", mistake=True)


def test_pairs_of_two_sizes(scene: ObjectDataset, train: Train) -> None:
    for frame in scene:
        path = frame.path("image_3")
        write_image(path, read_image(path)[:, :-1])
    assert "found 71 x 40 px, expected 72 x 40 px" in train(f"data={scene.root}", "output=u.pt", mistake=True)
