"""Points in rotated boxes: kernels against plain PyTorch to the last bit; faces, repetition, NaN, bad arguments."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pseudolidar.ops import boxes_reference as reference
from pseudolidar.ops import points_in_boxes, roi_pool_points
from tests.ops.box_scenes import crowded_points, hard_boxes, random_boxes


def scene(seed: int, scenes: int, number: int, boxes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    points = crowded_points(scenes, number, generator)
    return points, torch.stack([random_boxes(boxes, generator, 6).float() for _ in range(scenes)])


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**31),
    scenes=st.integers(1, 3),
    number=st.sampled_from([0, 1, 63, 64, 65, 500]),
    boxes=st.integers(0, 20),
    count=st.sampled_from([1, 3, 64, 600]),
)
def test_kernels_equal_the_reference(seed: int, scenes: int, number: int, boxes: int, count: int) -> None:
    points, boxes_of_scenes = scene(seed, scenes, number, boxes)
    labels = points_in_boxes(points, boxes_of_scenes)
    assert torch.equal(labels, reference.points_in_boxes(points, boxes_of_scenes))
    index, found = roi_pool_points(points, boxes_of_scenes, count)
    expected_index, expected_found = reference.roi_pool_points(points, boxes_of_scenes, count)
    assert torch.equal(index, expected_index)
    assert torch.equal(found, expected_found)


def test_threads() -> None:
    # Enough points and boxes that three threads have work.
    points, boxes = scene(0, 2, 16_384, 60)
    labels, regions = reference.points_in_boxes(points, boxes), reference.roi_pool_points(points, boxes, 128)
    assert (labels >= 0).float().mean() > 0.2
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert torch.equal(points_in_boxes(points, boxes), labels)
            for ours, expected in zip(roi_pool_points(points, boxes, 128), regions, strict=True):
                assert torch.equal(ours, expected)
    finally:
        torch.set_num_threads(before)


def test_faces_belong_to_a_box() -> None:
    box = torch.tensor([[[1.0, 2.0, 10.0, 2.0, 1.0, 4.0, 0.0]]])
    inside = [(-1.0, 2.0, 10.5), (3.0, 0.0, 9.5), (1.0, 1.0, 10.0)]
    outside = [(-1.001, 2.0, 10.5), (1.0, 2.001, 10.0), (1.0, -0.001, 10.0), (1.0, 1.0, 10.501), (math.nan, 1.0, 10.0)]
    labels = points_in_boxes(torch.tensor([inside + outside]), box)
    assert labels.tolist() == [[0] * 3 + [-1] * 5]


@pytest.mark.parametrize(("ry", "end"), [(0.0, (2.0, 0.0)), (math.pi / 2, (0.0, -2.0)), (math.pi / 4, (1.4, -1.4))])
def test_length_points_along_the_heading(ry: float, end: tuple[float, float]) -> None:
    box = torch.tensor([[[5.0, 1.0, 20.0, 2.0, 0.2, 4.0, ry]]])
    tip = torch.tensor([5 + 0.99 * end[0], 0.0, 20 + 0.99 * end[1]])
    mirrored = torch.tensor([5 - 0.99 * end[1], 0.0, 20 + 0.99 * end[0]])
    assert points_in_boxes(torch.stack((tip, mirrored))[None], box).tolist() == [[0, -1]]


def test_the_lowest_box_and_repetition() -> None:
    points = torch.tensor([[[0.0, 0.0, z] for z in (9.0, 5.0, 5.1, 9.0, 5.2, 7.0)]])
    small, large, empty = [0.0, 1, 5, 2, 2, 2, 0], [0.0, 1, 6, 2, 4, 4, 0], [50.0, 1, 6, 2, 4, 4, 0]
    boxes = torch.tensor([[empty, small, large]])
    assert points_in_boxes(points, boxes).tolist() == [[-1, 1, 1, -1, 1, 2]]
    assert points_in_boxes(points, boxes.flip(1)).tolist() == [[-1, 0, 0, -1, 0, 0]]
    index, found = roi_pool_points(points, boxes, 5)
    assert index.tolist() == [[[0] * 5, [1, 2, 4, 1, 2], [1, 2, 4, 5, 1]]]
    assert found.tolist() == [[0, 3, 4]]
    index, found = roi_pool_points(points, boxes, 2)
    assert index.tolist() == [[[0, 0], [1, 2], [1, 2]]]
    assert found.tolist() == [[0, 2, 2]]


def test_boxes_that_hold_nothing() -> None:
    boxes = hard_boxes().float()
    centre = boxes[0, :3] - torch.tensor([0, 0.1, 0])
    index, found = roi_pool_points(centre.repeat(1, 4, 1), boxes[None], 3)
    holds = found[0] > 0
    # Turned, smaller and larger ones around one centre; a negative length or width counts without its sign.
    assert holds[[0, 1, 2, 3, 9, 11, 12]].all()
    # Of negative height, flat, of zeros, with NaN or an infinite angle.
    assert not holds[[13, 14, 15, 16, 17, 18, 19]].any()
    assert not index[0, 13:20].any()
    assert holds[20]  # infinitely long


def test_refused() -> None:
    points, boxes = torch.ones(2, 5, 3), torch.ones(2, 4, 7)
    for call in (points_in_boxes, lambda p, b: roi_pool_points(p, b, 3)):
        with pytest.raises(ValueError, match=r"points: found shape \(5, 3\), expected \(B, N, 3\)"):
            call(points[0], boxes)
        with pytest.raises(ValueError, match=r"points: found torch\.float64"):
            call(points.double(), boxes)
        with pytest.raises(ValueError, match=r"boxes: found torch\.float64"):
            call(points, boxes.double())
        with pytest.raises(ValueError, match=r"boxes: found shape \(4, 7\), expected \(B, M, 7\)"):
            call(points, boxes[0])
        with pytest.raises(ValueError, match="boxes: found 1 scenes, expected 2"):
            call(points, boxes[:1])
        with pytest.raises(ValueError, match=r"boxes: found .* meta"):
            call(points, boxes.to("meta"))
    with pytest.raises(ValueError, match="count: found 0"):
        roi_pool_points(points, boxes, 0)


def test_as_custom_operators() -> None:
    points, boxes = scene(3, 2, 70, 5)
    torch.library.opcheck(torch.ops.pseudolidar.points_in_boxes.default, (points, boxes))
    torch.library.opcheck(torch.ops.pseudolidar.roi_pool_points.default, (points, boxes, 6))
    # Not contiguous, and with a gradient that ends here.
    turned = points.transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
    index, _ = roi_pool_points(turned, boxes.flip(1), 6)
    assert torch.equal(index, roi_pool_points(points, boxes, 6)[0].flip(1))
    assert not points_in_boxes(turned, boxes).requires_grad
