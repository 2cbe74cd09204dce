"""Which cloud and which 2D boxes each detector gets, and what may share a folder."""

import json
import shutil
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pseudolidar.cloud import LIDAR_GRID, disparity_to_points, sparsify_points
from pseudolidar.detectors import Detector
from pseudolidar.detectors.boxes2d import Boxes2d, Detector2dTraining, train_detector2d
from pseudolidar.files import FormatError, ProcessPool
from pseudolidar.kitti import Calibration, ObjectDataset, Objects, read_objects
from pseudolidar.pipeline import Drawing, GivenBoxes, Models, Summary, detect_frames
from pseudolidar.stereo import KnownCameras, SemiGlobalMatching, scaled_disparity
from pseudolidar.training import TrainingRun, arithmetic_threads
from tests.conftest import settings_of
from tests.pipeline.conftest import MAX_DISPARITY, Detect, bytes_of
from tests.stereo.conftest import write_scene

DRAWING = Drawing(frustum_score=-50.0, pointrcnn_score=-50.0, box2d_score=0.5, max_depth=60.0)


@dataclass
class PointCounter(Detector):
    """A detector that needs no training: it finds one object, whose score is the number of points that it was given."""

    class_names: tuple[str, ...]
    starts_from_boxes2d: bool
    wants_sparse_cloud: bool

    def objects(
        self,
        points_velo: NDArray[np.float32],
        calibration: Calibration,
        image_size: tuple[int, int],
        boxes: Boxes2d,
        seed: int,
    ) -> tuple[Objects, Counter[str]]:
        assert image_size == (40, 72)
        zeros = np.zeros(1)
        box3d = np.array([[0, 1.6, 10.0 + len(boxes), 1.5, 1.6, 4, 0]])
        names = np.array(self.class_names)
        return Objects(
            names, zeros, zeros.astype(int), zeros, np.ones((1, 4)), box3d, zeros + len(points_velo)
        ), Counter()


MODELS = Models(
    SemiGlobalMatching(MAX_DISPARITY),
    "matching",
    {},
    None,
    {"pointrcnn_car.pt": PointCounter(("Car",), False, True)},
    {},
)


def test_pairs_of_unknown_cameras_are_scaled_and_counted(street: ObjectDataset, tmp_path: Path) -> None:
    known = KnownCameras(90.0, MAX_DISPARITY)
    summary = detect_frames(replace(MODELS, known_cameras=known), list(street), tmp_path, None)
    calibration = street[0].calibration
    assert summary.scaled == {known.notice_of(calibration): 2}
    result = Path("results") / "000000.txt"
    disparity = scaled_disparity(MODELS.disparity, *street[0].stereo_pair(), known.scale_of(calibration))
    sparse = sparsify_points(disparity_to_points(disparity, calibration, 1.0))
    assert read_objects(tmp_path / result, scored=True).score == [len(sparse)]
    plain = detect_frames(MODELS, list(street), tmp_path / "plain", None)
    assert not plain.scaled
    assert (tmp_path / "plain" / result).read_bytes() != (tmp_path / result).read_bytes()


def test_each_detector_gets_the_cloud_that_it_wants(street: ObjectDataset, tmp_path: Path) -> None:
    detectors = {
        "frustum_person.pt": PointCounter(("Pedestrian",), True, False),
        "pointrcnn_car.pt": PointCounter(("Car",), False, True),
    }
    matching = SemiGlobalMatching(MAX_DISPARITY)
    boxes = GivenBoxes(
        Path("two.txt"), {"000000": Boxes2d(np.array(["Car"] * 2), np.array([[1.0, 2, 3, 4], [80, 2, 90, 4]]))}
    )
    summary = detect_frames(
        Models(matching, "matching", {}, None, detectors, {}), [street[0]], tmp_path, DRAWING, boxes
    )
    assert summary.found == {"Pedestrian": 1, "Car": 1}
    assert summary.skipped == {"2D boxes outside of the image": 1}
    found = read_objects(tmp_path / "results" / "000000.txt", scored=True)
    disparity, calibration = matching.predict(*street[0].stereo_pair()), street[0].calibration
    dense = disparity_to_points(disparity, calibration, 1.0)
    sparse = disparity_to_points(disparity, calibration, 1.0, grid=LIDAR_GRID)
    assert len(sparse) < len(dense)
    assert found.score is not None
    assert dict(zip(found.class_name, found.score, strict=True)) == {"Pedestrian": len(dense), "Car": len(sparse)}
    assert found.box3d[:, 2].tolist() == [11, 11], "one box of the two lies within the image"


def test_detectors_that_start_from_clouds_need_no_boxes(street: ObjectDataset, tmp_path: Path) -> None:
    matching = SemiGlobalMatching(MAX_DISPARITY)
    alone = Models(matching, "matching", {}, None, {"pointrcnn_car.pt": PointCounter(("Car",), False, False)}, {})
    assert detect_frames(alone, [street[0]], tmp_path, DRAWING).found == {"Car": 1}
    frustum = Models(matching, "matching", {}, None, {"frustum_car.pt": PointCounter(("Car",), True, False)}, {})
    with pytest.raises(ValueError, match=r"boxes: found none, expected boxes2d\.pt among the models"):
        detect_frames(frustum, [street[1]], tmp_path, DRAWING)


def test_frames_at_once_are_frames_one_by_one(tmp_path: Path) -> None:
    frames = list(write_scene(tmp_path / "scene", 7))
    one_by_one = Summary()
    for frame in frames:
        one_by_one += detect_frames(MODELS, [frame], tmp_path / "one by one", DRAWING)
    with arithmetic_threads(3), ProcessPool(2) as painters:
        assert detect_frames(MODELS, frames, tmp_path / "at once", DRAWING, painters=painters) == one_by_one
        assert detect_frames(MODELS, frames, tmp_path / "results alone", None) == one_by_one
    whole = bytes_of(tmp_path / "one by one")
    assert len(whole) == 14 and bytes_of(tmp_path / "at once") == whole
    assert bytes_of(tmp_path / "results alone") == {name: whole[name] for name in whole if name.endswith(".txt")}
    assert detect_frames(MODELS, frames, tmp_path / "at once", DRAWING) == Summary()


def test_a_broken_frame_ends_a_run_whose_frames_before_it_are_finished(tmp_path: Path) -> None:
    frames = list(write_scene(tmp_path / "scene", 7))
    image = frames[5].path("image_3")
    image.write_bytes(image.read_bytes()[:-20])
    with arithmetic_threads(3), pytest.raises(FormatError, match=r"image_3/000005\.png: .* truncated PNG"):
        detect_frames(MODELS, frames, tmp_path / "out", DRAWING)
    done = [frame.frame_id for frame in frames[:5]]
    assert sorted(path.stem for path in (tmp_path / "out" / "results").iterdir()) == done
    assert sorted(path.stem for path in (tmp_path / "out" / "pictures").iterdir()) == done


def test_a_2d_detector_from_the_folder(street: ObjectDataset, models: Path, tmp_path: Path, detect: Detect) -> None:
    folder = tmp_path / "models"
    shutil.copytree(models, folder)
    training: Detector2dTraining = settings_of(
        "detector2d/fcos_town", steps=1, image_height=40, crop=(40, 64), classes=("Car",), batch_size=1
    )
    train_detector2d(training, street, TrainingRun(folder / "boxes2d.pt", 0))
    settings = {"data": street.root, "split": "train", "max_disparity": MAX_DISPARITY, "output": tmp_path / "out"}
    code, said, errors = detect(models=folder, **settings)
    assert code == 0, errors
    assert "frames: 2, finished before: 0" in said
    made_with = json.loads((tmp_path / "out" / "record.json").read_text())
    assert made_with["settings"]["boxes2d"] == "boxes2d.pt"
    assert sorted(made_with["inputs"]) == ["boxes2d.pt", "frustum_car.pt"]
    # Another model in the same place makes other results.
    (folder / "boxes2d.pt").write_bytes((folder / "frustum_car.pt").read_bytes())
    code, _, errors = detect(models=folder, **settings)
    assert code == 2 and "expected a 2D detector's checkpoint" in errors
    train_detector2d(training, street, TrainingRun(folder / "other.pt", 1))
    (folder / "other.pt").replace(folder / "boxes2d.pt")
    code, _, errors = detect(models=folder, **settings)
    assert code == 2 and "record.json: record: found boxes2d.pt=" in errors
