"""The official C++ tool's numbers on 997 real frames, and ground truth against itself."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from pseudolidar.evaluation import Evaluation, StackedObjects, evaluate, evaluate_folders, read_folders


def assert_official(evaluation: Evaluation, path: Path) -> None:
    expected = json.loads(path.read_text())
    ours = evaluation.to_dict()
    for class_name, views in expected.items():
        for view, metrics in views.items():
            for metric, numbers in metrics.items():
                found = np.array(ours[class_name][view][metric], dtype=float)
                # The official numbers are given to four digits.
                assert np.allclose(found, numbers, atol=1e-4, rtol=0), (class_name, view, metric, found, numbers)


@pytest.fixture(scope="module")
def real_frames(kitti_sample: Path) -> tuple[StackedObjects, StackedObjects]:
    folder = kitti_sample / "evaluation"
    _, labels, results = read_folders(folder / "label_2", folder / "results")
    return labels, results


def test_official_numbers(kitti_sample: Path) -> None:
    folder = kitti_sample / "evaluation"
    evaluation = evaluate_folders(folder / "label_2", folder / "results")
    assert evaluation.frame_count == 997
    assert_official(evaluation, folder / "official.json")


def test_official_numbers_without_limits_up_to_20_m(
    kitti_sample: Path, real_frames: tuple[StackedObjects, StackedObjects]
) -> None:
    evaluation = evaluate(*real_frames, difficulties=("all",), depth_range=(0, 20))
    assert_official(evaluation, kitti_sample / "evaluation" / "official_all_0_20m.json")


@pytest.mark.parametrize(
    ("frames", "depth_range"),
    [(slice(None), limits) for limits in (None, (0, 20), (20, 40), (40, 100))]
    # Fewer than 41 objects.
    + [(slice(0, 25), None), (slice(500, 501), None), (slice(500, 501), (0, 20))],
)
def test_ground_truth_against_itself(
    real_frames: tuple[StackedObjects, StackedObjects], frames: slice, depth_range: tuple[float, float] | None
) -> None:
    labels = real_frames[0][frames]
    results = [dataclasses.replace(truth, score=np.ones(len(truth))) for truth in labels]
    levels = ("easy", "moderate", "hard", "all")
    evaluation = evaluate(labels, results, difficulties=levels, depth_range=depth_range)
    scored = 0
    # Labels hold DontCare lines without an angle: they must not do away with the orientation similarity.
    assert {view for _, view, _ in evaluation.curves} == {"bbox", "aos", "bev", "3d"}
    for (class_name, view, level), curve in evaluation.curves.items():
        for metric in ("AP11", "AP40"):
            ap = evaluation.ap(class_name, view, level, metric)
            assert np.isnan(ap) if curve.object_count == 0 else ap == pytest.approx(100.0), (class_name, view, level)
        scored += curve.object_count > 0
    assert scored > 0
