"""Targets of PointRCNN's training: labels of points for the RPN, sampled and labelled RoIs for the RCNN head."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pseudolidar.detectors.pointrcnn.box_coder import canonical
from pseudolidar.ops import iou_3d, points_in_boxes

_IGNORED_MARGIN_M = 0.2
"""Points this close around an object are neither foreground nor background (PointRCNN, section 3.1)."""

# Background RoIs of a lower IoU are easy, and this part of the background is hard (published code).
_EASY_IOU = 0.05
_HARD_FRACTION = 0.8
# Noise on RoIs, from slight to strong: m on each axis, fraction of the size, rad (published code).
_NOISE = ((0.2, 0.1, math.pi / 12), (0.3, 0.15, math.pi / 12), (0.5, 0.15, math.pi / 9), (0.8, 0.15, math.pi / 6),
          (1.0, 0.15, math.pi / 3))  # fmt: skip
_NOISE_TRIES = 10
_UNCHANGED_FRACTION = 0.2
_SCALE_NOISE = 0.05


@dataclass(frozen=True)
class PointLabels:
    """Labels of B scenes with N points each.

    Attributes:
        foreground: float32 (B, N), 1 inside of an object, 0 outside, -1 close around one: not counted.
        box: (K, 7), the object of each of the K foreground points, in the order of `foreground == 1`.
    """

    foreground: Tensor
    box: Tensor


def label_points(points: Tensor, boxes: Tensor) -> PointLabels:
    """Label points (B, N, 3) by the objects' boxes (B, M, 7), filled up with zeros; rectified camera frame."""
    inside = points_in_boxes(points, boxes)
    margin = boxes.new_tensor([0, 1, 0, 2, 2, 2, 0]) * _IGNORED_MARGIN_M
    # Boxes of zeros stay empty.
    around = points_in_boxes(points, boxes + margin * (boxes[..., 3:4] > 0))
    foreground = torch.where(inside >= 0, 1.0, torch.where(around >= 0, -1.0, 0.0))
    scene = torch.nonzero(inside >= 0)[:, 0]
    return PointLabels(foreground, boxes[scene, inside[inside >= 0]])


@dataclass(frozen=True)
class RoISampling:
    """The proposal target layer: which RoIs the RCNN head is trained on.

    Attributes:
        rois, foreground_fraction: RoIs of a scene, and how many of them are foreground at most.
        foreground_iou, regression_iou: 3D IoU from which an RoI counts as foreground, and from which it is refined.
        background_iou: IoU below which it counts as background; between this and `foreground_iou` it does not count.
    """

    rois: int
    foreground_fraction: float
    foreground_iou: float
    regression_iou: float
    background_iou: float


@dataclass(frozen=True)
class RoITargets:
    """R RoIs of each of B scenes, and their targets.

    Attributes:
        rois, boxes: (B, R, 7), an RoI and the object of the largest IoU; zeros in a scene without objects.
        confidence, refined: (B, R), 1 foreground, 0 background, -1 not counted; bool, whether the refinement counts.
    """

    rois: Tensor
    boxes: Tensor
    confidence: Tensor
    refined: Tensor


def sample_rois(proposals: Tensor, boxes: Tensor, sampling: RoISampling, generator: torch.Generator) -> RoITargets:
    """Choose among proposals (B, P, 7), foreground and background by quota, move them a little, and label them.

    Rows of zeros fill up proposals and the objects' boxes (B, M, 7); the generator is on the CPU.
    """
    scenes = [
        _sample_scene(rois[rois[:, 3] > 0], truth[truth[:, 3] > 0], sampling, generator)
        for rois, truth in zip(proposals, boxes, strict=True)
    ]
    rois, matched, iou = (torch.stack(column) for column in zip(*scenes, strict=True))
    confidence = torch.where(iou >= sampling.foreground_iou, 1.0, -1.0)
    confidence[iou < sampling.background_iou] = 0.0
    # Rows that fill up a scene without any proposal teach nothing.
    confidence[rois[..., 3] <= 0] = -1.0
    return RoITargets(rois, matched, confidence, iou >= sampling.regression_iou)


def _sample_scene(
    rois: Tensor, truth: Tensor, sampling: RoISampling, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """RoIs (R, 7), their objects (R, 7) and IoUs (R,) of one scene."""
    count = sampling.rois
    if not len(rois):
        # Nothing proposed: the objects themselves are the RoIs.
        rois = truth
    if not len(rois):
        return rois.new_zeros(count, 7), rois.new_zeros(count, 7), rois.new_zeros(count)
    if not len(truth):
        chosen = _choose(torch.arange(len(rois)), count, generator).to(rois.device)
        return rois[chosen], rois.new_zeros(count, 7), rois.new_zeros(count)
    iou, match = iou_3d(rois, truth).max(dim=1)
    on_cpu = iou.cpu()
    foreground = torch.nonzero(on_cpu >= min(sampling.foreground_iou, sampling.regression_iou))[:, 0]
    easy = torch.nonzero(on_cpu < _EASY_IOU)[:, 0]
    hard = torch.nonzero((on_cpu >= _EASY_IOU) & (on_cpu < sampling.background_iou))[:, 0]
    if not len(foreground) and not len(easy) and not len(hard):
        # All lie between foreground and background.
        easy = torch.arange(len(rois))
    taken = min(len(foreground), round(count * sampling.foreground_fraction))
    if not len(easy) and not len(hard):
        taken = count
    hard_count = count - taken
    if len(easy) and len(hard):
        hard_count = int((count - taken) * _HARD_FRACTION)
    elif not len(hard):
        hard_count = 0
    parts = ((foreground, taken), (hard, hard_count), (easy, count - taken - hard_count))
    chosen = torch.cat([_choose(index, wanted, generator) for index, wanted in parts]).to(rois.device)
    tries = torch.where(torch.arange(count) < taken, _NOISE_TRIES, 1).to(rois.device)
    moved, iou = _with_noise(rois[chosen], truth, match[chosen], tries, sampling, generator)
    return moved, truth[match[chosen]], iou


def _choose(index: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` of the indices, without repetition as long as there are enough."""
    if not count:
        return index[:0]
    order = torch.randperm(len(index), generator=generator)
    if count > len(index):
        order = torch.cat([order, torch.randint(len(index), (count - len(index),), generator=generator)])
    return index[order[:count]]


def _with_noise(
    rois: Tensor, truth: Tensor, match: Tensor, tries: Tensor, sampling: RoISampling, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """RoIs with noise and their IoU; as published, drawn up to `tries` times until foreground, 1 in 5 without noise."""
    count = len(rois)
    shape = (count, _NOISE_TRIES)
    level = torch.randint(len(_NOISE), shape, generator=generator)
    strength = torch.tensor(_NOISE)[level]  # (R, tries, 3)
    noise = torch.rand(*shape, 7, generator=generator) * 2 - 1
    noise *= (torch.rand(*shape, 1, generator=generator) >= _UNCHANGED_FRACTION).float()
    noise, strength = noise.to(rois.device), strength.to(rois.device)
    candidates = torch.cat(
        [
            rois[:, None, :3] + noise[..., :3] * strength[..., :1],
            rois[:, None, 3:6] * (1 + noise[..., 3:6] * strength[..., 1:2]),
            rois[:, None, 6:] + noise[..., 6:] * strength[..., 2:],
        ],
        dim=2,
    )
    ious = iou_3d(candidates.flatten(0, 1), truth).view(*shape, -1)
    iou = ious.gather(2, match[:, None, None].expand(*shape, 1))[..., 0]
    attempt = torch.arange(_NOISE_TRIES, device=rois.device)
    good = iou >= min(sampling.foreground_iou, sampling.regression_iou)
    # The first good one, else the last one allowed.
    stop = torch.where(good & (attempt < tries[:, None]), attempt, tries[:, None] - 1).amin(dim=1)
    row = torch.arange(count, device=rois.device)
    return candidates[row, stop], iou[row, stop]


def augment_rois(
    local: Tensor, targets: RoITargets, generator: torch.Generator
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Scale and mirror each RoI in canonical coordinates; turning it too, as published, would change nothing in these.

    The local features (R, P, 5), coordinates first, come back with the objects' offsets (R, 3) m, sizes (R, 3) m and
    headings (R,) rad.
    """
    rois, boxes = targets.rois.flatten(0, 1), targets.boxes.flatten(0, 1)
    count = len(rois)
    scale = 1 + (torch.rand(count, generator=generator) * 2 - 1) * _SCALE_NOISE
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    scale, mirror = scale.to(local.device), mirror.to(local.device)
    factors = torch.stack([scale, scale, scale * mirror], dim=1)
    offsets = canonical(boxes[:, None, :3], rois)[:, 0] * factors
    headings = (boxes[:, 6] - rois[:, 6]) * mirror
    local = torch.cat([local[..., :3] * factors[:, None], local[..., 3:]], dim=2)
    return local, (offsets, boxes[:, 3:6] * scale[:, None], headings)
