"""The two losses of the case study: disparity MAE and depth MAE (Wu et al., Fixes That Fail, 2021)."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from pseudolidar.files import InputError

Loss = Literal["disparity", "depth"]

# Disparities are clamped here before they are inverted, as in the paper's runs.
MIN_DISPARITY_PX = 1e-8


def disparity_loss(
    predicted: Tensor,
    target: Tensor,
    loss: Loss,
    camera_constant: Tensor,
    smooth: bool = True,
    max_disparity: float | None = None,
) -> Tensor:
    """Mean error over the valid pixels: those with a target above 0 and, if given, below `max_disparity`.

    Args:
        predicted: (B, H, W) disparity, px.
        target: (B, H, W) disparity, px; 0 where unknown.
        loss: `disparity` for the error in px, `depth` for the error of depth = C / disparity in metres.
        camera_constant: (B,) C = focal length x baseline, px m.
        smooth: smooth L1 (beta 1 px or 1 m), as the paper's runs; plain L1 otherwise.
        max_disparity: what the network can express at most, px.

    Returns:
        A scalar; 0, still with a gradient of 0, where no pixel is valid.

    Raises:
        InputError: an unknown loss, or shapes that do not fit.
    """
    if predicted.shape != target.shape or camera_constant.shape != predicted.shape[:1]:
        raise InputError(
            f"found predicted {tuple(predicted.shape)}, target {tuple(target.shape)}, camera constants "
            f"{tuple(camera_constant.shape)}, expected (B, H, W), (B, H, W) and (B,)"
        )
    valid = target > 0
    if max_disparity is not None:
        valid &= target < max_disparity
    if loss == "depth":
        constant = camera_constant[:, None, None].expand_as(target)[valid]
        found = constant / predicted[valid].clamp(min=MIN_DISPARITY_PX)
        wanted = constant / target[valid]
    elif loss == "disparity":
        found, wanted = predicted[valid], target[valid]
    else:
        raise InputError(f"loss: found {loss!r}, expected 'disparity' or 'depth'")
    error = F.smooth_l1_loss(found, wanted, reduction="sum") if smooth else F.l1_loss(found, wanted, reduction="sum")
    return error / valid.sum().clamp(min=1)
