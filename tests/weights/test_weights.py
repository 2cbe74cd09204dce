"""The package's weights: there, whole, read wherever weights are read, as good as they are said to be."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import pseudolidar.weights.files as weights_files
from pseudolidar.command_line import run_command
from pseudolidar.commands.pack_weights import main as pack_weights
from pseudolidar.detectors import load_detector
from pseudolidar.detectors.boxes2d import Detector2d
from pseudolidar.files import FormatError, InputError, file_digest
from pseudolidar.kitti import ObjectDataset, read_disparity, read_objects
from pseudolidar.pipeline import DetectorKind, Models, detect_frames
from pseudolidar.stereo import PSMNet, TrainedPSMNet, load_psmnet, save_psmnet
from pseudolidar.synthetic import PRESETS, write_town
from pseudolidar.training import load_checkpoint
from pseudolidar.weights import Weights, weights_digest, weights_file

REPOSITORY = Path(__file__).parents[2]
# Real frames of the training split with ground truth, whose errors are recorded.
FRAMES = ("000872", "000962", "005400", "007173")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> ObjectDataset:
    root = tmp_path_factory.mktemp("weights") / "town"
    write_town(root, PRESETS["full"], {"val": 1}, seed=12, workers=1)
    return ObjectDataset(root, "val")


@pytest.mark.parametrize("weights", Weights)
def test_files_are_the_recorded_ones(weights: Weights) -> None:
    path, provenance = weights_file(weights.name.lower()), weights.value
    assert path.stat().st_size == provenance.size
    assert file_digest(path) == provenance.sha256 == weights_digest(weights.name.lower())
    assert provenance.scores and all(value >= 0 for value in provenance.scores.values())
    experiment = re.search(r"experiment=(town_weights/\w+)", provenance.command)
    assert experiment and (REPOSITORY / "configs/experiment" / f"{experiment[1]}.yaml").is_file()


def test_together_they_are_small() -> None:
    assert sum(weights.value.size for weights in Weights) <= 12e6


def test_other_names_are_errors_that_list_the_known_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"found psmnet_twon, expected a file, or one of .*psmnet_town.*boxes2d_town"):
        weights_file("psmnet_twon")
    assert weights_file("psmnet, (mine)") == Path("psmnet, (mine)")
    assert weights_file("psmnet_twon.pt") == Path("psmnet_twon.pt")
    assert weights_file("somewhere/psmnet_town") == Path("somewhere/psmnet_town")
    monkeypatch.chdir(tmp_path)
    Path("mine").touch()
    assert weights_file("mine") == Path("mine")


def test_lost_and_changed_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_files, "_FOLDER", tmp_path)
    path = tmp_path / "psmnet_town.pt"
    with pytest.raises(FormatError, match=re.escape(f"{path}: file: found nothing there, expected weights that come")):
        load_psmnet("psmnet_town")
    path.write_bytes(b"other bytes")
    with pytest.raises(FormatError, match=re.escape(f"{path}: SHA-256: found {file_digest(path)[:16]}")):
        load_psmnet("psmnet_town")


def test_commands_take_names(town: ObjectDataset, tmp_path: Path) -> None:
    frame, output = town[0], tmp_path / "map.npy"
    arguments = [f"left={frame.path('image_2')}", f"right={frame.path('image_3')}", f"output={output}"]
    run_command("predict_disparity", ["model=psmnet_town", *arguments])
    found, truth = np.load(output), frame.disparity()
    known = (truth > 0) & (truth < 192)
    assert np.abs(found - truth)[known].mean() < 2.0
    model = tmp_path / "further.pt"
    settings = ["init=psmnet_town", "training.loss=depth", "training.steps=1", "training.pool_sizes=[32,16,8,4]"]
    run_command("train_stereo", [*settings, f"data={town.root}", "split=val", f"output={model}", "plot=false"])
    assert load_checkpoint(model)["record"]["inputs"]["init"] == Weights.PSMNET_TOWN.value.sha256


def test_every_reader_takes_names(town: ObjectDataset) -> None:
    frame = town[0]
    left, right = frame.stereo_pair()
    truth = frame.disparity()
    known = (truth > 0) & (truth < 192)
    for weights in Weights:
        name = weights.name.lower()
        if name.startswith("psmnet"):
            assert np.abs(TrainedPSMNet(Path(name)).predict(left, right) - truth)[known].mean() < 2.0
        elif name.startswith("boxes2d"):
            assert "Car" in Detector2d.from_checkpoint(name).boxes(left).class_name
        else:
            assert load_detector(name).class_names == ("Car" if "car" in name else "Pedestrian",)


@pytest.mark.parametrize("kind", ["pointrcnn", "frustum"])
def test_models_of_the_package_find_the_towns_cars(kind: DetectorKind, town: ObjectDataset, tmp_path: Path) -> None:
    models = Models.from_package(kind)
    assert models.known_cameras is not None and models.disparity_name == "psmnet_town.pt"
    assert {name for each in models.detectors.values() for name in each.class_names} == {"Car", "Pedestrian"}
    detect_frames(models, list(town), tmp_path, None)
    found = read_objects(tmp_path / "results" / f"{town[0].frame_id}.txt", scored=True)
    labels = town[0].objects()
    near = labels.box3d[(labels.class_name == "Car") & (labels.occlusion == 0) & (labels.box3d[:, 2] < 30)]
    cars = found.box3d[found.class_name == "Car"]
    offsets = np.linalg.norm(near[:, None, [0, 2]] - cars[None, :, [0, 2]], axis=2).min(axis=1)
    assert np.median(offsets) < 1.0


def test_pairs_of_short_lenses_are_scaled_and_a_line_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_town(tmp_path / "town", PRESETS["mini"], {"val": 1}, seed=12, workers=1)
    run_command("detect", [f"data={tmp_path / 'town'}", "split=val", f"output={tmp_path / 'found'}", "pictures=false"])
    said = capsys.readouterr().out
    assert "models: the package's own, trained on a synthetic town: psmnet_town.pt" in said
    assert re.search(r"disparity: focal length 242 px, .* images of [\d.]+ times the size \(1 frames\)", said)


def test_packed_networks_predict_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = PSMNet(max_disparity=64, width=16, pool_sizes=(8, 4), hourglasses=1, blocks=(1, 1, 1, 1))
    save_psmnet(tmp_path / "whole.pt", network)
    pack_weights(checkpoint=tmp_path / "whole.pt", output=tmp_path / "packed.pt", overwrite=False)
    whole, packed = (load_psmnet(tmp_path / f"{name}.pt") for name in ("whole", "packed"))
    for (name, before), after in zip(whole.state_dict().items(), packed.state_dict().values(), strict=True):
        assert after.dtype == before.dtype
        expected = before.half().float() if before.dim() > 1 else before
        assert torch.equal(after, expected), name
    left, right = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    expected_map = TrainedPSMNet(tmp_path / "whole.pt", precision="float32").predict(left, right)
    # Half precision keeps 11 bits of a weight; inference in bfloat16, with 8, moves disparities by more.
    coarser = TrainedPSMNet(tmp_path / "whole.pt", precision="bfloat16").predict(left, right)
    found = TrainedPSMNet(tmp_path / "packed.pt", precision="float32").predict(left, right)
    assert 0 < np.abs(found - expected_map).mean() < np.abs(coarser - expected_map).mean()
    content = load_checkpoint(tmp_path / "packed.pt")
    assert content["arguments"] == load_checkpoint(tmp_path / "whole.pt")["arguments"] and content["losses"] == []
    assert (tmp_path / "packed.pt").stat().st_size < 0.62 * (tmp_path / "whole.pt").stat().st_size
    with pytest.raises(FormatError, match="file: found one that is there already"):
        pack_weights(checkpoint=tmp_path / "whole.pt", output=tmp_path / "packed.pt", overwrite=False)


def test_numbers_beyond_half_precision_stay(tmp_path: Path) -> None:
    network = PSMNet(max_disparity=32, width=8, pool_sizes=(8, 4), hourglasses=1, blocks=(1, 1, 1, 1))
    name, large = next((name, tensor) for name, tensor in network.state_dict().items() if tensor.dim() > 1)
    large.view(-1)[0] = 1e5
    save_psmnet(tmp_path / "whole.pt", network)
    pack_weights(checkpoint=tmp_path / "whole.pt", output=tmp_path / "packed.pt", overwrite=False)
    assert torch.equal(load_psmnet(tmp_path / "packed.pt").state_dict()[name], large)


def errors_on_streets(model: TrainedPSMNet, kitti_sample: Path) -> tuple[float, float]:
    """D1 in percent, and the median error in px, over the four frames."""
    streets, errors, truths = ObjectDataset(kitti_sample / "streets", None), [], []
    for frame_id in FRAMES:
        truth = read_disparity(kitti_sample / "streets/training/disp_occ_0" / f"{frame_id}.png")
        found = model.predict(*streets.frame(frame_id).stereo_pair())
        errors.append(np.abs(found - truth)[truth > 0])
        truths.append(truth[truth > 0])
    error, truth = np.concatenate(errors), np.concatenate(truths)
    return 100 * float(((error > 3) & (error > 0.05 * truth)).mean()), float(np.median(error))


def test_published_weights_on_real_streets(kitti_sample: Path, reference_dir: Path) -> None:
    model = TrainedPSMNet(reference_dir / "psmnet_kitti2015.tar", align_corners=True, precision="auto")
    d1, median = errors_on_streets(model, kitti_sample)
    # 2.07 and 0.257 in bfloat16: four of the harder frames, of which the network has seen the ground truth.
    assert d1 == pytest.approx(2.07, abs=0.3)
    assert median == pytest.approx(0.257, abs=0.02)


def test_town_weights_on_real_streets(kitti_sample: Path) -> None:
    d1, median = errors_on_streets(TrainedPSMNet(Path("psmnet_town")), kitti_sample)
    assert d1 == pytest.approx(Weights.PSMNET_TOWN.value.scores["KITTI, 4 of them: D1, %"], abs=0.3)
    assert median == pytest.approx(Weights.PSMNET_TOWN.value.scores["KITTI, 4 of them: median error, px"], abs=0.03)
