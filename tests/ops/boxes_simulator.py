"""The CUDA kernels for rotated boxes in numba's simulator, against plain PyTorch; `test_boxes_cuda.py` runs this file.

The simulator is chosen for a whole process by NUMBA_ENABLE_CUDASIM=1, before numba is imported.
"""

import numba
import pytest
import torch

from pseudolidar.ops import boxes_cuda as cuda
from pseudolidar.ops import boxes_reference as reference
from pseudolidar.ops.boxes import finite_boxes
from tests.kernels.waiting import WithoutWaiting
from tests.ops.box_scenes import crowded_points, hard_boxes, random_boxes

pytestmark = [
    pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaPerformanceWarning"),
    # Infinite coordinates are among the points.
    pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning"),
]


@pytest.fixture(autouse=True)
def few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator's are slow to start."""
    monkeypatch.setattr(cuda, "_COLLECTING_THREADS", 8)
    monkeypatch.setattr(cuda, "_KEEPING_THREADS", 64)


def test_this_is_the_simulator() -> None:
    assert numba.config.ENABLE_CUDASIM


@pytest.mark.parametrize("name", ["bev_iou", "iou_3d"])
def test_overlaps(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = random_boxes(9, generator), random_boxes(11, generator)
    hard = finite_boxes(hard_boxes())
    for first, second in ((a, b), (a.float(), b.float()), (hard, hard[:12]), (a, b[:0])):
        overlaps = getattr(cuda, name)(first, second)
        torch.testing.assert_close(overlaps, getattr(reference, name)(first, second), rtol=0, atol=1e-6)
    assert (getattr(cuda, name)(a, a).diagonal() == 1).all()


@pytest.mark.parametrize("rotated", [False, True])
def test_suppression(rotated: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    # Beyond one word of a mask, and its last bit.
    boxes = torch.stack([random_boxes(70, generator, 8) for _ in range(2)])
    few = boxes[:1, :1].repeat(1, 66, 1)
    few[0, 63:65, 0] += 50
    few[0, 65, 0] -= 50
    hard = finite_boxes(hard_boxes())[None]
    for scenes, numbers, threshold, count in (
        (boxes, (70, 65), 0.1, 70),
        (boxes, (64, 0), 0.5, 5),
        (boxes, (70, 70), 0.5, 0),
        (few, (66,), 0.5, 66),
        (hard, (hard.shape[1],), 0.3, 99),
        (boxes[:, :0], (0, 0), 0.5, 3),
    ):
        number = torch.tensor(numbers)
        expected = reference.nms_best_first(scenes, number, threshold, rotated, count)
        with WithoutWaiting():
            found = cuda.nms_best_first(scenes, number, threshold, rotated, count)
        assert torch.equal(found, expected)
    assert cuda.nms_best_first(few, torch.tensor([66]), 0.5, rotated, 5).tolist() == [[0, 63, 65, -1, -1]]


def test_points_and_regions() -> None:
    generator = torch.Generator().manual_seed(2)
    points = crowded_points(2, 130, generator)
    boxes = torch.stack([torch.cat((random_boxes(6, generator, 6), hard_boxes())).float() for _ in range(2)])
    labels = cuda.points_in_boxes(points, boxes)
    assert torch.equal(labels, reference.points_in_boxes(points, boxes))
    assert len(labels.unique()) > 3
    for count in (1, 5, 200):
        with WithoutWaiting():
            found = cuda.roi_pool_points(points, boxes, count)
        for ours, expected in zip(found, reference.roi_pool_points(points, boxes, count), strict=True):
            assert torch.equal(ours, expected)


def test_regions_of_more_points_than_threads_take_at_once() -> None:
    # 17 words of a mask and a part of one.
    points = crowded_points(1, 1140, torch.Generator().manual_seed(4))
    boxes = random_boxes(2, torch.Generator().manual_seed(5), 3).float()[None]
    boxes[0, 0, 3:6] = 100
    for count in (30, 1200):
        found, expected = cuda.roi_pool_points(points, boxes, count), reference.roi_pool_points(points, boxes, count)
        assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])


def test_no_points_and_no_boxes() -> None:
    points, boxes = torch.ones(2, 0, 3), torch.ones(2, 3, 7)
    assert cuda.points_in_boxes(points, boxes).shape == (2, 0)
    index, found = cuda.roi_pool_points(points, boxes, 4)
    assert index.tolist() == [[[0] * 4] * 3] * 2
    assert not found.any()
    assert cuda.roi_pool_points(torch.ones(2, 5, 3), boxes[:, :0], 4)[0].shape == (2, 0, 4)
    assert cuda.points_in_boxes(torch.ones(2, 5, 3), boxes[:, :0]).tolist() == [[-1] * 5] * 2
