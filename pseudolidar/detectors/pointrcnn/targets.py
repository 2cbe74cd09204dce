"""What PointRCNN's two stages should say: labels of points, labels of regions sampled around the objects."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pseudolidar.detectors.pointrcnn.coding import to_region_frame
from pseudolidar.ops import iou_3d, points_in_boxes

_IGNORED_MARGIN_M = 0.2
"""Points this close around an object are neither foreground nor background (PointRCNN, section 3.1)."""

# Noise on regions, from slight to strong: m on each axis, share of the size, rad (published code).
_NOISE = ((0.2, 0.1, math.pi / 12), (0.3, 0.15, math.pi / 12), (0.5, 0.15, math.pi / 9), (0.8, 0.15, math.pi / 6),
          (1.0, 0.15, math.pi / 3))  # fmt: skip
_NOISE_TRIES = 10
_UNCHANGED_SHARE = 0.2
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
class RegionSampling:
    """Which regions the second stage is trained on; the defaults are the published ones.

    Attributes:
        regions: of a scene.
        foreground_share: the largest share of them that is foreground.
        foreground_overlap: 3D IoU from which a region counts as an object's.
        regression_overlap: from which it is refined.
        background_overlap: up to which it counts as background; between is not counted.
        easy_overlap: background below it is easy.
        hard_share: of the background.
    """

    regions: int = 64
    foreground_share: float = 0.5
    foreground_overlap: float = 0.6
    regression_overlap: float = 0.55
    background_overlap: float = 0.45
    easy_overlap: float = 0.05
    hard_share: float = 0.8


@dataclass(frozen=True)
class RegionLabels:
    """R regions of each of B scenes, and what is true of them.

    Attributes:
        regions: (B, R, 7).
        boxes: (B, R, 7), the object that overlaps most; zeros in a scene without objects.
        confidence: float32 (B, R), 1 object, 0 background, -1 not counted.
        refined: bool (B, R), whether the refinement counts.
    """

    regions: Tensor
    boxes: Tensor
    confidence: Tensor
    refined: Tensor


def sample_regions(
    proposals: Tensor, boxes: Tensor, sampling: RegionSampling, generator: torch.Generator
) -> RegionLabels:
    """Choose among proposals, foreground and background by quota, move them a little, and label them.

    Args:
        proposals: (B, P, 7), rows of zeros where there are fewer.
        boxes: (B, M, 7) objects, rows of zeros where there are fewer.
        sampling: the quota.
        generator: on the CPU; of the choice and the noise.
    """
    scenes = [
        _sample_scene(rois[rois[:, 3] > 0], truth[truth[:, 3] > 0], sampling, generator)
        for rois, truth in zip(proposals, boxes, strict=True)
    ]
    regions, matched, overlap = (torch.stack(column) for column in zip(*scenes, strict=True))
    confidence = torch.where(overlap >= sampling.foreground_overlap, 1.0, -1.0)
    confidence[overlap < sampling.background_overlap] = 0.0
    # Rows that fill up a scene without any proposal teach nothing.
    confidence[regions[..., 3] <= 0] = -1.0
    return RegionLabels(regions, matched, confidence, overlap >= sampling.regression_overlap)


def _sample_scene(
    rois: Tensor, truth: Tensor, sampling: RegionSampling, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Regions (R, 7), their objects (R, 7) and overlaps (R,) of one scene."""
    count = sampling.regions
    if not len(rois):
        # Nothing proposed: the objects themselves are the regions.
        rois = truth
    if not len(rois):
        return rois.new_zeros(count, 7), rois.new_zeros(count, 7), rois.new_zeros(count)
    if not len(truth):
        chosen = _choose(torch.arange(len(rois)), count, generator).to(rois.device)
        return rois[chosen], rois.new_zeros(count, 7), rois.new_zeros(count)
    overlap, match = iou_3d(rois, truth).max(dim=1)
    on_cpu = overlap.cpu()
    is_foreground = on_cpu >= min(sampling.foreground_overlap, sampling.regression_overlap)
    foreground = torch.nonzero(is_foreground)[:, 0]
    easy = torch.nonzero(on_cpu < sampling.easy_overlap)[:, 0]
    hard = torch.nonzero((on_cpu >= sampling.easy_overlap) & (on_cpu < sampling.background_overlap))[:, 0]
    if not len(foreground) and not len(easy) and not len(hard):
        # All lie between foreground and background.
        easy = torch.arange(len(rois))
    taken = min(len(foreground), round(count * sampling.foreground_share))
    if not len(easy) and not len(hard):
        taken = count
    hard_count = count - taken
    if len(easy) and len(hard):
        hard_count = int((count - taken) * sampling.hard_share)
    elif not len(hard):
        hard_count = 0
    parts = [
        _choose(foreground, taken, generator),
        _choose(hard, hard_count, generator),
        _choose(easy, count - taken - hard_count, generator),
    ]
    chosen = torch.cat(parts).to(rois.device)
    tries = torch.where(torch.arange(count) < taken, _NOISE_TRIES, 1).to(rois.device)
    moved, overlap = _moved(rois[chosen], truth, match[chosen], tries, sampling, generator)
    return moved, truth[match[chosen]], overlap


def _choose(index: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` of the indices, without repetition as long as there are enough."""
    if not count:
        return index[:0]
    order = torch.randperm(len(index), generator=generator)
    if count > len(index):
        order = torch.cat([order, torch.randint(len(index), (count - len(index),), generator=generator)])
    return index[order[:count]]


def _moved(
    rois: Tensor, truth: Tensor, match: Tensor, tries: Tensor, sampling: RegionSampling, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Regions (R, 7) with noise, and their overlap (R,) with their object.

    As published, noise is drawn anew, at most `tries` (R,) times, until the region overlaps as foreground does; one
    draw in five is none.
    """
    count = len(rois)
    shape = (count, _NOISE_TRIES)
    level = torch.randint(len(_NOISE), shape, generator=generator)
    strength = torch.tensor(_NOISE)[level]  # (R, tries, 3)
    noise = torch.rand(*shape, 7, generator=generator) * 2 - 1
    noise *= (torch.rand(*shape, 1, generator=generator) >= _UNCHANGED_SHARE).float()
    noise, strength = noise.to(rois.device), strength.to(rois.device)
    candidates = torch.cat(
        [
            rois[:, None, :3] + noise[..., :3] * strength[..., :1],
            rois[:, None, 3:6] * (1 + noise[..., 3:6] * strength[..., 1:2]),
            rois[:, None, 6:] + noise[..., 6:] * strength[..., 2:],
        ],
        dim=2,
    )
    overlaps = iou_3d(candidates.flatten(0, 1), truth).view(*shape, -1)
    overlap = overlaps.gather(2, match[:, None, None].expand(*shape, 1))[..., 0]
    attempt = torch.arange(_NOISE_TRIES, device=rois.device)
    good = overlap >= min(sampling.foreground_overlap, sampling.regression_overlap)
    # The first good one, else the last one allowed.
    stop = torch.where(good & (attempt < tries[:, None]), attempt, tries[:, None] - 1).amin(dim=1)
    row = torch.arange(count, device=rois.device)
    return candidates[row, stop], overlap[row, stop]


def augment_regions(
    own: Tensor, labels: RegionLabels, generator: torch.Generator
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Scale and mirror each region in its own frame.

    Turning it, as the published code does too, changes nothing in that frame.

    Args:
        own: (R, P, 5), own features, coordinates first.
        labels: of the R regions of all scenes.
        generator: on the CPU.

    Returns:
        own features, and the objects' offsets (R, 3) m, sizes (R, 3) m and headings (R,) rad in their region's frame.
    """
    regions, boxes = labels.regions.flatten(0, 1), labels.boxes.flatten(0, 1)
    count = len(regions)
    scale = 1 + (torch.rand(count, generator=generator) * 2 - 1) * _SCALE_NOISE
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    scale, mirror = scale.to(own.device), mirror.to(own.device)
    factors = torch.stack([scale, scale, scale * mirror], dim=1)
    offsets = to_region_frame(boxes[:, None, :3], regions)[:, 0] * factors
    headings = (boxes[:, 6] - regions[:, 6]) * mirror
    own = torch.cat([own[..., :3] * factors[:, None], own[..., 3:]], dim=2)
    return own, (offsets, boxes[:, 3:6] * scale[:, None], headings)
