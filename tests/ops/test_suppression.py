"""Non-maximum suppression: kernels against plain PyTorch and torchvision; ties, limits, NaN, bad arguments."""

import math

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.library import opcheck

from pseudolidar.ops import boxes_reference as reference
from pseudolidar.ops import nms, nms_best_first
from pseudolidar.ops.boxes import finite_boxes
from tests.ops.box_scenes import hard_boxes, random_boxes


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    number=st.integers(0, 150),
    extent=st.sampled_from([2.0, 10.0, 40.0]),
    threshold=st.sampled_from([0.0, 0.1, 0.5, 0.85, 1.0]),
    rotated=st.booleans(),
    max_kept=st.sampled_from([None, 1, 7, 64, 500]),
)
def test_kernels_equal_the_reference(
    seed: int, number: int, extent: float, threshold: float, rotated: bool, max_kept: int | None
) -> None:
    generator = torch.Generator().manual_seed(seed)
    boxes = random_boxes(number, generator, extent)
    # Few levels: many scores are equal.
    scores = torch.randint(0, 30, (number,), generator=generator) / 10 - 1
    kept = nms(boxes, scores, threshold, rotated, max_kept)
    order, all_of_them = reference.by_score(scores), torch.tensor([number])
    stay = reference.nms_best_first(boxes[order][None], all_of_them, threshold, rotated, max_kept or number)[0]
    assert torch.equal(kept, order[stay[stay >= 0]])


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    numbers=st.lists(st.integers(0, 70), max_size=4),
    threshold=st.sampled_from([0.0, 0.1, 0.8]),
    rotated=st.booleans(),
    count=st.sampled_from([0, 1, 7, 100]),
)
def test_several_scenes(seed: int, numbers: list[int], threshold: float, rotated: bool, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    boxes = random_boxes(70 * len(numbers), generator, 10).view(len(numbers), 70, 7)
    boxes[:, ::9, 2] = math.nan
    number = torch.tensor(numbers, dtype=torch.int64)
    kept = nms_best_first(boxes, number, threshold, rotated, count)
    assert kept.shape == (len(numbers), count) and kept.dtype == torch.int64
    assert torch.equal(kept, reference.nms_best_first(finite_boxes(boxes), number, threshold, rotated, count))
    falling = torch.linspace(1, 0, 70)
    for scene, of_scene in enumerate(numbers if count else []):
        alone = nms(boxes[scene, :of_scene], falling[:of_scene], threshold, rotated, count)
        assert kept[scene].tolist() == [*alone.tolist(), *[-1] * (count - len(alone))]


@pytest.mark.parametrize("number", [1, 64, 65, 700])
def test_axis_aligned_like_torchvision(number: int) -> None:
    generator = torch.Generator().manual_seed(number)
    boxes, scores = random_boxes(number, generator, 20), torch.rand(number, generator=generator)
    half = boxes[:, [5, 4]] / 2
    corners = torch.cat((boxes[:, [0, 2]] - half, boxes[:, [0, 2]] + half), dim=1)
    for threshold in (0.1, 0.8):
        kept = torchvision.ops.nms(corners, scores.double(), threshold)
        assert torch.equal(nms(boxes, scores, threshold, rotated=False), kept)
        assert torch.equal(nms(boxes, scores, threshold, rotated=False, max_kept=9), kept[:9])
    assert len(kept) < number or number == 1


@pytest.mark.parametrize("rotated", [False, True])
def test_ties_and_the_threshold_itself(rotated: bool) -> None:
    # The second covers half of the first: exactly 0.5. The third is the first again.
    boxes = torch.tensor([[0.0, 0, 10, 1, 2, 4, 0], [0.0, 0, 10, 1, 2, 2, 0], [0.0, 0, 10, 1, 2, 4, 0]])
    scores = torch.ones(3)
    assert nms(boxes, scores, 0.5, rotated).tolist() == [0, 1]
    assert nms(boxes, scores, 0.49, rotated).tolist() == [0]
    assert nms(boxes, scores, 1.0, rotated).tolist() == [0, 1, 2]
    assert nms(boxes, torch.tensor([1.0, 1.0, 2.0]), 0.5, rotated).tolist() == [2, 1]


@pytest.mark.parametrize("rotated", [False, True])
def test_numbers_that_are_not_finite(rotated: bool) -> None:
    boxes = torch.zeros(5, 7)
    boxes[:, 3:6] = 1
    boxes[:, 0] = torch.arange(5) * 10
    scores = torch.tensor([math.nan, -math.inf, 0.5, math.nan, math.inf])
    assert nms(boxes, scores, 0.1, rotated).tolist() == [4, 2, 1, 0, 3]
    # A box with NaN neither suppresses nor is suppressed.
    boxes = boxes[:1].repeat(4, 1)
    boxes[1, 5] = boxes[2, 0] = math.nan
    assert nms(boxes, torch.tensor([0.1, 0.9, 0.8, 0.7]), 0.1, rotated).tolist() == [1, 2, 3]
    hard = hard_boxes()
    kept = nms(hard, torch.zeros(len(hard)), 0.3, rotated).tolist()
    assert kept[0] == 0
    assert 1 not in kept
    assert set(range(14, 21)) <= set(kept)


def test_refused() -> None:
    boxes, scores = torch.ones(2, 7), torch.ones(2)
    with pytest.raises(ValueError, match=r"scores: found shape \(1,\), expected \(2,\)"):
        nms(boxes, scores[:1], 0.5, True)
    with pytest.raises(ValueError, match=r"scores: found torch\.int64"):
        nms(boxes, scores.long(), 0.5, True)
    with pytest.raises(ValueError, match=r"scores: found .* meta"):
        nms(boxes, scores.to("meta"), 0.5, True)
    with pytest.raises(ValueError, match=r"boxes: found shape \(2, 5\)"):
        nms(boxes[:, :5], scores, 0.5, True)
    for threshold in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="threshold: found"):
            nms(boxes, scores, threshold, True)
    with pytest.raises(ValueError, match="max_kept: found 0"):
        nms(boxes, scores, 0.5, True, 0)
    with pytest.raises(ValueError, match=r"number: found shape \(2,\), expected \(1,\)"):
        nms_best_first(boxes[None], torch.ones(2, dtype=torch.int64), 0.5, True, 1)


def test_as_custom_operator() -> None:
    boxes = random_boxes(9, torch.Generator().manual_seed(0))
    scores = torch.arange(9.0, requires_grad=True)
    for rotated in (False, True):
        opcheck(torch.ops.pseudolidar.nms_best_first.default, (boxes[None], torch.tensor([9]), 0.5, rotated, 4))
        assert not nms(boxes, scores, 0.5, rotated).requires_grad
    # bfloat16 scores, as a network under autocast gives them.
    assert nms(boxes, scores.bfloat16(), 1.0, True, 1).tolist() == [8]
