"""PointRCNN's losses, term by term with the published weights."""

import torch
from torch import Tensor
from torch.nn import functional

from pseudolidar.detectors.pointrcnn.coding import BoxCoding, BoxTargets

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
SIZE_WEIGHT = 3.0


def segmentation_loss(logits: Tensor, foreground: Tensor) -> Tensor:
    """Focal loss (Lin et al., ICCV 2017) of foreground logits, a scalar: its sum over the foreground points' number.

    Args:
        logits: (B, N).
        foreground: (B, N), 1, 0, or -1 for points that do not count.
    """
    target = (foreground > 0).float()
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    probability = logits.sigmoid()
    wrong = torch.where(target > 0, 1 - probability, probability)
    alpha = torch.where(target > 0, FOCAL_ALPHA, 1 - FOCAL_ALPHA)
    counted = (foreground >= 0).float()
    return (alpha * wrong**FOCAL_GAMMA * cross_entropy * counted).sum() / target.sum().clamp(min=1)


def confidence_loss(logits: Tensor, confidence: Tensor) -> Tensor:
    """Cross-entropy of the regions' confidence, a scalar; both (R,), -1 for regions that do not count."""
    counted = (confidence >= 0).float()
    target = confidence.clamp(min=0)
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (cross_entropy * counted).sum() / counted.sum().clamp(min=1)


def box_loss(coding: BoxCoding, regression: Tensor, targets: BoxTargets) -> Tensor:
    """The regression's loss, a scalar: sum of `box_loss_terms`, the size's three times; 0 without any box."""
    if not len(regression):
        return regression.sum()
    terms = box_loss_terms(coding, regression, targets)
    return torch.stack([SIZE_WEIGHT * term if name == "size" else term for name, term in terms.items()]).sum()


def box_loss_terms(coding: BoxCoding, regression: Tensor, targets: BoxTargets) -> dict[str, Tensor]:
    """Every term before its weight, each the mean over R >= 1 boxes: cross-entropy of bins, smooth L1 of residuals.

    Args:
        coding: of the stage.
        regression: (R, channels).
        targets: of the same boxes; residuals count at the true bin.
    """
    said = coding.split(regression)

    def residual(of_bins: Tensor, index: Tensor, target: Tensor) -> Tensor:
        return functional.smooth_l1_loss(of_bins.gather(1, index[:, None])[:, 0], target)

    return {
        "x_bin": functional.cross_entropy(said.x_bin, targets.x_bin),
        "z_bin": functional.cross_entropy(said.z_bin, targets.z_bin),
        "x_residual": residual(said.x_residual, targets.x_bin, targets.x_residual),
        "z_residual": residual(said.z_residual, targets.z_bin, targets.z_residual),
        "y_offset": functional.smooth_l1_loss(said.y_offset, targets.y_offset),
        "heading_bin": functional.cross_entropy(said.heading_bin, targets.heading_bin),
        "heading_residual": residual(said.heading_residual, targets.heading_bin, targets.heading_residual),
        "size": functional.smooth_l1_loss(said.size_residual, targets.size_residual),
    }
