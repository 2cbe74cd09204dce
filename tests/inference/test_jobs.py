"""Every job gives the same bytes in one process, in two, and shard by shard; it can be given to another process."""

import dataclasses
import logging
import pickle
from functools import partial
from pathlib import Path

import pytest

from pseudolidar.cloud import write_clouds
from pseudolidar.detectors import Detector, load_detector, log_tallies
from pseudolidar.detectors.boxes2d import Detector2dTraining, train_detector2d
from pseudolidar.detectors.pointrcnn import train_pointrcnn
from pseudolidar.files import FormatError
from pseudolidar.inference import FrameJob, Shard, objects, run_job
from pseudolidar.inference.boxes2d import Boxes2dJob
from pseudolidar.inference.disparity import DisparityJob
from pseudolidar.inference.objects import ObjectsJob
from pseudolidar.inference.pairs import PairsToObjectsJob
from pseudolidar.kitti import ObjectDataset
from pseudolidar.pipeline import Drawing, Models, Summary, detection_record
from pseudolidar.stereo import ObjectPairs, PSMNet, SemiGlobalMatching, TrainedPSMNet, save_psmnet
from pseudolidar.training import TrainingRun
from tests.conftest import settings_of
from tests.detectors.pointrcnn.tiny import BRIEF
from tests.stereo.conftest import write_scene

DRAWING = Drawing(frustum_score=-2.5, pointrcnn_score=0.0, box2d_score=0.5, max_depth=60.0)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> ObjectDataset:
    return write_scene(tmp_path_factory.mktemp("scene"), 5)


@pytest.fixture(scope="module")
def clouds(scene: ObjectDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clouds")
    write_clouds(scene.folder / "disparity", scene.folder / "calib", folder, scene.frame_ids)
    return folder


@pytest.fixture(scope="module")
def models(scene: ObjectDataset, clouds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a PointRCNN that has learnt nothing and finds a lot."""
    folder = tmp_path_factory.mktemp("models")
    settings = dataclasses.replace(BRIEF, score_threshold=0.0, nms_threshold=0.5)
    train_pointrcnn(settings, scene, clouds, "Car", TrainingRun(folder / "pointrcnn_car.pt", 0))
    return folder


def bytes_of(folder: Path) -> dict[str, bytes]:
    """All files but the record of how they were made and its lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and "record" not in path.name)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def sharded(job: FrameJob[object], whole: FrameJob[object]) -> list[object]:
    """Run both, one of them in two shards of which the second is sent through a pickle, as to another process."""
    results = run_job(job, shard=Shard(1, 2))
    results += run_job(pickle.loads(pickle.dumps(job)), shard=Shard(2, 2))
    run_job(whole)
    return results


def test_disparity_maps_from_two_processes(scene: ObjectDataset, tmp_path: Path) -> None:
    network = PSMNet(width=8, max_disparity=32, pool_sizes=(8, 4), blocks=(1, 1, 1, 1))
    save_psmnet(tmp_path / "u.pt", network.eval())
    for name, workers in (("one", 1), ("two", 2)):
        model = partial(TrainedPSMNet, tmp_path / "u.pt", threads=1)
        run_job(DisparityJob(model, scene, tmp_path / name, "disparity", {}), workers)
    assert sorted(bytes_of(tmp_path / "two")) == [f"{frame_id}.npy" for frame_id in scene.frame_ids]
    assert bytes_of(tmp_path / "two") == bytes_of(tmp_path / "one")


def test_pairs_of_another_data_set(scene: ObjectDataset, tmp_path: Path) -> None:
    job = DisparityJob(partial(SemiGlobalMatching, 16), ObjectPairs(scene), tmp_path / "pairs", "disparity", {})
    sharded(job, DisparityJob(partial(SemiGlobalMatching, 16), scene, tmp_path / "frames", "disparity", {}))
    pairs, frames = bytes_of(tmp_path / "pairs"), bytes_of(tmp_path / "frames")
    assert pairs == frames and len(set(pairs.values())) == len(scene)


def test_objects_from_clouds(
    scene: ObjectDataset, clouds: Path, models: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = ObjectsJob(str(models / "pointrcnn_car.pt"), scene, clouds, tmp_path / "shards")
    tallies = sharded(job, dataclasses.replace(job, output=tmp_path / "whole"))
    with caplog.at_level(logging.INFO):
        log_tallies(tallies)  # type: ignore[arg-type]
    lines = b"".join(bytes_of(tmp_path / "shards").values()).count(b"\n")
    assert lines > 0
    assert caplog.messages == [f"Car: {lines} objects in {len(scene)} frames"]
    assert bytes_of(tmp_path / "shards") == bytes_of(tmp_path / "whole")
    assert len(bytes_of(tmp_path / "shards")) == len(scene)


def test_a_process_loads_the_detector_once(
    scene: ObjectDataset, clouds: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []

    def load(*arguments: str) -> Detector:
        loaded.append(arguments)
        return load_detector(*arguments)

    monkeypatch.setattr(objects, "load_detector", load)
    job = ObjectsJob(str(models / "pointrcnn_car.pt"), scene, clouds, tmp_path)
    run_job(job)
    assert loaded == [(job.model, "cpu")]
    assert vars(job).keys() - vars(pickle.loads(pickle.dumps(job))).keys() == {"_detector"}, "weights don't travel"


def test_2d_boxes(scene: ObjectDataset, tmp_path: Path) -> None:
    training: Detector2dTraining = settings_of(
        "detector2d/fcos_town", steps=1, image_height=40, crop=(40, 64), classes=("Car",), batch_size=1
    )
    train_detector2d(training, scene, TrainingRun(tmp_path / "boxes2d.pt", 0))
    job = Boxes2dJob(str(tmp_path / "boxes2d.pt"), scene, tmp_path / "shards", min_score=0.0)
    sharded(job, dataclasses.replace(job, output=tmp_path / "whole"))
    found = bytes_of(tmp_path / "shards")
    assert found == bytes_of(tmp_path / "whole") and len(found) == len(scene) and any(found.values())


def test_objects_from_pairs(scene: ObjectDataset, models: Path, tmp_path: Path) -> None:
    load = partial(Models.from_folder, models, max_disparity=16)
    record = detection_record(load(), DRAWING, None, 1.0, "cpu")
    job = PairsToObjectsJob(load, record, list(scene), tmp_path / "shards", DRAWING)
    summaries = sharded(job, dataclasses.replace(job, output=tmp_path / "whole"))
    found = bytes_of(tmp_path / "shards")
    assert found == bytes_of(tmp_path / "whole") and len(found) == 2 * len(scene)
    summary = sum((each for each in summaries if isinstance(each, Summary)), Summary())
    lines = b"".join(text for name, text in found.items() if name.endswith(".txt")).count(b"\n")
    assert (summary.frames, summary.found) == (len(scene), {"Car": lines})
    assert sum(run_job(job, shard=Shard(1, 2)), Summary()) == Summary()
    higher = dataclasses.replace(job, max_height=2.0, record=detection_record(load(), DRAWING, None, 2.0, "cpu"))
    with pytest.raises(FormatError, match=r"record: found max_height=1\.0, expected max_height=2\.0"):
        run_job(higher, workers=2)
