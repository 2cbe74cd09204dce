"""Rotated boxes on the GPU: kernels against plain PyTorch; one stream after another, many callers, large matrices."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.library import opcheck

from pseudolidar.kernels.cuda import cuda_kernels_run
from pseudolidar.ops import bev_iou, bev_iou_axis_aligned, iou_3d, nms, nms_best_first, points_in_boxes, roi_pool_points
from pseudolidar.ops import boxes_reference as reference
from tests.ops.box_scenes import crowded_points, hard_boxes, random_boxes

OVERLAPS = {"bev_iou": bev_iou, "bev_iou_axis_aligned": bev_iou_axis_aligned, "iou_3d": iou_3d}


def test_the_kernels_are_what_is_tested() -> None:
    assert cuda_kernels_run()


@pytest.mark.parametrize("name", OVERLAPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_overlaps(name: str, dtype: torch.dtype) -> None:
    overlap, generator = OVERLAPS[name], torch.Generator().manual_seed(0)
    a, b = random_boxes(130, generator).to(dtype), random_boxes(211, generator).to(dtype)
    hard = hard_boxes().to(dtype)
    for first, second in ((a, b), (hard, hard), (a[:0], b), (a, b[:0])):
        found = overlap(first.cuda(), second.cuda())
        assert found.dtype == dtype and found.is_cuda
        torch.testing.assert_close(
            found.cpu(), overlap(first, second), rtol=0, atol=1e-9 if dtype.itemsize == 8 else 1e-6
        )
    assert (overlap(a.cuda(), a.cuda()).diagonal() == 1).all()
    assert float(overlap(b.cuda(), b.cuda()).max()) <= 1


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 2**31),
    number=st.sampled_from([0, 1, 63, 64, 65, 700]),
    rotated=st.booleans(),
    threshold=st.sampled_from([0.0, 0.1, 0.5, 0.8, 1.0]),
    max_kept=st.sampled_from([1, 5, 64, 10_000]),
)
def test_suppression(seed: int, number: int, rotated: bool, threshold: float, max_kept: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    boxes, scores = random_boxes(number, generator, 20), torch.randint(0, 50, (number,), generator=generator).float()
    scores[3::9] = torch.nan
    kept = nms(boxes.cuda(), scores.cuda(), threshold, rotated, max_kept)
    assert kept.cpu().tolist() == nms(boxes, scores, threshold, rotated, max_kept).tolist()


@pytest.mark.parametrize("rotated", [False, True])
def test_suppression_in_several_scenes(rotated: bool) -> None:
    boxes = random_boxes(3 * 700, torch.Generator().manual_seed(5), 20).view(3, 700, 7)
    number = torch.tensor([700, 0, 65])
    for count in (0, 9, 800):
        found = nms_best_first(boxes.cuda(), number.cuda(), 0.3, rotated, count)
        assert torch.equal(found.cpu(), nms_best_first(boxes, number, 0.3, rotated, count))


@pytest.mark.parametrize("rotated", [False, True])
def test_suppression_of_hard_boxes_and_of_many(rotated: bool) -> None:
    hard = hard_boxes()
    order = torch.arange(len(hard)).float()
    assert torch.equal(nms(hard.cuda(), order.cuda(), 0.3, rotated).cpu(), nms(hard, order, 0.3, rotated))
    generator = torch.Generator().manual_seed(3)
    # As many as PointRCNN considers; nearly all stay, or few.
    for extent in (4000.0, 40.0):
        boxes, scores = random_boxes(9000, generator, extent).float(), torch.randn(9000, generator=generator)
        for threshold, most in ((0.8, 9000), (0.1, 100)):
            found = nms(boxes.cuda(), scores.cuda(), threshold, rotated, most).cpu()
            assert torch.equal(found, nms(boxes, scores, threshold, rotated, most))


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 2**31),
    scenes=st.integers(1, 3),
    number=st.sampled_from([0, 1, 63, 64, 65, 5000]),
    boxes=st.integers(0, 60),
    count=st.sampled_from([1, 3, 64, 600]),
)
def test_points_and_regions(seed: int, scenes: int, number: int, boxes: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    points = crowded_points(scenes, number, generator)
    of_scenes = torch.stack([random_boxes(boxes, generator, 6).float() for _ in range(scenes)])
    assert torch.equal(points_in_boxes(points.cuda(), of_scenes.cuda()).cpu(), points_in_boxes(points, of_scenes))
    found, expected = roi_pool_points(points.cuda(), of_scenes.cuda(), count), roi_pool_points(points, of_scenes, count)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours.cpu(), theirs)


def test_any_strides_and_gradients_that_end_here() -> None:
    generator = torch.Generator().manual_seed(0)
    points, boxes = crowded_points(2, 300, generator).cuda(), random_boxes(20, generator, 6).float().cuda()
    turned = points.transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
    every_second = boxes.repeat_interleave(2, dim=0)[::2].requires_grad_()
    pair = torch.stack([every_second, every_second])
    assert torch.equal(points_in_boxes(turned, pair), points_in_boxes(points, torch.stack([boxes, boxes])))
    assert torch.equal(bev_iou(every_second, boxes.flip(0).flip(0)), bev_iou(boxes, boxes))
    scores = torch.randn(40, generator=generator).cuda()[::2].requires_grad_()
    assert torch.equal(nms(every_second, scores, 0.3, True), nms(boxes, scores.detach().clone(), 0.3, True))


def test_as_custom_operators() -> None:
    generator = torch.Generator().manual_seed(0)
    points, boxes = crowded_points(2, 70, generator).cuda(), random_boxes(10, generator, 6).float().cuda()
    ops, pair = torch.ops.pseudolidar, torch.stack([boxes, boxes.flip(0)])
    opcheck(ops.bev_iou.default, (boxes, boxes[:3]))
    opcheck(ops.iou_3d.default, (boxes, boxes[:3]))
    opcheck(ops.nms_best_first.default, (pair, torch.tensor([10, 4]).cuda(), 0.3, True, 10))
    opcheck(ops.points_in_boxes.default, (points, pair))
    opcheck(ops.roi_pool_points.default, (points, pair, 6))


def test_more_pairs_than_an_int32_counts() -> None:
    generator = torch.Generator().manual_seed(1)
    boxes = random_boxes(46_400, generator, 3000).float()
    overlaps = bev_iou(boxes.cuda(), boxes.cuda())
    assert overlaps.numel() > 2**31
    last: Tensor = overlaps[-50:].cpu()
    torch.testing.assert_close(last, reference.bev_iou(boxes[-50:], boxes), rtol=0, atol=1e-5)
