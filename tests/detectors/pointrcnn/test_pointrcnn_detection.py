"""Detection: result files from clouds, what is left out and counted, and the checkpoints that are taken."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pseudolidar.detectors import detect, load_detector, log_tallies
from pseudolidar.detectors.boxes2d import Boxes2d
from pseudolidar.detectors.frustum_pointnet import FrustumTraining, train_frustum_pointnet
from pseudolidar.detectors.frustum_pointnet.inference import FrustumDetector
from pseudolidar.detectors.pointnet2 import fold_batch_norm
from pseudolidar.detectors.pointrcnn import PointRCNN, PointRCNNDetector, train_pointrcnn
from pseudolidar.detectors.pointrcnn.inference import project_boxes
from pseudolidar.files import FormatError
from pseudolidar.kitti import Calibration, ObjectDataset, read_objects, write_points
from pseudolidar.ops import nms
from pseudolidar.training import TrainingRun
from tests.conftest import settings_of
from tests.detectors.pointrcnn.tiny import BRIEF
from tests.detectors.street_of_boxes import HEIGHT, WIDTH, make_calibration

CALIBRATION = make_calibration()
SIZE = (HEIGHT, WIDTH)
NO_BOXES = Boxes2d(np.zeros(0, dtype=np.str_), np.zeros((0, 4)))


@pytest.fixture(scope="module")
def checkpoint(street: ObjectDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that has learnt nothing, and whose every box is confident enough."""
    path = tmp_path_factory.mktemp("trained") / "car.pt"
    settings = dataclasses.replace(BRIEF, score_threshold=0.0, nms_threshold=0.5)
    train_pointrcnn(settings, street, street.root / "clouds", "Car", TrainingRun(path, 0))
    return path


@pytest.fixture(scope="module")
def detector(checkpoint: Path) -> PointRCNNDetector:
    return PointRCNNDetector.from_checkpoint(checkpoint)


def cloud_of(*rect: tuple[float, float, float]) -> np.ndarray:
    velo = CALIBRATION.rect_to_velodyne(np.array(rect))
    return np.concatenate([velo, np.ones((len(rect), 1))], axis=1).astype(np.float32)


def test_result_files_are_well_formed_and_not_written_again(
    street: ObjectDataset, clouds: Path, checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        log_tallies([detect(load_detector(checkpoint), street, clouds, tmp_path)])
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(written) == [f"{frame_id}.txt" for frame_id in street.frame_ids]
    found = 0
    for frame in street:
        objects = read_objects(tmp_path / f"{frame.frame_id}.txt", scored=True)
        found += len(objects)
        assert objects.score is not None and (np.diff(objects.score) <= 0).all()
        assert set(objects.class_name) <= {"Car"}
        box2d, fault = project_boxes(objects.box3d, frame.calibration, SIZE)
        assert not any(fault)
        # Files have two decimals or more.
        np.testing.assert_allclose(objects.box2d, box2d, atol=0.5)
        assert (np.abs(objects.box3d[:, 6]) <= np.pi + 0.01).all()
        ray = np.arctan2(objects.box3d[:, 0], objects.box3d[:, 2])
        assert (np.abs(np.sin((objects.alpha + ray - objects.box3d[:, 6]) / 2)) < 0.02).all()
    assert found > 0
    assert f"Car: {found} objects in 8 frames" in caplog.text
    (tmp_path / "000003.txt").unlink()
    untouched = (tmp_path / "000001.txt").stat().st_mtime_ns
    detect(load_detector(checkpoint), street, clouds, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == written
    assert (tmp_path / "000001.txt").stat().st_mtime_ns == untouched


def test_boxes_are_projected_as_labels_are(street: ObjectDataset) -> None:
    for frame in street:
        labels = frame.objects()
        box2d, fault = project_boxes(labels.box3d, frame.calibration, SIZE)
        # Label files have two decimals: of a near box half a centimetre is as much as this.
        np.testing.assert_allclose(box2d, labels.box2d, atol=0.5)
        assert not any(fault)


def test_boxes_that_no_image_shows_are_counted() -> None:
    car = [1.5, 1.6, 3.9, 0.0]
    box3d = np.array([[0, 1.6, 15, *car], [60, 1.6, 10, *car], [0, 1.6, -10, *car], [0, 1.0, 1.5, *car]])
    box2d, fault = project_boxes(box3d, CALIBRATION, SIZE)
    assert fault.tolist() == ["", *["boxes outside of the image"] * 2, "boxes over 80% of the image"]
    assert (box2d >= 0).all() and (box2d <= [WIDTH - 1, HEIGHT - 1, WIDTH - 1, HEIGHT - 1]).all()


def test_boxes_that_no_image_shows_are_left_out(detector: PointRCNNDetector) -> None:
    # All points in the middle: in an image around them alone, what lies beside them is outside.
    points = cloud_of(*[(0.1 * i, 1.0, 4.0 + 0.01 * i) for i in range(40)])
    everything, none = detector.objects(points, CALIBRATION, SIZE, NO_BOXES, seed=0)
    assert len(everything) > 0
    _, fault = project_boxes(everything.box3d, CALIBRATION, SIZE)
    assert not any(fault)
    P2, P3 = CALIBRATION.P2.copy(), CALIBRATION.P3.copy()
    (left, top), (right, bottom) = (
        reduce(CALIBRATION.rect_to_image([[0, 1.0, 4.0], [3.9, 1.0, 4.39]])[0], axis=0) for reduce in (np.min, np.max)
    )
    for matrix in (P2, P3):
        matrix[0, 2] -= left - 1
        matrix[1, 2] -= top - 1
    window = Calibration(P2, P3, CALIBRATION.R0_rect, CALIBRATION.Tr_velo_to_cam)
    size = (int(bottom - top) + 3, int(right - left) + 3)
    fewer, skipped = detector.objects(points, window, size, NO_BOXES, seed=0)
    assert not none and sum(skipped.values()) > 0
    assert not any(project_boxes(fewer.box3d, window, size)[1])


@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_objects_are_the_confident_boxes_that_stay(detector: PointRCNNDetector, threshold: float) -> None:
    points = torch.rand(1, 256, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([20.0, 2.0, 60.0])
    with torch.inference_mode():
        output = detector.model(points)
        # Half of them, if not all.
        threshold = float(output.scores[0].median()) if threshold else 0.0
        found = dataclasses.replace(detector, score_threshold=threshold)._find(points, torch.device("cpu"))
    confident = output.scores[0] > threshold
    boxes, logits = output.boxes[0][confident], output.rcnn_cls[0, confident, 0]
    stay = nms(boxes, logits, detector.nms_threshold, rotated=True)
    assert len(stay) > 2
    assert torch.equal(found[: len(stay)], torch.cat([boxes[stay], logits[stay, None]], dim=1))
    assert found[len(stay) :].isnan().all()


def test_an_empty_cloud_gives_an_empty_result(
    street: ObjectDataset, clouds: Path, checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for frame_id in street.frame_ids:
        # No point at all, or none in front of the camera.
        behind = cloud_of((0.0, 1.0, -10.0)) if frame_id > "000003" else np.zeros((0, 4), dtype=np.float32)
        write_points(tmp_path / "clouds" / f"{frame_id}.bin", behind)
    with caplog.at_level(logging.INFO):
        log_tallies([detect(load_detector(checkpoint), street, tmp_path / "clouds", tmp_path / "results")])
    assert "Car: 0 objects in 8 frames; skipped 8: scenes without a point in the detector's area" in caplog.text
    assert [(tmp_path / "results" / f"{frame_id}.txt").read_text() for frame_id in street.frame_ids] == [""] * 8


def test_one_point_and_points_that_are_not_finite(detector: PointRCNNDetector) -> None:
    one = cloud_of((0.0, 1.0, 10.0))
    nothing = np.full((3, 4), np.nan, dtype=np.float32)
    alone, _ = detector.objects(one, CALIBRATION, SIZE, NO_BOXES, seed=0)
    beside, _ = detector.objects(np.concatenate([nothing, one, nothing]), CALIBRATION, SIZE, NO_BOXES, seed=0)
    np.testing.assert_array_equal(alone.box3d, beside.box3d)
    assert np.isfinite(alone.box3d).all() and np.isfinite(alone.box2d).all()
    none, skipped = detector.objects(nothing, CALIBRATION, SIZE, NO_BOXES, seed=0)
    assert len(none) == 0 and skipped == {"scenes without a point in the detector's area": 1}


def test_near_only_detectors_do_not_see_far_points(detector: PointRCNNDetector) -> None:
    near = dataclasses.replace(detector, max_depth=20.0)
    far = cloud_of((0.0, 1.0, 30.0), (0.5, 1.0, 30.0))
    _, skipped = near.objects(far, CALIBRATION, SIZE, NO_BOXES, seed=0)
    assert skipped == {"scenes without a point in the detector's area": 1}
    _, skipped = detector.objects(far, CALIBRATION, SIZE, NO_BOXES, seed=0)
    assert "scenes without a point in the detector's area" not in skipped


def test_the_network_refuses_what_is_no_scene(detector: PointRCNNDetector) -> None:
    model = detector.model
    with pytest.raises(ValueError, match=r"points: found shape \(4, 3\)"):
        model(torch.zeros(4, 3))
    with pytest.raises(ValueError, match="at least one point"):
        model(torch.zeros(1, 0, 3))
    points = torch.zeros(2, 5, 3)
    points[1, 3, 0] = torch.inf
    with pytest.raises(ValueError, match="at scene 1, point 3"):
        model(points)


def test_scores_of_rows_that_fill_up_are_nothing(detector: PointRCNNDetector) -> None:
    with torch.inference_mode():
        output = detector.model(torch.tensor([[[0.0, 1.0, 10.0]]]).repeat(2, 8, 1))
    filling = output.rois[..., 3] == 0
    assert filling.any() and (output.scores[filling] == 0).all()
    assert (output.scores[~filling] > 0).all() and bool(torch.isfinite(output.boxes).all())


def test_a_detector_says_what_it_needs(detector: PointRCNNDetector) -> None:
    assert detector.class_names == ("Car",)
    assert not detector.starts_from_boxes2d and detector.wants_sparse_cloud


def test_both_kinds_are_loaded(street: ObjectDataset, clouds: Path, checkpoint: Path, tmp_path: Path) -> None:
    settings: FrustumTraining = settings_of(
        "detector/frustum_pointnet_v1",
        steps=1,
        batch_size=2,
        points=16,
        object_points=8,
        width=0.125,
        min_box_height_px=8,
    )
    train_frustum_pointnet(settings, street, clouds, ["Car"], TrainingRun(tmp_path / "frustum.pt", 0))
    assert isinstance(load_detector(tmp_path / "frustum.pt"), FrustumDetector)
    assert isinstance(load_detector(checkpoint), PointRCNNDetector)


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    """Parameters of the published size."""
    return PointRCNN().state_dict()


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapped", [True, False], ids=["model_state", "parameters alone"])
def test_published_checkpoints_load(
    prefix: str, wrapped: bool, published: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    counted = bool(prefix)
    state = {prefix + name: value for name, value in published.items() if counted or "num_batches" not in name}
    content = {"model_state": state, "epoch": 70, "it": 9, "optimizer_state": None} if wrapped else state
    torch.save(content, tmp_path / "p")
    trained = PointRCNNDetector.from_checkpoint(tmp_path / "p")
    assert trained.class_names == ("Car",) and trained.max_depth is None and not trained.model.training
    assert (trained.points, trained.score_threshold, trained.nms_threshold) == (16384, 0.3, 0.1)
    expected = PointRCNN()
    expected.load_state_dict(published)
    fold_batch_norm(expected)
    assert expected.state_dict().keys() == trained.model.state_dict().keys()
    for name, value in expected.state_dict().items():
        assert torch.equal(value, trained.model.state_dict()[name]), name
    assert isinstance(load_detector(tmp_path / "p"), PointRCNNDetector)


def without(state: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != name}


def test_weights_of_something_else_are_refused(published: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path, first = tmp_path / "p.pt", "rcnn_net.SA_modules.0.mlps.0.layer0.conv.weight"
    for content, message in (
        ({"model_state": without(published, first)}, rf"p\.pt: {first}: found nothing"),
        ({"model_state": {**published, first: torch.zeros(3, 3)}}, rf"p\.pt: {first}: found \(3, 3\), expected .*; 1 "),
        ({"model_state": {**published, "a.weight": torch.zeros(2)}}, r"a\.weight: found \(2,\), expected no such"),
        ({"state_dict": {"feature.weight": torch.zeros(2)}}, r"p\.pt: .*parameters differ"),
        ({"model_state": [1]}, r"p\.pt: weights: found list"),
        ([1, 2], r"p\.pt: content: found list"),
    ):
        torch.save(content, path)
        with pytest.raises(FormatError, match=message) as raised:
            load_detector(path)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("missing", ["network", "settings", "class_name", "max_depth", "state_dict"])
def test_checkpoints_that_lack_something_are_refused(missing: str, checkpoint: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    if missing == "state_dict":
        del content["state_dict"]
    else:
        del content["arguments"][missing]
    torch.save(content, tmp_path / "car.pt")
    with pytest.raises(FormatError, match=rf"car\.pt: .*{missing}"):
        load_detector(tmp_path / "car.pt")


def test_an_rpn_alone_is_no_detector(checkpoint: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["arguments"]["phase"] = "RPN"
    torch.save(content, tmp_path / "car.rpn.pt")
    with pytest.raises(FormatError, match=r"car\.rpn\.pt: phase: found RPN"):
        load_detector(tmp_path / "car.rpn.pt")
