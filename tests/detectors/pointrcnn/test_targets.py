"""What the two stages should say: points labelled, rois sampled by quota, moved and changed."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pseudolidar.detectors.pointrcnn.box_coder import canonical
from pseudolidar.detectors.pointrcnn.targets import RoISampling, RoITargets, augment_rois, label_points, sample_rois
from pseudolidar.ops import iou_3d, points_in_boxes
from tests.detectors.pointrcnn.tiny import PUBLISHED

CAR = torch.tensor([2.0, 1.6, 20.0, 1.5, 1.6, 3.9, 0.4])
SAMPLING = dataclasses.replace(PUBLISHED.sampling, rois=20)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shifted(box: Tensor, *along_m: float) -> Tensor:
    """Copies (N, 7) of a box, moved along its length."""
    boxes = box.repeat(len(along_m), 1)
    distance = torch.tensor(along_m)
    boxes[:, 0] += box[6].cos() * distance
    boxes[:, 2] -= box[6].sin() * distance
    return boxes


FOREGROUND = shifted(CAR, 0.0, 0.1, -0.1, 0.2, -0.2, 0.3)  # overlap over 0.85
HARD = shifted(CAR, 2.0, -2.0, 2.5)  # 0.2 to 0.35
EASY = shifted(CAR, 10.0, -10.0, 15.0, 20.0)  # none
BETWEEN = shifted(CAR, 1.3)  # 0.5


def sampled(proposals: Tensor, boxes: Tensor, sampling: RoISampling = SAMPLING, seed: int = 0) -> RoITargets:
    return sample_rois(proposals[None], boxes[None], sampling, generator(seed))


def test_points_in_on_and_around_an_object() -> None:
    box = torch.tensor([[[0.0, 1.0, 10.0, 2.0, 2.0, 4.0, 0.0]]])
    points = torch.tensor([[
        [0.0, 0.0, 10.0], [1.9, 0.9, 10.9], [2.0, 1.0, 11.0],
        [2.1, 0.0, 10.0], [0.0, 1.1, 10.0], [0.0, -1.1, 10.0], [0.0, 0.0, 8.9],
        [2.3, 0.0, 10.0], [0.0, 1.3, 10.0], [0.0, -1.3, 10.0], [0.0, 0.0, 8.7],
    ]])  # fmt: skip
    labels = label_points(points, box)
    assert labels.foreground[0].tolist() == [1.0] * 3 + [-1.0] * 4 + [0.0] * 4
    torch.testing.assert_close(labels.box, box[0].expand(3, 7))


def test_each_point_has_the_object_of_its_own_scene() -> None:
    boxes = torch.stack([torch.stack([CAR, CAR + torch.tensor([9.0, 0, 0, 0, 0, 0, 0])]), torch.zeros(2, 7)])
    middles = boxes[0, :, :3] - torch.tensor([0.0, 0.7, 0.0])
    points = torch.stack([middles.flip(0), torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.1, 0.1]])])
    labels = label_points(points, boxes)
    # Rows of zeros are no objects, and nothing is around them either.
    assert labels.foreground.tolist() == [[1.0, 1.0], [0.0, 0.0]]
    torch.testing.assert_close(labels.box, boxes[0].flip(0))


def test_a_scene_without_objects_is_background() -> None:
    labels = label_points(torch.zeros(2, 5, 3), torch.zeros(2, 0, 7))
    assert (labels.foreground == 0).all() and labels.box.shape == (0, 7)


def test_the_quotas_are_kept() -> None:
    # Twelve of foreground are there, of which half the rois, 10, are taken; 80 % of the rest is hard.
    sampling = dataclasses.replace(PUBLISHED.sampling, rois=20, regression_iou=0.6)
    labels = sampled(torch.cat([FOREGROUND, FOREGROUND, HARD, EASY]), CAR[None], sampling)
    assert labels.rois.shape == (1, 20, 7)
    distance = torch.linalg.vector_norm(labels.rois[0, :, :3] - CAR[:3], dim=1)
    # Noise moves by at most 1 m an axis.
    assert int((distance < 1.0).sum()) >= 10 and int((distance[:10] < 2.1).sum()) == 10
    assert int((distance[10:18] < 2.5 + 1.8).sum()) == 8 and int((distance[18:] > 8).sum()) == 2
    assert (labels.confidence[0, 18:] == 0).all() and not labels.refined[0, 18:].any()
    torch.testing.assert_close(labels.boxes[0], CAR.expand(20, 7))


def test_foreground_is_taken_once_each_as_long_as_there_is_enough() -> None:
    still = dataclasses.replace(PUBLISHED.sampling, rois=8, foreground_fraction=0.5)
    many = torch.cat([shifted(CAR, *torch.linspace(-0.3, 0.3, 4).tolist()), EASY])
    labels = sampled(many, CAR[None], still)
    # Unmoved ones among the four are different from each other.
    unmoved = [row for row in labels.rois[0, :4].tolist() if row in many.tolist()]
    assert len({tuple(row) for row in unmoved}) == len(unmoved)


@pytest.mark.parametrize("seed", range(5))
def test_noise_keeps_foreground_foreground(seed: int) -> None:
    labels = sampled(torch.cat([FOREGROUND, EASY]), CAR[None], dataclasses.replace(PUBLISHED.sampling, rois=40), seed)
    overlap = iou_3d(labels.rois[0], CAR[None])[:, 0]
    # Six are there of at most 20; drawn anew ten times, one draw in five being no noise, hardly any is lost.
    assert int((overlap[:6] >= 0.55).sum()) >= 5
    torch.testing.assert_close(labels.refined[0], overlap >= 0.55)
    torch.testing.assert_close(labels.confidence[0] == 1, overlap >= 0.6)
    torch.testing.assert_close(labels.confidence[0] == 0, overlap < 0.45)


def test_noise_is_there_and_limited() -> None:
    labels = sampled(FOREGROUND[:1], CAR[None], dataclasses.replace(PUBLISHED.sampling, rois=200))
    change = labels.rois[0] - CAR
    assert 0.05 < float((change == 0).all(dim=1).float().mean()) < 0.4
    assert float(change[:, :3].abs().max()) <= 1.0
    assert float((labels.rois[0, :, 3:6] / CAR[3:6] - 1).abs().max()) <= 0.15 + 1e-5
    assert float(change[:, 6].abs().max()) <= math.pi / 3 + 1e-5


@pytest.mark.parametrize(
    ("proposals", "foreground"),
    [(FOREGROUND, 20), (HARD, 0), (EASY, 0), (torch.cat([HARD, EASY]), 0), (BETWEEN, 0)],
    ids=["foreground alone", "hard alone", "easy alone", "background alone", "between alone"],
)
def test_kinds_that_are_missing_are_made_up_for(proposals: Tensor, foreground: int) -> None:
    labels = sampled(proposals, CAR[None])
    assert labels.rois.shape == (1, 20, 7) and bool(torch.isfinite(labels.rois).all())
    overlap = iou_3d(labels.rois[0], CAR[None])[:, 0]
    torch.testing.assert_close(labels.confidence[0] == 1, overlap >= 0.6)
    if foreground:
        assert int(labels.refined.sum()) >= foreground - 2
    elif (overlap < 0.45).all():
        assert (labels.confidence == 0).all()


def test_without_objects_all_regions_are_background() -> None:
    labels = sampled(torch.cat([FOREGROUND, torch.zeros(3, 7)]), torch.zeros(2, 7))
    assert (labels.confidence == 0).all() and not labels.refined.any() and (labels.boxes == 0).all()
    assert (labels.rois[..., 3] > 0).all()


def test_without_proposals_the_objects_are_the_regions() -> None:
    labels = sampled(torch.zeros(4, 7), torch.stack([CAR, torch.zeros(7)]))
    assert float(iou_3d(labels.rois[0], CAR[None]).min()) > 0.1
    assert int((labels.confidence == 1).sum()) >= 16


def test_without_both_nothing_counts() -> None:
    labels = sampled(torch.zeros(4, 7), torch.zeros(2, 7))
    assert (labels.confidence == -1).all() and not labels.refined.any() and (labels.rois == 0).all()


def test_the_generator_decides() -> None:
    proposals = torch.cat([FOREGROUND, HARD, EASY])
    one, two, three = (sampled(proposals, CAR[None], seed=seed) for seed in (1, 1, 2))
    torch.testing.assert_close(one.rois, two.rois, rtol=0, atol=0)
    assert not torch.equal(one.rois, three.rois)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31), st.integers(0, 6), st.integers(0, 3))
def test_labels_are_what_the_overlap_says(seed: int, count: int, objects: int) -> None:
    uniform = torch.rand(count + objects, 7, generator=generator(seed)) * 2 - 1
    all_boxes = CAR + uniform * torch.tensor([3.0, 0.3, 3.0, 0.2, 0.3, 0.5, 3.0])
    truth = torch.cat([all_boxes[:objects], torch.zeros(1, 7)])
    labels = sampled(torch.cat([all_boxes[objects:], torch.zeros(1, 7)]), truth, seed=seed)
    if not objects:
        assert not labels.refined.any()
        return
    overlap = iou_3d(labels.rois[0], labels.boxes[0]).diagonal()
    there = labels.rois[0, :, 3] > 0
    torch.testing.assert_close(labels.refined[0], overlap >= 0.55)
    torch.testing.assert_close((labels.confidence[0] == 1) & there, (overlap >= 0.6) & there)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31))
def test_scaled_and_mirrored_regions_keep_the_object_where_its_points_are(seed: int) -> None:
    random = generator(seed)
    uniform = torch.rand(6, 7, generator=random) * 2 - 1
    rois = CAR + uniform * torch.tensor([0.5, 0.2, 0.5, 0.1, 0.1, 0.3, 0.5])
    points = CAR[:3] + (torch.rand(400, 3, generator=random) * 2 - 1) * torch.tensor([3.0, 2.0, 3.0])
    inside = points_in_boxes(points[None], CAR[None, None])[0] >= 0
    coordinates = canonical(points.expand(6, -1, -1), rois)
    marks = torch.rand(6, 400, 2, generator=random)
    labels = RoITargets(rois[None], CAR.expand(1, 6, 7), torch.ones(1, 6), torch.ones(1, 6, dtype=torch.bool))
    own, (offsets, sizes, headings) = augment_rois(torch.cat([coordinates, marks], dim=2), labels, random)
    torch.testing.assert_close(own[..., 3:], marks)
    scale = sizes[:, 0] / CAR[3]
    assert float((scale - 1).abs().max()) <= 0.05 + 1e-6
    torch.testing.assert_close(sizes, CAR[3:6] * scale[:, None])
    # A little larger and a little smaller, so that rounding at the faces doesn't matter.
    for factor in (0.999, 1.001):
        boxes = torch.cat([offsets, sizes * factor, headings[:, None]], dim=1)
        boxes[:, 1] += (factor - 1) / 2 * sizes[:, 0]
        changed = points_in_boxes(own[..., :3].contiguous(), boxes[:, None]) >= 0
        assert bool((inside | ~changed).all() if factor < 1 else (changed | ~inside).all())


def test_mirroring_happens_to_about_half() -> None:
    labels = RoITargets(CAR.expand(1, 200, 7), CAR.expand(1, 200, 7), torch.ones(1, 200), torch.ones(1, 200) > 0)
    own, _ = augment_rois(torch.ones(200, 1, 5), labels, generator())
    assert 60 < int((own[:, 0, 2] < 0).sum()) < 140
    assert (own[:, 0, :2] > 0).all()
