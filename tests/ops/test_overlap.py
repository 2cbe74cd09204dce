"""Overlaps of rotated boxes: kernels against plain PyTorch, shapely and the evaluation; hard cases; bad arguments."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pseudolidar import evaluation, ops
from pseudolidar.ops import boxes_reference as reference
from pseudolidar.ops.boxes import finite_boxes
from tests.evaluation.official_tool import common_area, footprint
from tests.ops.box_scenes import BOX, hard_boxes, random_boxes

OPERATIONS = (ops.bev_iou, ops.iou_3d, ops.bev_iou_axis_aligned)


def by_shapely(a: Tensor, b: Tensor) -> Tensor:
    overlaps = torch.zeros(len(a), len(b), dtype=torch.float64)
    for i, first in enumerate(a.numpy()):
        for j, second in enumerate(b.numpy()):
            common = common_area(footprint(first), footprint(second))
            overlaps[i, j] = common / (first[4] * first[5] + second[4] * second[5] - common)
    return overlaps


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**31), threads=st.integers(1, 3))
def test_kernels_equal_the_reference_and_the_evaluation(seed: int, threads: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = random_boxes(131, generator), random_boxes(129, generator)
    a[:20] = b[:20]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ground, solid = ops.bev_iou(a, b), ops.iou_3d(a, b)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(ground, reference.bev_iou(a, b), rtol=0, atol=1e-9)
    torch.testing.assert_close(solid, reference.iou_3d(a, b), rtol=0, atol=1e-9)
    np.testing.assert_array_equal(ground, evaluation.bev_iou(a, b))
    np.testing.assert_allclose(solid, evaluation.iou_3d(a, b), rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**31))
def test_both_like_shapely(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = random_boxes(12, generator), random_boxes(10, generator)
    b[:3] = a[:3]
    b[1, 6] += math.pi
    b[2, 6] += math.pi / 2
    expected = by_shapely(a, b)
    torch.testing.assert_close(ops.bev_iou(a, b), expected, rtol=0, atol=1e-7)
    torch.testing.assert_close(reference.bev_iou(a, b), expected, rtol=0, atol=1e-7)
    a[:, 6] = b[:, 6] = 0
    torch.testing.assert_close(ops.bev_iou_axis_aligned(a, b), by_shapely(a, b), rtol=0, atol=1e-7)


@pytest.mark.parametrize("shift", [0.0, 1e5])
def test_hard_cases(shift: float) -> None:
    boxes = hard_boxes()
    boxes[:, 0] += shift
    finite = finite_boxes(boxes)
    for operation in OPERATIONS:
        name = operation.__name__
        overlaps = operation(boxes, boxes)
        assert ((overlaps >= 0) & (overlaps <= 1)).all()
        torch.testing.assert_close(overlaps, getattr(reference, name)(finite, finite), rtol=0, atol=1e-9)
        torch.testing.assert_close(overlaps, overlaps.T, rtol=0, atol=1e-12)
        assert not overlaps[:, 14:21].any() and not overlaps[14:21].any()
    ground, solid = ops.bev_iou(boxes, boxes), ops.iou_3d(boxes, boxes)
    width, length = BOX[4:6]
    expected = torch.tensor([1, 1, 1, width / (2 * length - width), 0, 0, 0, 0.25, 1, 1])
    torch.testing.assert_close(ground[0, :10], expected.double(), rtol=0, atol=1e-7 if shift == 0 else 1e-5)
    assert ground[0, 12] == 1
    assert ground[0, 13] == 1
    # One box has its bottom where the other has its top; one has no height but a negative one.
    assert solid[0, 8] == pytest.approx(0, abs=1e-12)
    assert solid[0, 13] == 0
    assert ground[21, 22] == pytest.approx(1, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31), shift=st.sampled_from([0.0, 70.0, 1e6]), kind=st.sampled_from([0, 1, 2]))
def test_a_box_and_itself(seed: int, shift: float, kind: int) -> None:
    boxes = random_boxes(40, torch.Generator().manual_seed(seed)) + shift
    overlaps = OPERATIONS[kind](boxes, boxes)
    assert (overlaps.diagonal() == 1).all()
    assert (overlaps <= 1).all()
    assert (OPERATIONS[kind](boxes.float(), boxes.float()).diagonal() == 1).all()


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (0, 0)])
def test_no_boxes(operation: object, sizes: tuple[int, int]) -> None:
    assert callable(operation)
    overlaps = operation(torch.ones(sizes[0], 7), torch.ones(sizes[1], 7))
    assert overlaps.shape == sizes
    assert overlaps.dtype == torch.float32


@pytest.mark.parametrize("operation", OPERATIONS)
def test_refused(operation: object) -> None:
    assert callable(operation)
    boxes = torch.ones(2, 7)
    with pytest.raises(ValueError, match=r"a: found shape \(2, 6\), expected \(N, 7\)"):
        operation(boxes[:, :6], boxes)
    with pytest.raises(ValueError, match=r"b: found shape \(7,\)"):
        operation(boxes, boxes[0])
    with pytest.raises(ValueError, match=r"b: found torch\.float64, expected torch\.float32"):
        operation(boxes, boxes.double())
    with pytest.raises(ValueError, match=r"a: found torch\.float16"):
        operation(boxes.half(), boxes.half())
    with pytest.raises(ValueError, match=r"b: found .* meta"):
        operation(boxes, boxes.to("meta"))


@pytest.mark.parametrize("name", ["bev_iou", "iou_3d", "bev_iou_axis_aligned"])
def test_as_custom_operator(name: str) -> None:
    boxes = random_boxes(6, torch.Generator().manual_seed(0))
    for arguments in ((boxes, boxes[:4]), (boxes.float(), boxes.float()), (boxes[:0], boxes)):
        torch.library.opcheck(getattr(torch.ops.pseudolidar, name).default, arguments)
    boxes.requires_grad_()
    assert not getattr(ops, name)(boxes, boxes).requires_grad
