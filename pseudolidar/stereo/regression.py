"""Disparity from matching scores: the soft argmin, computed without scores at full resolution ever being held."""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from pseudolidar.kernels.triton import triton_kernels_run
from pseudolidar.stereo import regression_cpu
from pseudolidar.stereo.upsampling import Upsampling, interpolations

# Rows regressed at once on a GPU without Triton: 61 MB of scores at 1248 x 192 px.
_ROWS = 64


def regress_disparity(scores: Tensor, max_disparity: int, size: Sequence[int], align_corners: bool) -> Tensor:
    """Expected disparity (B, H, W), px, of finite matching scores (B, D/4, H/4, W/4) upsampled to (B, D, H, W).

    It is `soft_argmin`, in float32 whatever the type of the scores and under autocast too; scores in float64 stay so.
    Each pixel's scores are interpolated, weighted and forgotten in one kernel, and again for the gradient, in an order
    that never changes: several times as fast as PyTorch's operators on the scores at full resolution. Scores that are
    not finite give NaN.
    """
    if scores.dtype == torch.float64:
        return soft_argmin(scores, max_disparity, size, align_corners)
    levels, height, width = scores.shape[1:]
    upsampling = Upsampling((levels, height, width), (max_disparity, size[0], size[1]), align_corners)
    if _kernels(scores.device) is not None:
        # torch.compile can't look into them. As a decorator, `disable` would take a second of every start.
        by_kernels = torch.compiler.disable(_by_kernels) if torch.compiler.is_compiling() else _by_kernels
        return by_kernels(scores.float(), upsampling)
    if scores.requires_grad:
        return soft_argmin(scores, max_disparity, size, align_corners)
    return _in_bands(scores, upsampling)


def soft_argmin(scores: Tensor, max_disparity: int, size: Sequence[int], align_corners: bool) -> Tensor:
    """The reference of `regress_disparity` in plain PyTorch (Kendall et al., ICCV 2017; PSMNet, section 3.4).

    Trilinear interpolation is separable: bilinear over the image first, while there are few levels, then linear over
    disparity as one matrix product.
    """
    # Under autocast the products would be in bfloat16, whose disparities are off by up to a pixel.
    with torch.autocast(scores.device.type, enabled=False):
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        scores = F.interpolate(scores, tuple(size), mode="bilinear", align_corners=align_corners)
        identity = torch.eye(scores.shape[1], dtype=scores.dtype, device=scores.device)[None]
        ramp = F.interpolate(identity, max_disparity, mode="linear", align_corners=align_corners)[0]
        fine = torch.einsum("kd,bkhw->bdhw", ramp, scores)
        disparities = torch.arange(max_disparity, dtype=scores.dtype, device=scores.device)
        return torch.einsum("d,bdhw->bhw", disparities, fine.softmax(dim=1))


def _by_kernels(scores: Tensor, upsampling: Upsampling) -> Tensor:
    return cast(Tensor, _Regression.apply(scores, upsampling))


class _Regression(torch.autograd.Function):
    """`regress_disparity` of float32 scores where there are kernels."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, upsampling: Upsampling) -> Tensor:
        ctx.kernels, ctx.upsampling = _kernels(scores.device), upsampling
        disparity, highest, total = ctx.kernels.regress(upsampling, scores)
        ctx.save_for_backward(scores, disparity, highest, total)
        return cast(Tensor, disparity)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.kernels.scores_gradient(ctx.upsampling, *ctx.saved_tensors, *gradients), None


def _kernels(device: torch.device) -> ModuleType | None:
    if device.type == "cpu":
        return regression_cpu
    if device.type == "cuda" and triton_kernels_run():
        # Imported when there is something to do on a GPU: Triton is not installed everywhere.
        return import_module("pseudolidar.stereo.regression_triton")
    return None


def _in_bands(scores: Tensor, upsampling: Upsampling) -> Tensor:
    max_disparity, _, width = upsampling.outputs
    lower, fraction = _rows_on_device(upsampling, scores.device)
    bands = []
    for above, weight in zip(lower.split(_ROWS), fraction.split(_ROWS), strict=True):
        # With rows interpolated here, soft_argmin has columns and levels left.
        below = (above + 1).clamp(max=scores.shape[2] - 1)
        band = torch.lerp(scores[:, :, above].float(), scores[:, :, below].float(), weight[:, None])
        bands.append(soft_argmin(band, max_disparity, (len(above), width), upsampling.align_corners))
    return torch.cat(bands, dim=1)


@cache
def _rows_on_device(upsampling: Upsampling, device: torch.device) -> tuple[Tensor, Tensor]:
    # Made once: each copy to a GPU would wait for all that it has to do. Never forgotten: recorded kernels read them.
    lower, fraction = interpolations(upsampling).rows
    return torch.from_numpy(lower).to(device), torch.from_numpy(fraction).to(device)
