"""Proposals: quotas of near and far, what fills up, which overlap counts."""

import hypothesis
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pseudolidar.detectors.pointrcnn.rpn import ProposalSettings, propose
from pseudolidar.ops import nms
from tests.ops.box_scenes import random_boxes

SETTINGS = ProposalSettings(nms_pre=40, nms_post=10, nms_threshold=0.5, rotated=False)


def row_of_boxes(depths: Tensor, apart_m: float = 10.0) -> Tensor:
    """(N, 7) boxes side by side at the depths, the first at x = 0."""
    boxes = torch.tensor([0.0, 1.6, 0.0, 1.5, 1.6, 3.9, 0.0]).repeat(len(depths), 1)
    boxes[:, 0] = torch.arange(len(depths)) * apart_m
    boxes[:, 2] = depths
    return boxes


def falling(count: int) -> Tensor:
    return torch.linspace(1, 0, count)


def places(rois: Tensor) -> list[int]:
    """Which of the boxes in a row (10 m apart) each roi is."""
    return [round(float(x) / 10) for x in rois[:, 0]]


def test_near_and_far_have_their_quotas() -> None:
    depths = torch.tensor([10.0, 50.0]).repeat(20)
    (rois,) = propose(row_of_boxes(depths)[None], falling(40)[None], SETTINGS)
    # 7 near ones first, then 3 far ones, each by falling score.
    assert places(rois) == [0, 2, 4, 6, 8, 10, 12, 1, 3, 5]
    assert (rois[:7, 2] == 10).all() and (rois[7:, 2] == 50).all()


def test_scores_rather_than_places_decide_and_ties_keep_their_order() -> None:
    depths = torch.tensor([10.0]).repeat(10)
    scores = torch.tensor([0.1, 0.9, 0.5, 0.5, 0.2, 0.9, -3.0, 0.0, 0.5, 0.3])
    (rois,) = propose(row_of_boxes(depths)[None], scores[None], ProposalSettings(100, 10, 0.5, rotated=False))
    assert places(rois[:7]) == [1, 5, 2, 3, 8, 9, 4]


def test_without_far_boxes_the_next_near_ones_take_their_places() -> None:
    depths = torch.full((60,), 10.0)
    (rois,) = propose(row_of_boxes(depths)[None], falling(60)[None], SETTINGS)
    # 28 of 40 are considered as near; the far quota begins with the 29th.
    assert places(rois) == [0, 1, 2, 3, 4, 5, 6, 28, 29, 30]


def test_without_near_boxes_their_places_stay_empty() -> None:
    (rois,) = propose(row_of_boxes(torch.full((20,), 50.0))[None], falling(20)[None], SETTINGS)
    assert places(rois[:3]) == [0, 1, 2]
    assert (rois[3:] == 0).all()


@pytest.mark.parametrize("depth", [-5.0, 0.0, 80.5, float("nan")])
def test_boxes_behind_or_beyond_are_left_out(depth: float) -> None:
    boxes = row_of_boxes(torch.tensor([depth, 80.0, 40.0]))
    (rois,) = propose(boxes[None], falling(3)[None], SETTINGS)
    # 40 m is still near, 80 m still far.
    assert places(rois[:2]) == [2, 1]
    assert (rois[2:] == 0).all()


def test_fewer_boxes_than_are_kept_leave_zeros() -> None:
    boxes = torch.stack([row_of_boxes(torch.tensor([5.0, 60.0])), row_of_boxes(torch.tensor([-1.0, -1.0]))])
    rois = propose(boxes, falling(2).repeat(2, 1), SETTINGS)
    assert rois.shape == (2, 10, 7)
    torch.testing.assert_close(rois[0, :2], boxes[0])
    assert (rois[0, 2:] == 0).all() and (rois[1] == 0).all()


def test_only_the_best_are_considered() -> None:
    # The first three lie on each other; with 4 near ones considered (70 % of 6) only one more is seen.
    boxes = torch.cat([row_of_boxes(torch.full((1,), 10.0)).repeat(3, 1), row_of_boxes(torch.full((5,), 10.0))[1:]])
    boxes = torch.cat([boxes, row_of_boxes(torch.tensor([60.0]))])
    settings = ProposalSettings(nms_pre=6, nms_post=10, nms_threshold=0.5, rotated=False)
    (rois,) = propose(boxes[None], falling(len(boxes))[None], settings)
    assert [float(z) for z in rois[:3, 2]] == [10, 10, 60]
    assert (rois[3:] == 0).all()


def plain(boxes: Tensor, scores: Tensor, settings: ProposalSettings) -> Tensor:
    """RoIs (nms_post, 7) of one scene, with shapes that depend on the data."""
    best_first = boxes[scores.argsort(descending=True, stable=True)]
    falling = torch.arange(len(boxes), 0, -1.0)
    depth = best_first[:, 2]
    near, far = torch.nonzero((depth > 0) & (depth <= 40))[:, 0], torch.nonzero((depth > 40) & (depth <= 80))[:, 0]
    pre, post = int(settings.nms_pre * 0.7), int(settings.nms_post * 0.7)
    far = far if len(far) else near[pre:]
    rois = torch.zeros(settings.nms_post, 7)
    filled = 0
    for index, most in ((near[:pre], post), (far[: settings.nms_pre - pre], settings.nms_post - post)):
        if most:
            stay = nms(best_first[index], falling[index], settings.nms_threshold, settings.rotated, most)
            rois[filled : filled + len(stay)] = best_first[index[stay]]
            filled += len(stay)
    return rois


@hypothesis.settings(deadline=None, max_examples=100)
@given(
    st.integers(0, 2**31),
    st.integers(1, 3),
    st.integers(1, 120),
    st.sampled_from([40.0, 85.0, 300.0]),
    st.sampled_from([(1, 1), (10, 3), (60, 20), (500, 40)]),
    st.booleans(),
)
def test_all_scenes_at_once_as_each_alone(
    seed: int, scenes: int, count: int, depth: float, most: tuple[int, int], rotated: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.stack([random_boxes(count, generator, 20).float() for _ in range(scenes)])
    boxes[..., 2] = depth * (torch.rand(scenes, count, generator=generator) - 0.1)
    # Few levels: many scores are equal.
    scores = torch.randint(-3, 9, (scenes, count), generator=generator).float()
    settings = ProposalSettings(*most, 0.3, rotated)
    expected = torch.stack([plain(*scene, settings) for scene in zip(boxes, scores, strict=True)])
    assert torch.equal(propose(boxes, scores, settings), expected)


def test_headings_count_where_they_are_asked_for() -> None:
    # The same place, crosswise: a quarter of the union is shared; without headings it is all.
    boxes = row_of_boxes(torch.tensor([10.0, 10.0]), apart_m=0.0)
    boxes[1, 6] = torch.pi / 2
    (upright,) = propose(boxes[None], falling(2)[None], ProposalSettings(100, 4, 0.5, rotated=False))
    (turned,) = propose(boxes[None], falling(2)[None], ProposalSettings(100, 4, 0.5, rotated=True))
    assert (upright[:, 3] > 0).tolist() == [True, False, False, False]
    torch.testing.assert_close(turned[:2], boxes)
