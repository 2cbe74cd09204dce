"""PSMNet for inference: the same function as the trained network, in a fraction of its time and memory."""

import copy
import itertools
from typing import TypeVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pseudolidar.kernels.graphs import RecordedKernels
from pseudolidar.stereo.data import normalised
from pseudolidar.stereo.psmnet import (
    STRIDE,
    Hourglass,
    PSMNet,
    channels_last,
    convolved,
    pad,
    require_finite,
    require_shapes,
)
from pseudolidar.stereo.regression import regress_disparity
from pseudolidar.stereo.volume_convolution import VolumeConvolution

Part = TypeVar("Part", bound=nn.Module)


class FrozenPSMNet(nn.Module):
    """A copy of a trained PSMNet that can do nothing but predict; in float32 the same disparities, up to rounding.

    * Batch normalisation in evaluation mode is y = a x + b for each channel, with a and b from the running statistics:
      it is folded into weights and bias of the convolution before it.
    * Without batch statistics the two images do not influence each other, so they pass through the features as one
      batch.
    * The first 3D convolution sees a volume that repeats the features of two images: it is computed from these, and
      the cost volume is not built (`VolumeConvolution`).
    * A score head's last convolution is linear: of its 27 taps nine are computed as channels, summed over the
      hourglasses, and added up with their shifts once at the end.
    * Scores are upsampled and regressed pixel by pixel, not held at full resolution (`regress_disparity`).

    Weights and activations are laid out channels last and kept in `dtype`. Scores are summed, and disparity is
    regressed, in float32 always.

    Args:
        model: left as it is.
        dtype: float32, bfloat16 or, on CUDA, float16.
        compile: features and matching by `torch.compile`, anew for every size of images.
        record: on a GPU, start all kernels at once, as they were recorded for the size of the images once padded; see
            `RecordedKernels`.
    """

    def __init__(
        self, model: PSMNet, dtype: torch.dtype = torch.float32, compile: bool = False, record: bool = False
    ) -> None:
        super().__init__()
        self.dtype = dtype
        device = next(model.parameters()).device
        self._max_disparity = model.max_disparity
        self._align_corners = model.align_corners
        self._min_size = model.min_size
        self.features = _frozen(model.feature_extraction)
        self.matching = _Matching(model, dtype)
        self.to(dtype)
        channels_last(self)
        self.requires_grad_(False).eval()
        # Each channel's 256 values behind one another; in float32 whatever `dtype` is.
        every_value = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
        self.register_buffer("_of_8_bits", torch.from_numpy(normalised(every_value)).flatten().to(device))
        if compile:
            self.features.compile(dynamic=False)
            self.matching.compile(dynamic=False)
        self._recorded = RecordedKernels(self._disparity) if record else None

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Disparity of the left image, float32 (B, H, W) px.

        `left` and `right` are (B, 3, H, W) RGB: floats as for `PSMNet`, or uint8, which are normalised here.
        ValueError for images of two shapes, or a pixel that is not finite.
        """
        require_shapes(left, right)
        height, width = left.shape[-2:]
        pair = torch.cat([left, right])
        if pair.dtype == torch.uint8:
            pair = self._normalised(pair)
        else:
            # Of 8-bit pixels there is nothing to ask: on a GPU the answer would be waited for.
            require_finite(left, right)
        pair = pad(pair.to(self.dtype), self._min_size).contiguous(memory_format=torch.channels_last)
        disparity = self._disparity(pair) if self._recorded is None else self._recorded(pair, pair.device)
        return disparity[:, -height:, :width]

    def _disparity(self, pair: Tensor) -> Tensor:
        """(B, H, W) px, from normalised images of the right size, (2 B, 3, H, W), the left ones first."""
        scores = self.matching(*self.features(pair).chunk(2))
        return regress_disparity(scores, self._max_disparity, pair.shape[-2:], self._align_corners)

    def _normalised(self, images: Tensor) -> Tensor:
        """`normalised` by a table: the same bits on every device, and a quarter of the bytes to send there."""
        channel = 256 * torch.arange(3, device=images.device)[:, None, None]
        return cast(Tensor, self._of_8_bits).take(images + channel)


class _Matching(nn.Module):
    """Features (B, C, H/4, W/4) of both images -> matching scores (B, D/4, H/4, W/4), float32."""

    def __init__(self, model: PSMNet, dtype: torch.dtype) -> None:
        super().__init__()
        compare = _frozen(model.dres0).to(dtype)
        convolution = cast(nn.Conv3d, cast(nn.Sequential, compare[0])[0])
        self.first = VolumeConvolution(convolution, model.max_disparity // STRIDE)
        self.compare = compare[1:]
        self.refine = _frozen(model.dres1)
        hourglasses = (model.dres2, model.dres3, model.dres4)
        heads = (model.classif1, model.classif2, model.classif3)
        self.hourglasses = nn.ModuleList(_frozen(part) for part in hourglasses if part is not None)
        self.heads = nn.ModuleList(_frozen(part) for part in heads if part is not None)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        cost = self.compare(self.first(left, right))
        cost = self.refine(cost).add_(cost)
        volume, first_pre, post = cost, None, None
        taps: Tensor | None = None
        for hourglass, head in zip(self.hourglasses, self.heads, strict=True):
            hourglass = cast(Hourglass, hourglass)
            pre, post = _down_and_up(hourglass, volume, first_pre, post)
            first_pre = pre if first_pre is None else first_pre
            # A volume is a third of the memory that all this takes, so none is kept for longer than it is needed.
            del volume, pre
            volume = hourglass.conv6(post).add_(cost)
            normal, relu, last = cast(nn.Sequential, head)
            of_head = _score_taps(relu(normal(volume)), cast(nn.Conv3d, last).weight).float()
            taps = of_head if taps is None else taps.add_(of_head)
        return _summed_taps(cast(Tensor, taps))


def _frozen(part: Part) -> Part:
    """A copy of a part of the network, with batch normalisation folded into the convolution before it."""
    part = copy.deepcopy(part).eval()
    for module in list(part.modules()):
        if isinstance(module, nn.Sequential):
            for index, (layer, following) in enumerate(itertools.pairwise(list(module))):
                if isinstance(following, nn.BatchNorm2d | nn.BatchNorm3d):
                    convolution = cast(nn.Conv2d | nn.Conv3d | nn.ConvTranspose3d, layer)
                    transposed = isinstance(convolution, nn.ConvTranspose3d)
                    module[index] = fuse_conv_bn_eval(convolution, following, transposed)
                    module[index + 1] = nn.Identity()
        elif isinstance(module, nn.ReLU):
            module.inplace = True  # it always follows a convolution, whose result nothing else reads
    return part


def _down_and_up(
    hourglass: Hourglass, volume: Tensor, earlier_pre: Tensor | None, earlier_post: Tensor | None
) -> tuple[Tensor, Tensor]:
    """`Hourglass.forward` up to its last layer: `pre` and `post`, each added to in place."""
    pre = hourglass.conv2(hourglass.conv1(volume))
    pre = (pre if earlier_post is None else pre.add_(earlier_post)).relu_()
    up = hourglass.conv5(hourglass.conv4(hourglass.conv3(pre)))
    post = up.add_(pre if earlier_pre is None else earlier_pre).relu_()
    return pre, post


def _score_taps(features: Tensor, weight: Tensor) -> Tensor:
    """A 3x3x3 convolution to one channel, before its sum over disparity and rows: (B, C, D, H, W) -> (B, 9, D, H, W).

    Convolutions to a single channel take as long as to sixteen, so nine of the taps take one of them each.
    """
    taps = weight[0].permute(1, 2, 0, 3).flatten(0, 1)[:, :, None, None]
    taps = taps.contiguous(memory_format=torch.channels_last_3d)
    return convolved(lambda volume: F.conv3d(volume, taps, padding=(0, 0, 1)), features)


def _summed_taps(taps: Tensor) -> Tensor:
    """The rest of `_score_taps`: the sum over disparity and rows, (B, 9, D, H, W) -> (B, D, H, W)."""
    levels, height = taps.shape[2:4]
    padded = F.pad(taps, (0, 0, 1, 1, 1, 1))
    parts = [
        padded[:, 3 * tap_d + tap_y, tap_d : tap_d + levels, tap_y : tap_y + height]
        for tap_d in range(3)
        for tap_y in range(3)
    ]
    return torch.stack(parts).sum(dim=0)
