"""The first 3D convolution of PSMNet straight from the two images' features: the cost volume is never built."""

import torch
import torch.nn.functional as F
from torch import Tensor


def volume_convolution(left: Tensor, right: Tensor, weight: Tensor, bias: Tensor, levels: int) -> Tensor:
    """A 3x3x3 convolution (padding 1) of the concatenation cost volume, from 2D convolutions.

    At disparity d the volume holds left(x) and right(x - d) where x >= d, and zeros elsewhere. Its left half is the
    same at every d, so a tap's disparity offset doesn't matter: the three can be summed. In its right half a tap (dd,
    dx) reads right(x - d + dx - dd), so the result depends on s = x - d alone: a convolution of 3 x 5 taps. Where the
    zeros begin (-2 <= x - d < 2) only some of the left taps count; at the first and last disparity and in the last
    column some of the taps fall outside, and there the convolution is done as it is written.

    Up to rounding it gives `torch.conv3d(cost_volume(left, right, levels), weight, bias, padding=1)`.

    Args:
        left, right: (B, C, H, W) features.
        weight: (O, 2 C, 3, 3, 3), the left half of the volume first.
        bias: (O,).
        levels: D >= 3 disparities, 0 to D - 1 pixels of the features.

    Returns:
        (B, O, D, H, W), channels last.
    """
    batch, channels, height, width = left.shape
    of_left, of_right = weight.split(channels, dim=1)

    # Over s from -(D - 1) to W - 1; the bias is added here, since this part reaches every output.
    over_shift = of_right.new_zeros(*of_right.shape[:2], 3, 5)
    for tap_d in range(3):
        for tap_x in range(3):
            over_shift[..., 2 + tap_x - tap_d] += of_right[:, :, tap_d, :, tap_x]
    shifted = F.conv2d(F.pad(right, (levels + 1, 2)), _channels_last(over_shift), bias, padding=(1, 0))

    whole = F.conv2d(left, _channels_last(of_left.sum(dim=2)), padding=1)
    partial = torch.stack([F.conv2d(left, kernel, padding=1) for kernel in _partial_kernels(of_left)], dim=1)

    output = torch.empty(
        (batch, len(weight), levels, height, width), dtype=left.dtype, device=left.device,
        memory_format=torch.channels_last_3d,
    )  # fmt: skip
    for level in range(1, levels - 1):
        plane = output[:, :, level]
        of_shift = shifted[..., levels - 1 - level : levels - 1 - level + width]
        full = min(level + 2, width)
        plane[..., :full] = of_shift[..., :full]
        torch.add(of_shift[..., full:], whole[..., full:], out=plane[..., full:])
        # Entry i of the diagonal is the partial kernel of x - d = i - 2, at x = d + i - 2.
        diagonal = partial.diagonal(level - 2, 1, 4)
        first = max(level - 2, 0)
        plane[..., first : first + diagonal.shape[-1]] += diagonal

    # Slabs two planes thick: the planes become channels of a 2D convolution.
    for level, first, taps in ((0, 0, slice(1, 3)), (levels - 1, levels - 2, slice(0, 2))):
        planes = torch.cat([*_plane(left, right, first), *_plane(left, right, first + 1)], dim=1)
        kernel = _channels_last(weight[:, :, taps].transpose(1, 2).flatten(1, 2))
        output[:, :, level] = F.conv2d(planes, kernel, bias, padding=1)
    columns = torch.cat([*_column(left, right, width - 2, levels), *_column(left, right, width - 1, levels)], dim=1)
    kernel = _channels_last(weight[..., :2].permute(0, 4, 1, 2, 3).flatten(1, 2))
    output[..., -1] = F.conv2d(columns, kernel, bias, padding=1)
    return output


def _partial_kernels(of_left: Tensor) -> list[Tensor]:
    """(O, C, 3, 3) kernels for x - d = -2, -1, 0, 1: of the disparity taps those that do not read the zeros."""
    kernels = []
    for offset in range(-2, 2):
        kernel = torch.zeros_like(of_left[:, :, 0])
        for tap_d in range(3):
            for tap_x in range(3):
                if tap_d - tap_x <= offset:
                    kernel[..., tap_x] += of_left[:, :, tap_d, :, tap_x]
        kernels.append(_channels_last(kernel))
    return kernels


def _plane(left: Tensor, right: Tensor, level: int) -> tuple[Tensor, Tensor]:
    """The halves of the cost volume at one disparity, (B, C, H, W) each."""
    width = left.shape[-1]
    visible = torch.arange(width, device=left.device) >= level
    return left * visible, F.pad(right, (level, 0))[..., :width]


def _column(left: Tensor, right: Tensor, column: int, levels: int) -> tuple[Tensor, Tensor]:
    """The halves of the cost volume at one column of the image, (B, C, D, H) each."""
    visible = torch.arange(levels, device=left.device) <= column
    of_right = F.pad(right, (levels - 1, 0))[..., column : column + levels].flip(-1).transpose(2, 3)
    return left[..., None, :, column] * visible[:, None], of_right


def _channels_last(weight: Tensor) -> Tensor:
    return weight.contiguous(memory_format=torch.channels_last)
