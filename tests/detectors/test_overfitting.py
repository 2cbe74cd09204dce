"""Frustum PointNet v2 learns sixteen objects by heart: KITTI's own cars and pedestrian, and synthetic cars."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from pseudolidar.detectors import detect, load_detector
from pseudolidar.detectors.boxes2d import ground_truth_boxes
from pseudolidar.detectors.frustum_pointnet import FrustumTraining, train_frustum_pointnet
from pseudolidar.evaluation import evaluate
from pseudolidar.kitti import Frame, ObjectDataset, read_objects, write_objects
from pseudolidar.ops import iou_3d
from pseudolidar.training import TrainingRun
from tests.conftest import settings_of
from tests.detectors.street_of_boxes import write_street

CLASSES = ("Car", "Pedestrian")
REAL_FRAMES = ("000000", "000001", "000002")
TRAINING: FrustumTraining = settings_of(
    "detector/frustum_pointnet_v1",
    steps=600,
    version=2,
    batch_size=16,
    learning_rate=0.01,
    width=0.375,
    density=0.125,
    points=320,
    object_points=160,
    dropout=0.0,
    centre_depth=True,
    mean_size="training_set",
    jitter=0.0,
    flip=False,
    depth_shift=0.0,
    min_box_height_px=8,
)


@pytest.fixture(scope="module")
def sixteen(kitti_sample: Path, tmp_path_factory: pytest.TempPathFactory) -> ObjectDataset:
    """16 objects, clouds in root/clouds: frames of KITTI keep their ids, synthetic ones have others."""
    root = tmp_path_factory.mktemp("sixteen")
    left = 16
    for frame_id, frame, cloud in frames_of_both_sources(kitti_sample, root):
        labels = frame.objects()
        labels = labels[np.flatnonzero(np.isin(labels.class_name, CLASSES))[:left]]
        left -= len(labels)
        copy = Frame(root / "training", frame_id)
        for kind in ("calib", "image_2"):
            copy.path(kind).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(frame.path(kind), copy.path(kind))
        write_objects(copy.path("label_2"), labels)
        (root / "clouds").mkdir(exist_ok=True)
        shutil.copy(cloud, root / "clouds" / f"{frame_id}.bin")
    assert left == 0
    return ObjectDataset(root)


def frames_of_both_sources(kitti_sample: Path, root: Path) -> Iterator[tuple[str, Frame, Path]]:
    """New frame id, frame, cloud."""
    real = ObjectDataset(kitti_sample / "object")
    for frame_id in REAL_FRAMES:
        yield frame_id, real.frame(frame_id), real.frame(frame_id).path("velodyne")
    street = write_street(root / "street", frames=7, seed=0)
    for frame in street:
        yield f"1{frame.frame_id}", frame, street.root / "clouds" / f"{frame.frame_id}.bin"


@pytest.fixture(scope="module")
def results(sixteen: ObjectDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Result files of a network trained on the 16 objects, from the labels' 2D boxes."""
    folder = tmp_path_factory.mktemp("overfitted")
    train_frustum_pointnet(TRAINING, sixteen, sixteen.root / "clouds", CLASSES, TrainingRun(folder / "model.pt", 0))
    boxes = ground_truth_boxes(sixteen, CLASSES)
    detect(load_detector(folder / "model.pt"), sixteen, sixteen.root / "clouds", folder / "results", boxes)
    return folder / "results"


def test_sixteen_objects_score_100(sixteen: ObjectDataset, results: Path) -> None:
    labels = [frame.objects() for frame in sixteen]
    found = [read_objects(results / f"{frame_id}.txt", scored=True) for frame_id in sixteen.frame_ids]
    strict = dict.fromkeys(("bbox", "bev", "3d"), 0.7)
    evaluation = evaluate(labels, found, CLASSES, ("all",), min_overlap=dict.fromkeys(CLASSES, strict))
    assert sum(evaluation.curves[name, "3d", "all"].object_count for name in CLASSES) == 16
    for name in CLASSES:
        assert evaluation.curves[name, "3d", "all"].ap40 == 100, name


def test_real_cars_and_the_real_pedestrian_are_found(kitti_sample: Path, results: Path) -> None:
    real = ObjectDataset(kitti_sample / "object")
    for frame_id, class_name, least in (("000000", "Pedestrian", 0.5), ("000001", "Car", 0.7), ("000002", "Car", 0.7)):
        labels = real.frame(frame_id).objects()
        label = labels[labels.class_name == class_name]
        found = read_objects(results / f"{frame_id}.txt", scored=True)
        assert found.class_name.tolist() == [class_name]
        boxes = (torch.from_numpy(objects.box3d.astype(np.float32)) for objects in (label, found))
        assert float(iou_3d(*boxes)) > least, frame_id
