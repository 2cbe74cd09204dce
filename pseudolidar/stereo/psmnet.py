"""PSMNet, the stacked hourglass (Chang and Chen, CVPR 2018): a stereo pair in, a disparity map out."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from typing_extensions import override

from pseudolidar.files import InputError
from pseudolidar.stereo.regression import regress_disparity
from pseudolidar.training import recomputed

# Features and the cost volume are at a quarter of the image's resolution, in both image axes and in disparity.
STRIDE = 4

# Heights and widths that the network takes are multiples of this: the hourglasses halve the quarter twice more.
SIZE_MULTIPLE = 4 * STRIDE


# PyTorch hands float32 convolutions of one volume to a fallback ten times slower than oneDNN's unless the first four
# of its sizes multiply to more than this.
_SMALL_VOLUME = 20480


class PSMNet(nn.Module):
    """Stereo matching by a pyramid of pooled features, a concatenation cost volume and stacked 3D hourglasses.

    The defaults are the published network: 5,224,768 parameters under their published names, with He's initialisation
    over the fan-out. Narrower and shallower ones are the same code. InputError for an argument out of its range.

    Args:
        max_disparity: disparities from 0 to `max_disparity` - 1 px are regressed; a multiple of 16.
        align_corners: of every interpolation; True for checkpoints trained before PyTorch 0.4.
        width: channels of the first convolutions, of the features in the cost volume and of the 3D convolutions.
        pool_sizes: windows of the four (or fewer) pooling branches, in feature pixels, largest first.
        hourglasses: 1 to 3.
        blocks: residual blocks in each of the four feature layers.

    Attributes:
        checkpointing: whether training computes most of the forward pass again in the backward pass: two fifths of the
            memory for one more forward pass, with the same result.
    """

    def __init__(
        self,
        max_disparity: int = 192,
        align_corners: bool = False,
        width: int = 32,
        pool_sizes: Sequence[int] = (64, 32, 16, 8),
        hourglasses: int = 3,
        blocks: Sequence[int] = (3, 16, 3, 3),
    ) -> None:
        super().__init__()
        if max_disparity <= 0 or max_disparity % 16:
            raise InputError(f"max_disparity: found {max_disparity}, expected a positive multiple of 16")
        if not 1 <= hourglasses <= 3:
            raise InputError(f"hourglasses: found {hourglasses}, expected 1, 2 or 3")
        if len(blocks) != 4 or min(blocks) < 1:
            raise InputError(f"blocks: found {tuple(blocks)}, expected four positive numbers")
        self.max_disparity = max_disparity
        self.align_corners = align_corners
        self.width = width
        self.hourglasses = hourglasses
        self.checkpointing = False
        self.feature_extraction = FeatureExtraction(width, pool_sizes, blocks, align_corners)
        self.dres0 = nn.Sequential(_conv_bn_3d(2 * width, width), nn.ReLU(), _conv_bn_3d(width, width), nn.ReLU())
        self.dres1 = nn.Sequential(_conv_bn_3d(width, width), nn.ReLU(), _conv_bn_3d(width, width))
        self.dres2 = Hourglass(width)
        self.dres3 = Hourglass(width) if hourglasses > 1 else None
        self.dres4 = Hourglass(width) if hourglasses > 2 else None
        self.classif1 = _score_head(width)
        self.classif2 = _score_head(width) if hourglasses > 1 else None
        self.classif3 = _score_head(width) if hourglasses > 2 else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def min_size(self) -> int:
        """Smallest height and width that the pooling branches take, in pixels; a multiple of 16."""
        return SIZE_MULTIPLE * math.ceil(STRIDE * max(self.feature_extraction.pool_sizes) / SIZE_MULTIPLE)

    def forward(self, left: Tensor, right: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Disparity of the left image, (B, H, W) float32 px; in training mode one for each hourglass, the best last.

        `left` and `right` are (B, 3, H, W) float32, RGB, normalised by ImageNet's mean and standard deviation. In
        training mode H and W are multiples of 16 and at least `min_size`; in evaluation mode images of any size are
        padded, see `pad`, and the padding is cut off again. `FrozenPSMNet` computes the same several times faster.

        Raises:
            ValueError: shapes that do not fit; in evaluation mode a pixel that is not finite.
        """
        require_shapes(left, right)
        height, width = left.shape[-2:]
        if self.training:
            if height % SIZE_MULTIPLE or width % SIZE_MULTIPLE or min(height, width) < self.min_size:
                expected = f"multiples of {SIZE_MULTIPLE}, at least {self.min_size}"
                raise InputError(f"images: found {height} x {width} px, expected {expected}")
            return self._disparities(left, right)
        require_finite(left, right)
        return self._disparities(pad(left, self.min_size), pad(right, self.min_size))[-1][:, -height:, :width]

    def _disparities(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        """Figure 1 of the paper: (B, H, W) px, one for each hourglass in training mode, else of the last alone."""
        twice = self.checkpointing and self.training and torch.is_grad_enabled()

        def run(part: Any, *inputs: Any) -> Any:
            return recomputed(self, part, *inputs) if twice else part(*inputs)

        # Both images as one batch would change the statistics of batch normalisation, so they go one after the other.
        left_features = run(self.feature_extraction, left)
        right_features = run(self.feature_extraction, right)

        cost0 = run(self._compared, left_features, right_features)
        cost0 = run(self.dres1, cost0) + cost0

        out1, pre1, post1 = run(self.dres2, cost0, None, None)
        out1 = out1 + cost0
        # Scores are summed and regressed in float32, whatever the precision of the convolutions.
        scores = [run(self.classif1, out1).float()]

        if self.dres3 is not None:
            out2, _, post2 = run(self.dres3, out1, pre1, post1)
            out2 = out2 + cost0
            scores.append(run(self.classif2, out2).float() + scores[0])

        if self.dres4 is not None:
            out3, _, _ = run(self.dres4, out2, pre1, post2)
            out3 = out3 + cost0
            scores.append(run(self.classif3, out3).float() + scores[1])

        def regressed(cost: Tensor) -> Tensor:
            return regress_disparity(cost.squeeze(1), self.max_disparity, left.shape[-2:], self.align_corners)

        return tuple(run(regressed, cost) for cost in (scores if self.training else scores[-1:]))

    def _compared(self, left: Tensor, right: Tensor) -> Tensor:
        """Features (B, width, H/4, W/4) of both images -> cost (B, width, D/4, H/4, W/4)."""
        return self.dres0(cost_volume(left, right, self.max_disparity // STRIDE))


class FeatureExtraction(nn.Module):
    """Features (B, width, H/4, W/4) of an image (B, 3, H, W): a residual network and spatial pyramid pooling."""

    def __init__(self, width: int, pool_sizes: Sequence[int], blocks: Sequence[int], align_corners: bool) -> None:
        super().__init__()
        if not 1 <= len(pool_sizes) <= 4 or min(pool_sizes) < 1:
            raise InputError(f"pool_sizes: found {tuple(pool_sizes)}, expected one to four positive numbers")
        self.align_corners = align_corners
        self.pool_sizes = tuple(pool_sizes)
        self.firstconv = nn.Sequential(
            _conv_bn(3, width, stride=2), nn.ReLU(),
            _conv_bn(width, width), nn.ReLU(),
            _conv_bn(width, width), nn.ReLU(),
        )  # fmt: skip
        self.layer1 = _layer(width, width, blocks[0])
        self.layer2 = _layer(width, 2 * width, blocks[1], stride=2)
        self.layer3 = _layer(2 * width, 4 * width, blocks[2])
        self.layer4 = _layer(4 * width, 4 * width, blocks[3], dilation=2)
        self.branch1, self.branch2, self.branch3, self.branch4 = (
            nn.Sequential(nn.AvgPool2d(size, size), _conv_bn(4 * width, width, kernel=1), nn.ReLU()) if size else None
            for size in (*pool_sizes, 0, 0, 0)[:4]
        )
        self.lastconv = nn.Sequential(
            _conv_bn((6 + len(pool_sizes)) * width, 4 * width), nn.ReLU(), nn.Conv2d(4 * width, width, 1, bias=False)
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, width, H/4, W/4)."""
        raw = self.layer2(self.layer1(self.firstconv(image)))
        deep = self.layer4(self.layer3(raw))
        pooled = [
            F.interpolate(branch(deep), deep.shape[-2:], mode="bilinear", align_corners=self.align_corners)
            for branch in (self.branch4, self.branch3, self.branch2, self.branch1)
            if branch is not None
        ]
        return self.lastconv(torch.cat([raw, deep, *pooled], dim=1))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut, without a rectifier at the end (PSMNet, table 1)."""

    def __init__(self, inputs: int, outputs: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(_conv_bn(inputs, outputs, stride=stride, dilation=dilation), nn.ReLU())
        self.conv2 = _conv_bn(outputs, outputs, dilation=dilation)
        self.downsample = _conv_bn(inputs, outputs, 1, stride) if stride != 1 or inputs != outputs else None

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        shortcut = features if self.downsample is None else self.downsample(features)
        return self.conv2(self.conv1(features)) + shortcut


class Hourglass(nn.Module):
    """Down to a quarter of the volume and up again; `pre` and `post` link it with the hourglasses before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(_conv_bn_3d(width, 2 * width, stride=2), nn.ReLU())
        self.conv2 = _conv_bn_3d(2 * width, 2 * width)
        self.conv3 = nn.Sequential(_conv_bn_3d(2 * width, 2 * width, stride=2), nn.ReLU())
        self.conv4 = nn.Sequential(_conv_bn_3d(2 * width, 2 * width), nn.ReLU())
        self.conv5 = _deconv_bn_3d(2 * width, 2 * width)
        self.conv6 = _deconv_bn_3d(2 * width, width)

    def forward(
        self, volume: Tensor, earlier_pre: Tensor | None, earlier_post: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(B, width, D, H, W) -> the same shape, and two maps (B, 2 width, D/2, H/2, W/2) for later hourglasses."""
        pre = self.conv2(self.conv1(volume))
        pre = F.relu(pre if earlier_post is None else pre + earlier_post)
        up = self.conv5(self.conv4(self.conv3(pre)))
        post = F.relu(up + (pre if earlier_pre is None else earlier_pre))
        return self.conv6(post), pre, post


def cost_volume(left: Tensor, right: Tensor, levels: int) -> Tensor:
    """Left features beside right features shifted by 0 to `levels` - 1 pixels, zero where the shift leaves the image.

    (B, C, H, W) each -> (B, 2 C, levels, H, W), channels last, as 3D convolutions are fast. Gradients are summed over
    the levels in float32 at least.
    """
    volume: Tensor = _CostVolume.apply(left, right, levels)
    return volume


class _CostVolume(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, levels: int) -> Tensor:
        batch, channels, height, width = left.shape
        volume = torch.empty(
            (batch, 2 * channels, levels, height, width), dtype=left.dtype, device=left.device,
            memory_format=torch.channels_last_3d,
        )  # fmt: skip
        for level in range(levels):
            volume[:, :, level, :, :level] = 0
            volume[:, :channels, level, :, level:] = left[..., level:]
            volume[:, channels:, level, :, level:] = right[..., : max(width - level, 0)]
        return volume

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        of_left, of_right = gradients[0].chunk(2, dim=1)
        width = of_left.shape[-1]
        exact = torch.promote_types(of_left.dtype, torch.float32)
        left, right = of_left[:, :, 0].to(exact, copy=True), of_right[:, :, 0].to(exact, copy=True)
        for level in range(1, min(of_left.shape[2], width)):
            left[..., level:] += of_left[:, :, level, :, level:]
            right[..., : width - level] += of_right[:, :, level, :, level:]
        return left.to(of_left.dtype), right.to(of_right.dtype), None


def start_comparing(model: PSMNet) -> None:
    """Change a new network's first 3D convolution so that it begins as a comparison; not in the paper.

    Half of its filters begin as left minus right, half as right minus left, feature by feature, over a weaker random
    part. Matching then sets in after half as many steps as from random filters alone.
    """
    weight = model.get_parameter("dres0.0.0.weight")
    filters, half = weight.shape[0], weight.shape[0] // 2
    with torch.no_grad():
        weight.mul_(0.3)
        for feature in range(half):
            for row, sign in ((feature, 1.0), (feature + half, -1.0)):
                weight[row, feature, 1, 1, 1] += sign
                weight[row, filters + feature, 1, 1, 1] -= sign


def channels_last(model: nn.Module) -> None:
    """Lay out the weights of 2D and 3D convolutions channels last, in place; the activations follow.

    On two CPU cores a training step takes a third of the time (float32).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
        elif isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            module.to(memory_format=torch.channels_last_3d)


def pad(images: Tensor, min_size: int) -> Tensor:
    """Add zeros at the top and on the right of (B, 3, H, W), as published code does on KITTI, for `PSMNet.min_size`."""
    above, beside = (max(min_size - size, -size % SIZE_MULTIPLE) for size in images.shape[-2:])
    return F.pad(images, (0, beside, above, 0))


def require_shapes(left: Tensor, right: Tensor) -> None:
    """Raise a ValueError unless both are (B, 3, H, W), of one shape."""
    if left.ndim != 4 or left.shape[1] != 3:
        raise ValueError(f"left image: found shape {tuple(left.shape)}, expected (B, 3, H, W)")
    if left.shape != right.shape:
        raise InputError(f"right image: found shape {tuple(right.shape)}, expected the left's {tuple(left.shape)}")


def require_finite(left: Tensor, right: Tensor) -> None:
    """Raise a ValueError at a pixel that is not finite: convolutions would spread one NaN over the whole map."""
    for side, image in (("left", left), ("right", right)):
        finite = image.isfinite()
        if not finite.all():
            _, channel, row, column = first = (~finite).nonzero()[0].tolist()
            place = f"row {row}, column {column}, channel {channel}"
            raise ValueError(f"{side} image: found {float(image[tuple(first)])} at {place}, expected finite pixels")


def require_bfloat16(width: int, max_disparity: int) -> None:
    """Raise an InputError for networks that oneDNN 3.12, which PyTorch uses on CPUs, computes badly in bfloat16.

    Below 16 channels its 1x1 convolutions of stride 2 write out of bounds; widths that are no multiple of 8 fall back
    to loops fifty times slower; weight gradients of 3D convolutions over two levels, which the hourglass comes to from
    16 or 32 px, are uninitialised memory.
    """
    if width < 16 or width % 8:
        raise InputError(f"width: found {width} with bfloat16, expected a multiple of 8 from 16 on (or float32)")
    if max_disparity < 48:
        raise InputError(f"max_disparity: found {max_disparity} with bfloat16, expected at least 48 (or float32)")


def convolved(convolve: Callable[[Tensor], Tensor], volume: Tensor) -> Tensor:
    """A 3D convolution of a volume (B, C, D, H, W); on a processor a small one goes twice, see `_SMALL_VOLUME`."""
    small = len(volume) == 1 and volume[0, ..., 0].numel() <= _SMALL_VOLUME
    on_cpu = volume.device.type == "cpu" and volume.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return convolve(volume.expand(2, -1, -1, -1, -1))[:1] if small and on_cpu else convolve(volume)


class _Conv3d(nn.Conv3d):
    @override
    def forward(self, input: Tensor) -> Tensor:
        return convolved(super().forward, input)


class _ConvTranspose3d(nn.ConvTranspose3d):
    @override
    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        return convolved(super().forward, input)


def _conv_bn(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, dilation * (kernel // 2), dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def _conv_bn_3d(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(_Conv3d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm3d(outputs))


def _deconv_bn_3d(inputs: int, outputs: int) -> nn.Sequential:
    convolution = _ConvTranspose3d(inputs, outputs, 3, 2, 1, output_padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm3d(outputs))


def _score_head(width: int) -> nn.Sequential:
    return nn.Sequential(_conv_bn_3d(width, width), nn.ReLU(), _Conv3d(width, 1, 3, padding=1, bias=False))


def _layer(inputs: int, outputs: int, blocks: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    rest = [ResidualBlock(outputs, outputs, 1, dilation) for _ in range(blocks - 1)]
    return nn.Sequential(ResidualBlock(inputs, outputs, stride, dilation), *rest)
