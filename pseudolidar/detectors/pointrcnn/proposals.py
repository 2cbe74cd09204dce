"""Proposals: of the first stage's boxes, one per point, the best that do not overlap, near and far by quota."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pseudolidar.ops import nms


@dataclass(frozen=True)
class ProposalSettings:
    """How regions are chosen among the first stage's boxes (PointRCNN, published code: distance-based proposals).

    Attributes:
        considered: the best boxes that suppression sees.
        kept: regions a scene.
        overlap: BEV IoU above which the worse box goes.
        rotated: whether that IoU is the boxes' own; else, as published, that of boxes without their heading.
        near_m: where near ends.
        far_m: where far ends; boxes behind the camera or beyond are left out.
        near_share: of both counts.
    """

    considered: int = 9000
    kept: int = 100
    overlap: float = 0.8
    rotated: bool = False
    near_m: float = 40.0
    far_m: float = 80.0
    near_share: float = 0.7


def propose(boxes: Tensor, scores: Tensor, settings: ProposalSettings) -> Tensor:
    """Choose the regions of each scene.

    Args:
        boxes: (B, N, 7) x y z h w l ry, rectified camera frame.
        scores: (B, N), any monotone score.
        settings: numbers of boxes, and the overlap from which a weaker one is dropped.

    Returns:
        (B, kept, 7), near before far, each by falling score; zeros fill up where there are fewer.
    """
    regions = boxes.new_zeros(len(boxes), settings.kept, 7)
    for scene, (all_boxes, all_scores) in enumerate(zip(boxes, scores, strict=True)):
        order = all_scores.argsort(descending=True, stable=True)
        chosen = _near_and_far(all_boxes[order], all_scores[order], settings)
        regions[scene, : len(chosen)] = chosen
    return regions


def _near_and_far(boxes: Tensor, scores: Tensor, settings: ProposalSettings) -> Tensor:
    """Regions (K, 7) of a scene whose boxes (N, 7) come best first."""
    depth = boxes[:, 2]
    near = torch.nonzero((depth > 0) & (depth <= settings.near_m))[:, 0]
    far = torch.nonzero((depth > settings.near_m) & (depth <= settings.far_m))[:, 0]
    near_considered = int(settings.considered * settings.near_share)
    near_kept = int(settings.kept * settings.near_share)
    far_considered = settings.considered - near_considered
    if not len(far):
        # As published: the far quota goes to the next best near ones.
        far = near[near_considered:]
    parts = []
    for index, considered, kept in (
        (near, near_considered, near_kept),
        (far, far_considered, settings.kept - near_kept),
    ):
        index = index[:considered]
        kept_index = nms(boxes[index], scores[index], settings.overlap, settings.rotated, kept)
        parts.append(boxes[index[kept_index]])
    return torch.cat(parts)
