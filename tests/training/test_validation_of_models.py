"""Every model is validated while it is trained: the checkpoint stays the same, the numbers are those of its stages."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pseudolidar.detectors import frame_seed, load_detector, train_detector
from pseudolidar.detectors.boxes2d import Boxes2d, Detector2d, train_detector2d
from pseudolidar.ensembles import EnsembleTraining, train_disparity, trained_disparity
from pseudolidar.evaluation import evaluate
from pseudolidar.files import FormatError, InputError
from pseudolidar.kitti import ObjectDataset, Objects, read_points
from pseudolidar.stereo import KittiStereoPairs, disparity_metrics, predict_disparities, train_stereo
from pseudolidar.training import (
    CsvLogger,
    TrainingRun,
    Validation,
    best_path,
    load_checkpoint,
    read_metrics,
    validation_path,
)
from tests.conftest import settings_of
from tests.detectors.painted_frames import write_painted
from tests.detectors.street_of_boxes import write_street
from tests.stereo.conftest import write_scene
from tests.stereo.test_kitti_stereo import write_benchmark
from tests.training.interrupted import Interrupting
from tests.training.several_processes import SeveralProcesses
from tests.training.test_models_on_two_processes import BOXES, FRUSTUM, POINTRCNN, STEREO

EVERY = 2
BRIEF: dict[str, Any] = {"learning_rate": 1e-3, "checkpoint_every": 3}
ENSEMBLE: EnsembleTraining = EnsembleTraining(
    **{**dataclasses.asdict(STEREO), **BRIEF, "steps": 6, "members": 2, "beta": 0.0}
)


@dataclass(frozen=True)
class Case:
    """A training of six steps on all frames but the last two, which it is validated on.

    Attributes:
        write: a data set in KITTI's layout.
        train: settings, training data, run and validation data as arguments.
    """

    write: Callable[[Path], ObjectDataset]
    train: Callable[[Any, ObjectDataset, TrainingRun, ObjectDataset | None], None]
    settings: Any

    def __call__(
        self, root: Path, name: str, validates: bool = True, patience: int | None = None, killed_at: int | None = None
    ) -> Path:
        """Train, on data that is written if it is not there; the checkpoint."""
        dataset = ObjectDataset(root, None) if root.exists() else self.write(root)
        checkpoint = root / f"{name}.pt"
        validation = Validation("val", EVERY, patience) if validates else None
        logger = CsvLogger() if killed_at is None else Interrupting(killed_at)
        run = TrainingRun(checkpoint, seed=1, logger=logger, validation=validation)
        frames, others = dataset.only(dataset.frame_ids[:-2]), dataset.only(dataset.frame_ids[-2:])
        self.train(self.settings, frames, run, others if validates else None)
        return checkpoint


def stereo(settings: Any, data: ObjectDataset, run: TrainingRun, others: ObjectDataset | None) -> None:
    train_disparity(settings, data, run, validation_data=others)


def detector(settings: Any, data: ObjectDataset, run: TrainingRun, others: ObjectDataset | None) -> None:
    train_detector(settings, data, data.root / "clouds", ["Car"], run, validation_data=others)


def street(root: Path) -> ObjectDataset:
    return write_street(root, frames=6, seed=0)


PHASES: dict[str, Any] = {"rpn_steps": 2, "rcnn_steps": 6}
CASES = {
    "PSMNet": Case(functools.partial(write_scene, frames=6), stereo, dataclasses.replace(STEREO, steps=6, **BRIEF)),
    "ensemble": Case(functools.partial(write_scene, frames=6), stereo, ENSEMBLE),
    "PointRCNN": Case(street, detector, dataclasses.replace(POINTRCNN, **PHASES, **BRIEF)),
    "PointRCNN, jointly": Case(street, detector, dataclasses.replace(POINTRCNN, joint=True, **PHASES, **BRIEF)),
    "Frustum PointNet": Case(street, detector, dataclasses.replace(FRUSTUM, steps=6, dropout=0.3, **BRIEF)),
    "2D detector": Case(
        functools.partial(write_painted, frames=6, seed=0), train_detector2d,
        dataclasses.replace(BOXES, steps=6, **BRIEF),
    ),
}  # fmt: skip
every_model = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.fixture(scope="module")
def two() -> Iterator[SeveralProcesses]:
    with SeveralProcesses(2) as processes:
        yield processes


@every_model
def test_validation_changes_nothing_even_where_a_run_was_killed(case: Case, tmp_path: Path) -> None:
    root = tmp_path / "data"
    alone = case(root, "alone", validates=False)
    validated = case(root, "validated")
    assert validated.read_bytes() == alone.read_bytes()
    measured = read_metrics(validation_path(validated))
    assert measured.pop("step") == [2, 4, 6]
    with pytest.raises(KeyboardInterrupt):
        case(root, "killed", killed_at=5)
    killed = case(root, "killed")
    for path_of in (Path, best_path, validation_path):
        assert path_of(killed).read_bytes() == path_of(validated).read_bytes()
    best = load_checkpoint(best_path(validated))["validation"]
    first = next(iter(measured))
    assert list(best) == ["step", *measured]
    assert best[first] == pytest.approx(min(measured[first]), rel=1e-6)


@every_model
def test_two_processes_measure_once(two: SeveralProcesses, case: Case, tmp_path: Path) -> None:
    root = tmp_path / "data"
    case.write(root)
    assert two(case, root, "alone", False) == [root / "alone.pt"] * 2
    assert two(case, root, "validated") == [root / "validated.pt"] * 2
    assert (root / "validated.pt").read_bytes() == (root / "alone.pt").read_bytes()
    assert read_metrics(validation_path(root / "validated.pt"))["step"] == [2, 4, 6]


@every_model
def test_patience_and_what_it_looks_at_belong_to_the_record(case: Case, tmp_path: Path) -> None:
    root = tmp_path / "data"
    case(root, "a")
    with pytest.raises(FormatError, match=r"a\.pt: record: .*patience=1"):
        case(root, "a", patience=1)
    case(root, "patient", patience=1)
    # The last frame is validated on.
    for label in (root / "training" / "label_2").glob("000005.txt"):
        label.write_text(label.read_text() + "DontCare -1 -1 -10 1 1 5 5 -1 -1 -1 -1000 -1000 -1000 -10\n")
    case(root, "a")
    with pytest.raises(FormatError, match=r"patient\.pt: record: .*validation"):
        case(root, "patient", patience=1)


@every_model
def test_frames_that_are_trained_on_are_named(case: Case, tmp_path: Path) -> None:
    dataset = case.write(tmp_path)
    run = TrainingRun(tmp_path / "a.pt", validation=Validation("val", EVERY, None))
    message = r"validation: found 5 frames that are trained on \(000001, 000002, 000003, ...\), expected others"
    with pytest.raises(InputError, match=message):
        case.train(case.settings, dataset, run, dataset.only(dataset.frame_ids[1:]))
    with pytest.raises(InputError, match=r"found 1 frames that are trained on \(000005\),"):
        case.train(case.settings, dataset, run, dataset.only(["000005"]))
    assert not (tmp_path / "a.pt").exists()


def test_frames_of_another_folder_may_have_the_same_names(tmp_path: Path) -> None:
    for name in ("here", "there"):
        write_scene(tmp_path / name, 3)
    settings = dataclasses.replace(CASES["PSMNet"].settings, steps=1)
    run = TrainingRun(tmp_path / "u.pt", validation=Validation("train", EVERY, None))
    here, there = (ObjectDataset(tmp_path / name, "train") for name in ("here", "there"))
    train_stereo(settings, here, run, validation_data=there)
    assert best_path(run.checkpoint).exists()


@pytest.mark.parametrize("name", ["PSMNet", "ensemble"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_disparity_losses_are_those_of_the_maps_that_the_checkpoint_predicts(
    tmp_path: Path, name: str, precision: str
) -> None:
    changed = dataclasses.replace(CASES[name].settings, precision=precision, width=16, max_disparity=48)
    case = dataclasses.replace(CASES[name], settings=changed)
    checkpoint = best_path(case(tmp_path / "data", "u"))
    validation = load_checkpoint(checkpoint)["validation"]
    data = ObjectDataset(tmp_path / "data", None).only(["000004", "000005"])
    predict_disparities(trained_disparity(checkpoint), data, tmp_path / "maps", "disparity")
    mae = disparity_metrics(tmp_path / "maps", data).disparity_mae()[0]
    assert list(validation.values())[1:] == pytest.approx(mae.tolist(), rel=0, abs=0, nan_ok=True)
    assert list(validation) == [
        "step", "disparity_mae_px", "disparity_mae_px_0-20", "disparity_mae_px_20-40", "disparity_mae_px_40-max"
    ]  # fmt: skip


@pytest.mark.parametrize("calibrated", [True, False])
def test_pairs_of_kittis_benchmark_with_and_without_calibration(tmp_path: Path, calibrated: bool) -> None:
    write_benchmark(tmp_path, 2015, 162, calibrated)
    pairs = [KittiStereoPairs(tmp_path, 2015, split) for split in ("train", "val")]
    settings = dataclasses.replace(CASES["PSMNet"].settings, steps=1, crop=(16, 32), pool_sizes=(2, 1))
    run = TrainingRun(tmp_path / "u.pt", validation=Validation("val", 1, None))
    train_stereo(settings, pairs[0], run, validation_data=pairs[1])
    every, *ranges = list(load_checkpoint(best_path(run.checkpoint))["validation"].values())[1:]
    assert every > 0
    assert np.isfinite(ranges).all() == calibrated


def learnt(root: Path) -> tuple[ObjectDataset, dict[str, float], Path]:
    """A Frustum PointNet that knows its validation frames, a copy of those that it is trained on, by heart."""
    settings = settings_of(
        "detector/frustum_pointnet_v1", steps=150, batch_size=8, learning_rate=0.004, width=0.25, points=96,
        object_points=48, dropout=0.0, centre_depth=True, jitter=0.0, flip=False, depth_shift=0.0, min_box_height_px=8,
    )  # fmt: skip
    dataset, others = (write_street(root / name, frames=3, seed=2) for name in ("here", "there"))
    run = TrainingRun(root / "car.pt", validation=Validation("train", 75, None))
    train_detector(settings, dataset, dataset.root / "clouds", ["Car"], run, validation_data=others)
    checkpoint = best_path(run.checkpoint)
    return others, load_checkpoint(checkpoint)["validation"], checkpoint


def test_losses_in_3d_are_those_of_what_the_checkpoint_finds(tmp_path: Path) -> None:
    data, validation, checkpoint = learnt(tmp_path)
    network = load_detector(checkpoint)
    labels = [frame.objects() for frame in data]
    found: Sequence[Objects] = [
        network.objects(
            read_points(data.root / "clouds" / f"{frame.frame_id}.bin"), frame.calibration, frame.image_size(),
            Boxes2d.from_objects(objects), frame_seed(frame.frame_id),
        )[0]
        for frame, objects in zip(data, labels, strict=True)
    ]  # fmt: skip
    expected: dict[str, float] = {}
    for suffix, overlap in (("", "standard"), ("_loose", "loose")):
        evaluation = evaluate(labels, found, ["Car"], min_overlap=overlap)
        expected |= {f"100-AP40_{view}{suffix}": 100 - evaluation.ap("Car", view, "moderate") for view in ("bev", "3d")}
    assert {name: value for name, value in validation.items() if name != "step"} == expected
    assert list(validation) == ["step", *expected]
    assert validation["100-AP40_bev_loose"] < 50


def test_losses_of_2d_boxes_are_the_mean_over_the_classes(tmp_path: Path) -> None:
    case = dataclasses.replace(CASES["2D detector"], settings=dataclasses.replace(BOXES, steps=40, learning_rate=2e-3))
    checkpoint = best_path(case(tmp_path / "data", "boxes2d"))
    validation = load_checkpoint(checkpoint)["validation"]
    network = Detector2d.from_checkpoint(checkpoint)
    data = ObjectDataset(tmp_path / "data", None).only(["000004", "000005"])
    labels = [frame.objects() for frame in data]
    found = [network.boxes(frame.left_image()).to_objects() for frame in data]
    evaluation = evaluate(labels, found)
    each = [100 - evaluation.ap(name, "bbox", "moderate") for name in ("Car", "Pedestrian")]
    assert list(validation) == ["step", "100-AP40_bbox", "100-AP40_bbox_Car", "100-AP40_bbox_Pedestrian"]
    assert list(validation.values())[1:] == pytest.approx([np.nanmean(each), *each], nan_ok=True)


def test_mistakes_are_found_before_any_work(tmp_path: Path) -> None:
    case = CASES["Frustum PointNet"]
    dataset = case.write(tmp_path)
    run = TrainingRun(tmp_path / "car.pt", validation=Validation("val", EVERY, None))
    frames, others = dataset.only(dataset.frame_ids[:4]), dataset.only(dataset.frame_ids[4:])
    with pytest.raises(FormatError, match="no Pedestrian of moderate difficulty, expected objects to validate on"):
        train_detector(case.settings, frames, tmp_path / "clouds", ["Pedestrian"], run, validation_data=others)
    (tmp_path / "clouds" / "000005.bin").unlink()
    with pytest.raises(FormatError, match=r"clouds/000005\.bin"):
        case.train(case.settings, frames, run, others)
    stereo_data = write_scene(tmp_path / "scene", 4)
    (stereo_data.folder / "disparity" / "000003.png").unlink()
    (stereo_data.folder / "velodyne" / "000003.bin").unlink()
    with pytest.raises(FormatError, match="000003"):
        train_stereo(STEREO, stereo_data.only(["000000"]), run, validation_data=stereo_data.only(["000003"]))
    assert not list(tmp_path.glob("*.csv"))
