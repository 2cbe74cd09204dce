"""Training and detection together: what is learnt, result files, rules for bad input, resuming, determinism."""

import dataclasses
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from pseudolidar.detectors import detect, load_detector, log_tallies, train_detector
from pseudolidar.detectors.boxes2d import Boxes2d, ground_truth_boxes
from pseudolidar.detectors.frustum_pointnet import FrustumTraining, train_frustum_pointnet
from pseudolidar.detectors.frustum_pointnet.box_coder import MEAN_SIZES_M
from pseudolidar.detectors.frustum_pointnet.inference import FrustumDetector, decode
from pseudolidar.detectors.frustum_pointnet.model import FrustumOutput
from pseudolidar.evaluation import bev_iou
from pseudolidar.files import FormatError, InputError
from pseudolidar.kitti import ObjectDataset, read_objects, read_points, write_objects
from pseudolidar.kitti import Objects as Labels
from pseudolidar.training import TrainingRun, load_checkpoint, save_checkpoint
from tests.conftest import settings_of
from tests.detectors.street_of_boxes import make_calibration, write_street

SETTINGS: FrustumTraining = settings_of(
    "detector/frustum_pointnet_v1",
    steps=500,
    batch_size=16,
    learning_rate=0.004,
    width=0.25,
    points=192,
    object_points=96,
    dropout=0.0,
    centre_depth=True,
    jitter=0.0,
    flip=False,
    depth_shift=0.0,
    min_box_height_px=8,
)
BRIEF = dataclasses.replace(
    SETTINGS, steps=4, batch_size=4, points=64, object_points=32, dropout=0.3, checkpoint_every=2
)
BRIEF_V2 = dataclasses.replace(BRIEF, version=2, density=0.125, width=0.125, precision="bfloat16")


@pytest.fixture(scope="module")
def trained(street: ObjectDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkpoint = tmp_path_factory.mktemp("trained") / "car.pt"
    train_frustum_pointnet(SETTINGS, street, street.root / "clouds", ["Car"], TrainingRun(checkpoint, 0))
    return checkpoint


def test_it_overfits_a_handful_of_objects(street: ObjectDataset, clouds: Path, trained: Path, tmp_path: Path) -> None:
    detect(load_detector(trained), street, clouds, tmp_path, ground_truth_boxes(street, ["Car"]))
    overlaps: list[float] = []
    heading_errors: list[float] = []
    height_errors: list[float] = []
    for frame in street:
        labels, found = frame.objects(), read_objects(tmp_path / f"{frame.frame_id}.txt", scored=True)
        assert len(found) == len(labels)
        overlaps.extend(np.diag(bev_iou(labels.box3d, found.box3d)))
        # alpha and ry of a result belong together, as in the label.
        ray = np.arctan2(found.box3d[:, 0], found.box3d[:, 2])
        heading_errors.extend(np.abs(np.sin((found.alpha + ray - found.box3d[:, 6]) / 2)))
        np.testing.assert_allclose(found.box2d, labels.box2d, atol=1e-2)
        height_errors.extend(np.abs(found.box3d[:, 1] - labels.box3d[:, 1]))
        assert found.score is not None and (found.score < 0).all()
    # Seeds 0 to 4 under three instruction sets: at least 23 of 24.
    assert len(overlaps) == 24
    assert np.mean(np.array(overlaps) > 0.7) > 0.8, overlaps
    # y at the bottom face: half the height from the centre is 0.76 m.
    assert np.median(height_errors) < 0.2
    assert max(heading_errors) < 1e-3


def test_result_files_are_not_written_again(street: ObjectDataset, clouds: Path, trained: Path, tmp_path: Path) -> None:
    boxes = ground_truth_boxes(street, ["Car"])
    detect(load_detector(trained), street, clouds, tmp_path / "once", boxes)
    once = {path.name: path.read_bytes() for path in (tmp_path / "once").iterdir()}
    assert sorted(once) == [f"{frame_id}.txt" for frame_id in street.frame_ids]
    (tmp_path / "once" / "000003.txt").unlink()
    untouched = (tmp_path / "once" / "000001.txt").stat().st_mtime_ns
    detect(load_detector(trained), street, clouds, tmp_path / "once", boxes)
    assert {path.name: path.read_bytes() for path in (tmp_path / "once").iterdir()} == once
    assert (tmp_path / "once" / "000001.txt").stat().st_mtime_ns == untouched


def test_bad_boxes_are_skipped_and_counted(
    street: ObjectDataset, clouds: Path, trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frame_id = street.frame_ids[0]
    good = ground_truth_boxes(street, ["Car"])[frame_id].box2d[0]
    box2d = np.array([good, [-90, 20, -40, 60], [900, 20, 940, 60], [100, 50, 140, 57], [10, 0, 40, 20], good])
    names = np.array(["Car"] * 5 + ["Pedestrian"])
    with caplog.at_level(logging.INFO):
        log_tallies([detect(load_detector(trained), street, clouds, tmp_path, {frame_id: Boxes2d(names, box2d)})])
    found = read_objects(tmp_path / f"{frame_id}.txt", scored=True)
    np.testing.assert_allclose(found.box2d, good[None], atol=1e-3)
    assert "skipped 1: 2D boxes under 8 px" in caplog.text
    assert "skipped 2: 2D boxes outside of the image" in caplog.text
    # On the sky, where no disparity is.
    assert "skipped 1: frusta under 5 points" in caplog.text
    # Frames without an entry have no boxes, hence empty result files.
    assert (tmp_path / f"{street.frame_ids[1]}.txt").read_text() == ""


def test_2d_scores_count_where_they_are_asked_for(street: ObjectDataset, clouds: Path, trained: Path) -> None:
    published = FrustumDetector.from_checkpoint(trained)
    frame = street[0]
    points = read_points(clouds / f"{frame.frame_id}.bin")
    certain = ground_truth_boxes(street, ["Car"])[frame.frame_id]
    detected = Boxes2d(certain.class_name, certain.box2d, np.full(len(certain), 0.25))
    for detector, difference in ((published, 0.0), (dataclasses.replace(published, add_box_score=True), np.log(0.25))):
        first, _ = detector.objects(points, frame.calibration, (128, 416), certain, seed=1)
        second, _ = detector.objects(points, frame.calibration, (128, 416), detected, seed=1)
        assert first.score is not None and second.score is not None
        np.testing.assert_allclose(second.score, first.score + difference, rtol=1e-6)
        np.testing.assert_array_equal(second.box3d, first.box3d)


def test_the_score_is_that_of_mask_heading_and_size() -> None:
    mask_logits = torch.tensor([[[0.0, 2.0], [0.0, 1.0], [3.0, 0.0]]])
    heading_scores, size_scores = torch.zeros(1, 12), torch.zeros(1, 8)
    heading_scores[0, 4], size_scores[0, 1] = 3.0, 2.0
    output = FrustumOutput(
        mask_logits=mask_logits,
        mask=torch.tensor([[True, True, False]]),
        stage1_centre=torch.zeros(1, 3),
        centre=torch.tensor([[0.0, 1.0, 10.0]]),
        heading_scores=heading_scores,
        heading_residuals=torch.zeros(1, 12),
        size_scores=size_scores,
        size_residuals=torch.zeros(1, 8, 3),
    )
    mean_sizes = torch.tensor(list(MEAN_SIZES_M.values()))
    box3d, score = decode(output, mean_sizes, np.array([0.1]))
    # Mean probability of the two points of the mask, not of the third.
    mask = (1 / (1 + math.exp(-2)) + 1 / (1 + math.exp(-1))) / 2
    heading, size = math.exp(3) / (math.exp(3) + 11), math.exp(2) / (math.exp(2) + 7)
    assert score[0] == pytest.approx(math.log(mask) + math.log(heading) + math.log(size), rel=1e-6)
    length, width, height = MEAN_SIZES_M["Van"]
    expected = [10 * math.sin(0.1), 1 + height / 2, 10 * math.cos(0.1), height, width, length, math.radians(120) + 0.1]
    np.testing.assert_allclose(box3d[0], expected, rtol=1e-5)


def test_an_empty_cloud_gives_an_empty_result(trained: Path) -> None:
    detector = FrustumDetector.from_checkpoint(trained)
    box = Boxes2d(np.array(["Car"]), np.array([[100.0, 40.0, 160.0, 80.0]]))
    objects, skipped = detector.objects(np.zeros((0, 4), dtype=np.float32), make_calibration(), (128, 416), box, seed=0)
    assert len(objects) == 0
    assert skipped == {"frusta under 5 points": 1}


def test_boxes_are_asked_for(street: ObjectDataset, clouds: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="boxes: found None"):
        detect(load_detector(trained), street, clouds, tmp_path / "results")
    points = read_points(clouds / f"{street.frame_ids[0]}.bin")
    with pytest.raises(InputError, match="boxes: found None"):
        load_detector(trained).detect(street[0], points)


def test_a_frame_has_the_same_objects_as_in_a_folder(
    street: ObjectDataset, clouds: Path, trained: Path, tmp_path: Path
) -> None:
    detector, frame = load_detector(trained), street[0]
    boxes = ground_truth_boxes(street, ["Car"])
    detect(detector, street.only([frame.frame_id]), clouds, tmp_path, boxes)
    found = detector.detect(frame, read_points(clouds / f"{frame.frame_id}.bin"), boxes[frame.frame_id])
    expected = read_objects(tmp_path / f"{frame.frame_id}.txt", scored=True)
    assert len(found) > 0
    np.testing.assert_allclose(found.box3d, expected.box3d, atol=1e-3)


def test_a_missing_cloud_is_found_before_any_work(
    street: ObjectDataset, clouds: Path, trained: Path, tmp_path: Path
) -> None:
    some = tmp_path / "clouds"
    some.mkdir()
    for frame_id in street.frame_ids[:-1]:
        (some / f"{frame_id}.bin").symlink_to(clouds / f"{frame_id}.bin")
    with pytest.raises(FormatError, match=rf"{street.frame_ids[-1]}\.bin: file: found nothing there"):
        detect(load_detector(trained), street, some, tmp_path / "results", {})
    assert not (tmp_path / "results").exists()


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "car.pt"
    with pytest.raises(FormatError, match="nothing there"):
        load_detector(path)
    save_checkpoint(path, {"arguments": {}, "state_dict": {}, "losses": [], "optimizer": {}})
    with pytest.raises(FormatError, match="a training that has not finished"):
        load_detector(path)
    path.write_bytes(b"PK\x03\x04 no checkpoint")
    with pytest.raises(FormatError, match=r"car\.pt"):
        load_detector(path)


@pytest.mark.parametrize("settings", [BRIEF, BRIEF_V2], ids=["v1", "v2"])
def test_the_same_seed_gives_the_same_bytes(
    settings: FrustumTraining, street: ObjectDataset, clouds: Path, tmp_path: Path
) -> None:
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        train_frustum_pointnet(settings, street, clouds, ["Car"], TrainingRun(tmp_path / f"{name}.pt", seed))
    one, two, three = ((tmp_path / f"{name}.pt").read_bytes() for name in ("one", "two", "three"))
    assert one == two
    assert one != three


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_an_interrupted_training_ends_with_the_same_bytes(
    suffix: str, street: ObjectDataset, clouds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / f"whole{suffix}", tmp_path / f"broken{suffix}"
    train_frustum_pointnet(BRIEF, street, clouds, ["Car"], TrainingRun(whole, 0))
    from pseudolidar.detectors.frustum_pointnet import samples

    batch_at = samples.FrustumBatches.__call__

    def killed_at_three(self: samples.FrustumBatches, step: int, shard: object) -> samples.FrustumBatch:
        if step == 3:
            raise KeyboardInterrupt
        return batch_at(self, step)

    monkeypatch.setattr(samples.FrustumBatches, "__call__", killed_at_three)
    with pytest.raises(KeyboardInterrupt):
        train_frustum_pointnet(BRIEF, street, clouds, ["Car"], TrainingRun(broken, 0))
    assert not broken.exists()
    monkeypatch.undo()
    train_frustum_pointnet(BRIEF, street, clouds, ["Car"], TrainingRun(broken, 0))
    assert broken.read_bytes() == whole.read_bytes()
    assert load_detector(broken).class_names == ("Car",)


def test_mean_size_of_the_training_set(street: ObjectDataset, clouds: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(BRIEF, steps=1, mean_size="training_set", precision="bfloat16")
    train_frustum_pointnet(settings, street, clouds, ["Car"], TrainingRun(tmp_path / "car.pt", 0))
    sizes = np.concatenate([frame.objects().box3d[:, [5, 4, 3]] for frame in street])
    mean_sizes = load_checkpoint(tmp_path / "car.pt")["arguments"]["network"]["mean_sizes_m"]
    assert mean_sizes[0] == pytest.approx(sizes.mean(axis=0), rel=1e-5)
    assert mean_sizes[3] == [0.844, 0.661, 1.763]


def test_several_folders_of_clouds(street: ObjectDataset, clouds: Path, raised: Path, tmp_path: Path) -> None:
    def trained(name: str, *folders: Path) -> bytes:
        path = tmp_path / f"{name}.pt"
        train_frustum_pointnet(BRIEF, street, folders, ["Car"], TrainingRun(path, 0))
        return path.read_bytes()

    assert trained("first", clouds) != trained("second", raised) != trained("both", clouds, raised)
    first, second, both = (
        load_checkpoint(tmp_path / f"{name}.pt")["record"]["inputs"] for name in ("first", "second", "both")
    )
    assert both == {**first, "clouds_2": second["clouds"]}


def test_nothing_to_train_on_is_an_error(street: ObjectDataset, clouds: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="Pedestrian objects in 8 frames: found none to train on"):
        train_frustum_pointnet(BRIEF, street, clouds, ["Pedestrian"], TrainingRun(tmp_path / "none.pt", 0))
    with pytest.raises(ValueError, match="Tram, expected one or several of Car, Pedestrian, Cyclist"):
        train_frustum_pointnet(BRIEF, street, clouds, ["Tram"], TrainingRun(tmp_path / "none.pt", 0))
    assert list(tmp_path.iterdir()) == []


def test_classes_that_are_none_or_twice_are_refused(street: ObjectDataset, clouds: Path, tmp_path: Path) -> None:
    for class_names in ([], ["Car", "Car"]):
        with pytest.raises(ValueError, match="class_names: found"):
            train_frustum_pointnet(BRIEF, street, clouds, class_names, TrainingRun(tmp_path / "none.pt", 0))


@pytest.mark.parametrize("settings", [BRIEF, BRIEF_V2], ids=["v1", "v2"])
def test_several_classes_together(settings: FrustumTraining, tmp_path: Path) -> None:
    street = write_street(tmp_path, frames=2, seed=1)
    for frame in street:
        labels = frame.objects()
        names = np.where(np.arange(len(labels)) == 0, "Pedestrian", labels.class_name)
        write_objects(frame.path("label_2"), dataclasses.replace(labels, class_name=names))
    settings = dataclasses.replace(settings, mean_size="training_set")
    classes = ["Car", "Pedestrian"]
    train_frustum_pointnet(settings, street, tmp_path / "clouds", classes, TrainingRun(tmp_path / "both.pt", 0))
    detector = FrustumDetector.from_checkpoint(tmp_path / "both.pt")
    assert detector.class_names == ("Car", "Pedestrian")
    frame = street[0]
    points = read_points(tmp_path / "clouds" / f"{frame.frame_id}.bin")
    box2d = frame.objects().box2d[[0, 0, 0]]
    boxes = Boxes2d(np.array(["Pedestrian", "Cyclist", "Car"]), box2d)
    objects, _ = detector.objects(points, frame.calibration, (128, 416), boxes, seed=0)
    assert objects.class_name.tolist() == ["Pedestrian", "Car"]
    # The same points, told apart by the one-hot vector alone.
    assert (objects.box3d[0] != objects.box3d[1]).any()


def test_near_only_pedestrians(tmp_path: Path) -> None:
    street = write_street(tmp_path, frames=2, seed=1, class_name="Pedestrian")
    far = street.frame_ids[0]
    labels = street.frame(far).objects()
    moved = labels.box3d.copy()
    moved[:, 2] += 100
    write_objects(
        street.frame(far).path("label_2"),
        Labels(labels.class_name, labels.truncation, labels.occlusion, labels.alpha, labels.box2d, moved),
    )
    settings = dataclasses.replace(BRIEF_V2, steps=1, min_box_height_px=4)
    run = TrainingRun(tmp_path / "near.pt", 0)
    train_frustum_pointnet(settings, street, tmp_path / "clouds", ["Pedestrian"], run, max_depth=20.0)
    assert load_checkpoint(tmp_path / "near.pt")["arguments"]["max_depth"] == 20.0
    detector = FrustumDetector.from_checkpoint(tmp_path / "near.pt")
    beyond = np.array([[25.0, 0, 0, 1]] * 50, dtype=np.float32)
    box = Boxes2d(np.array(["Pedestrian"]), np.array([[180.0, 30.0, 240.0, 90.0]]))
    objects, skipped = detector.objects(beyond, make_calibration(), (128, 416), box, seed=0)
    assert len(objects) == 0 and skipped == {"frusta under 5 points": 1}


@pytest.mark.parametrize("settings", [BRIEF, BRIEF_V2], ids=["v1", "v2"])
def test_it_starts_from_weights(settings: FrustumTraining, street: ObjectDataset, clouds: Path, tmp_path: Path) -> None:
    init, path, run = tmp_path / "init.pt", tmp_path / "car.pt", TrainingRun(tmp_path / "car.pt", 1)
    own_sizes = dataclasses.replace(settings, mean_size="training_set")
    train_detector(own_sizes, street, clouds, ["Car"], TrainingRun(init, 0))
    still = dataclasses.replace(settings, learning_rate=0.0, mean_size="published")
    train_detector(still, street, clouds, ["Car"], run, init=init)
    before, after = load_checkpoint(init), load_checkpoint(path)
    for name, tensor in after["state_dict"].items():
        # Statistics of norms follow what they see, whatever is learned.
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(tensor, before["state_dict"][name]), name
    sizes = [content["arguments"]["network"]["mean_sizes_m"] for content in (before, after)]
    assert sizes[0] == sizes[1] != [list(size) for size in MEAN_SIZES_M.values()]
    wider = dataclasses.replace(settings, width=2 * settings.width)
    with pytest.raises(FormatError, match=r"init.pt: .*for this Frustum PointNet \(differences in all"):
        train_detector(wider, street, clouds, ["Car"], dataclasses.replace(run, overwrite=True), init=init)
