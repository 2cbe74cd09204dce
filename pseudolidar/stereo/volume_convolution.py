"""The first 3D convolution of PSMNet straight from the two images' features: the cost volume is never built."""

from collections.abc import Sequence
from importlib import import_module

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pseudolidar.kernels.triton import triton_kernels_run


class VolumeConvolution(nn.Module):
    """A 3x3x3 convolution (padding 1) of the concatenation cost volume, from 2D convolutions.

    At disparity d the volume holds left(x) and right(x - d) where x >= d, and zeros elsewhere. Its left half is the
    same at every d, so a tap's disparity offset doesn't matter: the three can be summed. In its right half a tap (dd,
    dx) reads right(x - d + dx - dd), so the result depends on s = x - d alone: a convolution of 3 x 5 taps. Where the
    zeros begin (-2 <= x - d < 2) only some of the left taps count; at the first and last disparity and in the last
    column some of the taps fall outside, and there the convolution is done as it is written.

    Up to rounding it gives `convolution(cost_volume(left, right, levels))`. No gradient reaches the convolution.

    Args:
        convolution: from 2 C to O channels, the left half of the volume first, with a bias.
        levels: D >= 3 disparities, 0 to D - 1 pixels of the features.
    """

    def __init__(self, convolution: nn.Conv3d, levels: int) -> None:
        super().__init__()
        self.levels = levels
        weight, bias = convolution.weight.detach(), convolution.bias
        assert bias is not None
        of_left, of_right = weight.chunk(2, dim=1)
        over_shift = of_right.new_zeros(*of_right.shape[:2], 3, 5)
        for tap_d in range(3):
            for tap_x in range(3):
                over_shift[..., 2 + tap_x - tap_d] += of_right[:, :, tap_d, :, tap_x]
        # Slabs two planes thick: the planes become channels of a 2D convolution.
        kernels = {
            "over_shift": over_shift,
            # The whole kernel, then those for x - d = -2, -1, 0, 1.
            "of_left": torch.cat([of_left.sum(dim=2), *_partial_kernels(of_left)]),
            "first_planes": weight[:, :, 1:].transpose(1, 2).flatten(1, 2),
            "last_planes": weight[:, :, :2].transpose(1, 2).flatten(1, 2),
            "last_columns": weight[..., :2].permute(0, 4, 1, 2, 3).flatten(1, 2),
        }
        self.bias = nn.Buffer(bias.detach().clone())
        for name, kernel in kernels.items():
            self.register_buffer(name, kernel.contiguous(memory_format=torch.channels_last))

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Features (B, C, H, W) of both images -> (B, O, D, H, W), channels last."""
        width, levels = left.shape[-1], self.levels
        # Over s from -(D - 1) to W - 1; the bias is added here, since this part reaches every output.
        padded = F.pad(right, (levels + 1, 2))
        shifted = F.conv2d(padded, self.get_buffer("over_shift"), self.bias, padding=(1, 0))
        of_left = self.get_buffer("of_left")
        if left.device.type == "cuda" and triton_kernels_run() and not torch.compiler.is_compiling():
            # Imported when there is something to do on a GPU: Triton is not installed everywhere.
            triton = import_module("pseudolidar.stereo.volume_triton")
            output: Tensor = triton.assembled(shifted, F.conv2d(left, of_left, padding=1), levels)
        else:
            output = assembled(shifted, [F.conv2d(left, kernel, padding=1) for kernel in of_left.chunk(5)], levels)

        for level, first, kernel in ((0, 0, "first_planes"), (levels - 1, levels - 2, "last_planes")):
            planes = torch.cat([*_plane(left, right, first), *_plane(left, right, first + 1)], dim=1)
            output[:, :, level] = F.conv2d(planes, self.get_buffer(kernel), self.bias, padding=1)
        columns = torch.cat([*_column(left, right, width - 2, levels), *_column(left, right, width - 1, levels)], dim=1)
        output[..., -1] = F.conv2d(columns, self.get_buffer("last_columns"), self.bias, padding=1)
        return output


def assembled(shifted: Tensor, of_left: Sequence[Tensor], levels: int) -> Tensor:
    """The result (B, O, D, H, W), channels last, but for the first and last level and the last column.

    `shifted` (B, O, H, W + D - 1) is the right features' part, by x - d; `of_left` are five (B, O, H, W), the left
    features' part where all taps count, and where x - d is -2, -1, 0, 1.
    """
    whole, partial = of_left[0], torch.stack([*of_left[1:]], dim=1)
    batch, channels, height, width = whole.shape
    output = torch.empty(
        (batch, channels, levels, height, width), dtype=whole.dtype, device=whole.device,
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
        kernels.append(kernel)
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
