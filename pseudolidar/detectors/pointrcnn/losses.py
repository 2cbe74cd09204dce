"""PointRCNN's losses with the published weights: of the RPN (section 3.1) and of the RCNN head (section 3.4)."""

import torch
from torch import Tensor
from torch.nn import functional

from pseudolidar.detectors.pointrcnn.box_coder import BoxCode, BoxCoder
from pseudolidar.detectors.pointrcnn.model import PointRCNN
from pseudolidar.detectors.pointrcnn.rpn import ProposalSettings, RPNOutput, propose
from pseudolidar.detectors.pointrcnn.scenes import SceneBatch
from pseudolidar.detectors.pointrcnn.targets import RoISampling, augment_rois, label_points, sample_rois
from pseudolidar.training import shard_weight

_FOCAL_ALPHA, _FOCAL_GAMMA = 0.25, 2.0
_SIZE_WEIGHT = 3.0


def rpn_loss(model: PointRCNN, batch: SceneBatch, rpn: RPNOutput) -> dict[str, Tensor]:
    """Segmentation and box regression of the points, or this process's parts of them: see `training.TrainingTask`."""
    labels = label_points(batch.points, batch.boxes)
    is_foreground = labels.foreground == 1
    points, boxes = batch.points[is_foreground], labels.box
    # The RPN's box coder takes the middle of the box.
    centre = torch.stack([boxes[:, 0], boxes[:, 1] - boxes[:, 3] / 2, boxes[:, 2]], dim=1)
    targets = model.rpn_coder.encode(centre - points, boxes[:, 3:6], boxes[:, 6], model.mean_size_m)
    part = shard_weight(is_foreground.sum())
    return {
        "rpn/segmentation": segmentation_loss(rpn.rpn_cls[..., 0], labels.foreground) * part,
        "rpn/boxes": box_loss(model.rpn_coder, rpn.rpn_reg[is_foreground], targets) * part,
    }


def rcnn_loss(
    model: PointRCNN, batch: SceneBatch, rpn: RPNOutput, proposing: ProposalSettings, sampling: RoISampling
) -> dict[str, Tensor]:
    """Confidence and refinement of sampled RoIs, or this process's parts of them: see `training.TrainingTask`."""
    generators = [torch.Generator().manual_seed(seed) for seed in batch.seed]
    with torch.no_grad():
        proposals = propose(model.boxes_of_points(batch.points, rpn), rpn.rpn_cls[..., 0], proposing)
        # Scene by scene, each with its own random numbers: they are the same in whichever part of a step it is.
        sampled = [
            sample_rois(proposals[scene][None], batch.boxes[scene][None], sampling, generator)
            for scene, generator in enumerate(generators)
        ]
    local, features, has_points = model.rcnn_net.pool(batch.points, rpn, torch.cat([each.rois for each in sampled]))
    augmented = [augment_rois(*scene) for scene in zip(local, sampled, generators, strict=True)]
    local = torch.cat([scene for scene, _ in augmented])
    offsets, sizes, headings = (torch.cat(column) for column in zip(*(truth for _, truth in augmented), strict=True))
    rcnn_cls, rcnn_reg = model.rcnn_net.score_and_refine(local, features.flatten(0, 1))
    # RoIs without a point teach nothing.
    refined = (torch.cat([each.refined for each in sampled]) & has_points).flatten()
    confidence = torch.where(has_points, torch.cat([each.confidence for each in sampled]), -1.0).flatten()
    targets = model.rcnn_coder.encode(offsets[refined], sizes[refined], headings[refined], model.mean_size_m)
    return {
        "rcnn/confidence": confidence_loss(rcnn_cls[:, 0], confidence) * shard_weight((confidence >= 0).sum()),
        "rcnn/boxes": box_loss(model.rcnn_coder, rcnn_reg[refined], targets) * shard_weight(refined.sum()),
    }


def segmentation_loss(logits: Tensor, foreground: Tensor) -> Tensor:
    """Focal loss (Lin et al., ICCV 2017) of foreground logits (B, N): its sum over the number of foreground points.

    `foreground` (B, N) is 1, 0, or -1 for points that do not count.
    """
    target = (foreground > 0).float()
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    probability = logits.sigmoid()
    wrong = torch.where(target > 0, 1 - probability, probability)
    alpha = torch.where(target > 0, _FOCAL_ALPHA, 1 - _FOCAL_ALPHA)
    counted = (foreground >= 0).float()
    return (alpha * wrong**_FOCAL_GAMMA * cross_entropy * counted).sum() / target.sum().clamp(min=1)


def confidence_loss(logits: Tensor, confidence: Tensor) -> Tensor:
    """Mean cross-entropy of the RoIs' confidence; both (R,), the target -1 for RoIs that do not count."""
    counted = (confidence >= 0).float()
    target = confidence.clamp(min=0)
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (cross_entropy * counted).sum() / counted.sum().clamp(min=1)


def box_loss(coder: BoxCoder, regression: Tensor, targets: BoxCode) -> Tensor:
    """The sum of `box_loss_terms`, the size's three times; 0 without any box."""
    if not len(regression):
        return regression.sum()
    terms = box_loss_terms(coder, regression, targets)
    return torch.stack([_SIZE_WEIGHT * term if name == "size" else term for name, term in terms.items()]).sum()


def box_loss_terms(coder: BoxCoder, regression: Tensor, targets: BoxCode) -> dict[str, Tensor]:
    """Unweighted terms, means over R >= 1 boxes: cross-entropy of bins, smooth L1 of the true bin's residuals."""
    code = coder.split(regression)

    def residual(of_bins: Tensor, index: Tensor, target: Tensor) -> Tensor:
        return functional.smooth_l1_loss(of_bins.gather(1, index[:, None])[:, 0], target)

    return {
        "x_bin": functional.cross_entropy(code.x_bin, targets.x_bin),
        "z_bin": functional.cross_entropy(code.z_bin, targets.z_bin),
        "x_residual": residual(code.x_residual, targets.x_bin, targets.x_residual),
        "z_residual": residual(code.z_residual, targets.z_bin, targets.z_residual),
        "y_offset": functional.smooth_l1_loss(code.y_offset, targets.y_offset),
        "heading_bin": functional.cross_entropy(code.heading_bin, targets.heading_bin),
        "heading_residual": residual(code.heading_residual, targets.heading_bin, targets.heading_residual),
        "size": functional.smooth_l1_loss(code.size_residual, targets.size_residual),
    }
