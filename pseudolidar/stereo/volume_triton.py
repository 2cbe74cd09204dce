"""`volume_convolution.assembled` on a GPU, to the last bit: one Triton program for each stretch of a row of a level."""

import torch
import triton
import triton.language as tl
from torch import Tensor

_PIXELS = 32


def assembled(shifted: Tensor, of_left: Tensor, levels: int) -> Tensor:
    """(B, O, D, H, W), channels last, from (B, O, H, W + D - 1) and (B, 5 O, H, W): see the reference."""
    batch, _, height, width = of_left.shape
    channels = shifted.shape[1]
    output = torch.empty(
        (batch, channels, levels, height, width), dtype=shifted.dtype, device=shifted.device,
        memory_format=torch.channels_last_3d,
    )  # fmt: skip
    with torch.cuda.device_of(shifted):
        _assemble[triton.cdiv(width, _PIXELS), levels * height, batch](
            shifted.contiguous(memory_format=torch.channels_last),
            of_left.contiguous(memory_format=torch.channels_last),
            output, levels, height, width, CHANNELS=channels,
            CHANNEL_BLOCK=triton.next_power_of_2(channels), PIXELS=_PIXELS,
        )  # fmt: skip
    return output


@triton.jit
def _assemble(  # type: ignore[no-untyped-def]
    shifted, of_left, output, levels, height, width,
    CHANNELS: tl.constexpr, CHANNEL_BLOCK: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    level, y, image = tl.program_id(1) // height, tl.program_id(1) % height, tl.program_id(2)
    x = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)[:, None]
    channel = tl.arange(0, CHANNEL_BLOCK)[None, :]
    inside = (x < width) & (channel < CHANNELS)
    row = image.to(tl.int64) * height + y
    shift = x - level
    of_right = tl.load(
        shifted + (row * (width + levels - 1) + shift + levels - 1) * CHANNELS + channel, mask=inside, other=0.0
    ).to(tl.float32)
    # Which of the five parts of the left features; none where the volume is all zeros.
    part = tl.where(shift < 2, shift + 3, 0)
    left = tl.load(
        of_left + ((row * width + x) * 5 + part) * CHANNELS + channel, mask=inside & (shift >= -2), other=0.0
    ).to(tl.float32)
    place = ((image.to(tl.int64) * levels + level) * height + y) * width + x
    tl.store(output + place * CHANNELS + channel, of_right + left, mask=inside)
