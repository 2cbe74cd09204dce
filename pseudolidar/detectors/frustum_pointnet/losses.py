"""Frustum PointNet's multi-task loss with the published weights (section 4.4), the corner loss included."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pseudolidar.detectors.frustum_pointnet.box_coder import (
    HEADING_BIN_WIDTH,
    box_corners,
    decode_heading,
    decode_size,
    encode_heading,
    encode_size,
)
from pseudolidar.detectors.frustum_pointnet.model import FrustumOutput

WEIGHTS = {
    "segmentation": 1.0,
    "centre": 1.0,
    "stage1_centre": 1.0,
    "heading_class": 1.0,
    "size_class": 1.0,
    "heading_residual": 20.0,
    "size_residual": 20.0,
    "corners": 10.0,
}
"""Weight of each term (published code)."""


@dataclass(frozen=True)
class FrustumTargets:
    """The truth on B frusta, in the frustum's frame.

    Attributes:
        inside: (B, N) bool, points inside the object's 3D box.
        centre, size, heading: (B, 3) m, middle of the box; (B, 3) l w h m; (B,) rad.
        cluster: (B,) int64, size cluster.
    """

    inside: Tensor
    centre: Tensor
    size: Tensor
    heading: Tensor
    cluster: Tensor


def frustum_loss(output: FrustumOutput, targets: FrustumTargets, mean_sizes_m: Tensor) -> Tensor:
    """The weighted sum of all terms, a scalar."""
    terms = loss_terms(output, targets, mean_sizes_m)
    return torch.stack([WEIGHTS[name] * term for name, term in terms.items()]).sum()


def loss_terms(output: FrustumOutput, targets: FrustumTargets, mean_sizes_m: Tensor) -> dict[str, Tensor]:
    """The terms of the loss before their weights, each the mean over the batch."""
    rows = torch.arange(len(targets.cluster), device=targets.cluster.device)
    heading_bin, heading_residual = encode_heading(targets.heading)
    size_residual = encode_size(targets.size, targets.cluster, mean_sizes_m)
    # Residuals, and the box of the corner loss, are those of the true bin and cluster.
    predicted_heading_residual = output.heading_residuals[rows, heading_bin]
    predicted_size_residual = output.size_residuals[rows, targets.cluster]
    corners = box_corners(
        output.centre,
        decode_size(predicted_size_residual, targets.cluster, mean_sizes_m),
        decode_heading(heading_bin, output.heading_residuals_rad[rows, heading_bin]),
    )
    return {
        "segmentation": functional.cross_entropy(output.mask_logits.flatten(0, 1), targets.inside.flatten().long()),
        "centre": huber(torch.linalg.vector_norm(output.centre - targets.centre, dim=1), 2.0),
        "stage1_centre": huber(torch.linalg.vector_norm(output.stage1_centre - targets.centre, dim=1), 1.0),
        "heading_class": functional.cross_entropy(output.heading_scores, heading_bin),
        "size_class": functional.cross_entropy(output.size_scores, targets.cluster),
        "heading_residual": huber(predicted_heading_residual - heading_residual / (HEADING_BIN_WIDTH / 2), 1.0),
        "size_residual": huber(torch.linalg.vector_norm(predicted_size_residual - size_residual, dim=1), 1.0),
        "corners": corner_loss(corners, targets),
    }


def corner_loss(corners: Tensor, targets: FrustumTargets) -> Tensor:
    """Mean Huber loss (1 m) of corners' (B, 8, 3) distances to the true box or, if nearer, to it turned by pi.

    As published, the nearer is chosen for each corner.
    """
    distances = [
        torch.linalg.vector_norm(corners - box_corners(targets.centre, targets.size, targets.heading + turn), dim=2)
        for turn in (0.0, math.pi)
    ]
    return huber(torch.minimum(*distances), 1.0)


def huber(error: Tensor, delta: float) -> Tensor:
    """Mean Huber loss: quadratic up to `delta`, linear beyond."""
    return functional.huber_loss(error, torch.zeros_like(error), delta=delta)
