"""PSMNet, the stacked hourglass (Chang and Chen, CVPR 2018): a stereo pair in, a disparity map out."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pseudolidar.files import InputError
from pseudolidar.training import recomputed

# Features and the cost volume are at a quarter of the image's resolution, in both image axes and in disparity.
STRIDE = 4


class PSMNet(nn.Module):
    """Stereo matching by a pyramid of pooled features, a concatenation cost volume and stacked 3D hourglasses.

    The defaults are the published network: 5,224,768 parameters under their published names. Narrower and shallower
    ones are the same code.

    Args:
        max_disparity: disparities from 0 to `max_disparity` - 1 px are regressed; a multiple of 16.
        align_corners: of every interpolation; True for checkpoints trained before PyTorch 0.4.
        width: channels of the first convolutions, of the features in the cost volume and of the 3D convolutions.
        pool_sizes: windows of the four (or fewer) pooling branches, in feature pixels, largest first.
        hourglasses: 1 to 3.
        blocks: residual blocks in each of the four feature layers.

    Attributes:
        checkpointing: whether training keeps little of the forward pass and computes it again in the backward pass:
            two fifths of the memory for one more forward pass, with the same result.

    Raises:
        InputError: an argument is out of its range.
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
        self.width = width
        self.align_corners = align_corners
        self.hourglasses = hourglasses
        self.checkpointing = False
        self.feature_extraction = FeatureExtraction(width, pool_sizes, blocks, align_corners)
        self.dres0 = nn.Sequential(_conv_bn_3d(2 * width, width), nn.ReLU(), _conv_bn_3d(width, width), nn.ReLU())
        self.dres1 = nn.Sequential(_conv_bn_3d(width, width), nn.ReLU(), _conv_bn_3d(width, width))
        for index in range(hourglasses):
            self.add_module(f"dres{index + 2}", Hourglass(width))
        for index in range(hourglasses):
            head = nn.Sequential(_conv_bn_3d(width, width), nn.ReLU(), nn.Conv3d(width, 1, 3, padding=1, bias=False))
            self.add_module(f"classif{index + 1}", head)
        _initialise(self)

    @property
    def size_multiple(self) -> int:
        """Heights and widths that the network takes are multiples of this."""
        return 4 * STRIDE

    @property
    def min_size(self) -> int:
        """Smallest height and width that the pooling branches take, in pixels."""
        return max(self.size_multiple, STRIDE * max(self.feature_extraction.pool_sizes))

    def forward(self, left: Tensor, right: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Disparity of the left image.

        Args:
            left, right: (B, 3, H, W) float32, RGB, normalised by ImageNet's mean and standard deviation. In training
                mode H and W are multiples of `size_multiple` and at least `min_size`; in evaluation mode images of any
                size are padded with zeros at the top and on the right, as published code does on KITTI, and the padding
                is cut off again. `FrozenPSMNet` computes the same several times faster.

        Returns:
            (B, H, W) float32 px in evaluation mode; in training mode a tuple of such maps, one for each hourglass, the
            last one the best.

        Raises:
            ValueError: shapes that do not fit; in evaluation mode a pixel that is not finite.
        """
        require_pair_of_tensors(left, right)
        height, width = left.shape[-2:]
        if self.training:
            if height % self.size_multiple or width % self.size_multiple or min(height, width) < self.min_size:
                expected = f"multiples of {self.size_multiple}, at least {self.min_size}"
                raise InputError(f"images: found {height} x {width} px, expected {expected}")
            return self._outputs(left, right)
        require_finite(left, right)
        above, beside = (padding(size, self.size_multiple, self.min_size) for size in (height, width))
        pair = (F.pad(image, (0, beside, above, 0)) for image in (left, right))
        return self._outputs(*pair)[-1][:, above:, :width]

    def _outputs(self, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        """The last hourglass's disparity (B, H, W) px, in training mode those of the others before it."""
        height, width = left.shape[-2:]
        # Both images as one batch would change the statistics of batch normalisation, so they go one after the other.
        left_features = self._part(self.feature_extraction, left)
        right_features = self._part(self.feature_extraction, right)
        cost0 = self._part(self._compare, left_features, right_features)
        cost0 = self._part(self.dres1, cost0) + cost0
        out, first_pre, post = cost0, None, None
        cost: Tensor | None = None
        costs = []
        for index in range(self.hourglasses):
            out, head, pre, post = self._part(self._stage, index, cost0, out, first_pre, post)
            first_pre = pre if first_pre is None else first_pre
            cost = head if cost is None else head + cost
            costs.append(cost)
        if not self.training:
            costs = costs[-1:]
        return tuple(self._part(self._regress, cost, height, width) for cost in costs)

    def _part(self, part: Callable[..., Any], *inputs: Any) -> Any:
        """A part of the network, as `checkpointing` says."""
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return recomputed(self, part, *inputs)
        return part(*inputs)

    def _compare(self, left: Tensor, right: Tensor) -> Tensor:
        """Features (B, width, H/4, W/4) of both images -> cost (B, width, D/4, H/4, W/4)."""
        return self.dres0(cost_volume(left, right, self.max_disparity // STRIDE))

    def _stage(
        self, index: int, cost0: Tensor, cost: Tensor, earlier_pre: Tensor | None, earlier_post: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """An hourglass on a cost (B, width, D/4, H/4, W/4): its cost, its head (B, 1, ...), and maps for later ones."""
        out, pre, post = self.get_submodule(f"dres{index + 2}")(cost, earlier_pre, earlier_post)
        out = out + cost0
        return out, self.get_submodule(f"classif{index + 1}")(out), pre, post

    def _regress(self, cost: Tensor, height: int, width: int) -> Tensor:
        """Disparity (B, H, W) from matching scores (B, 1, D/4, H/4, W/4): upsample, softmax, expectation."""
        return soft_argmin(cost.squeeze(1).float(), self.max_disparity, (height, width), self.align_corners)


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
        for index, size in enumerate(pool_sizes):
            pool = nn.Sequential(nn.AvgPool2d(size, size), _conv_bn(4 * width, width, kernel=1), nn.ReLU())
            self.add_module(f"branch{index + 1}", pool)
        channels = (6 + len(pool_sizes)) * width
        self.lastconv = nn.Sequential(
            _conv_bn(channels, 4 * width), nn.ReLU(), nn.Conv2d(4 * width, width, 1, bias=False)
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, width, H/4, W/4)."""
        raw = self.layer2(self.layer1(self.firstconv(image)))
        deep = self.layer4(self.layer3(raw))
        size = deep.shape[-2:]
        # The published order: the last (smallest) pool comes first.
        pooled = [
            F.interpolate(
                self.get_submodule(f"branch{index}")(deep), size, mode="bilinear", align_corners=self.align_corners
            )
            for index in range(len(self.pool_sizes), 0, -1)
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


def channels_last(model: nn.Module) -> None:
    """Lay out the weights of 2D and 3D convolutions channels last, in place; the activations follow.

    On two CPU cores a training step takes a third of the time that it takes otherwise (float32).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
        elif isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            module.to(memory_format=torch.channels_last_3d)


def require_bfloat16(width: int, max_disparity: int) -> None:
    """Refuse networks that oneDNN 3.12, behind PyTorch's CPU convolutions, computes wrongly or slowly in bfloat16.

    Below 16 channels its 1x1 convolutions of stride 2 write out of bounds; widths that are no multiple of 8 fall back
    to loops fifty times slower; weight gradients of 3D convolutions over two levels, which the hourglass comes to from
    16 or 32 px, are uninitialised memory.

    Raises:
        InputError: such a network.
    """
    if width < 16 or width % 8:
        raise InputError(f"width: found {width} with bfloat16, expected a multiple of 8 from 16 on (or float32)")
    if max_disparity < 48:
        raise InputError(f"max_disparity: found {max_disparity} with bfloat16, expected at least 48 (or float32)")


def require_pair_of_tensors(left: Tensor, right: Tensor) -> None:
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


def padding(size: int, multiple: int, smallest: int) -> int:
    """Pixels to add to a height or width so that it is a multiple of `multiple` and at least `smallest`."""
    return max(smallest, -(-size // multiple) * multiple) - size


def cost_volume(left: Tensor, right: Tensor, levels: int) -> Tensor:
    """Left features beside right features shifted by 0 to `levels` - 1 pixels, zero where the shift leaves the image.

    Args:
        left, right: (B, C, H, W).

    Returns:
        (B, 2 C, levels, H, W).
    """
    width = left.shape[-1]
    # unfold lays the shifts of the padded right features side by side without copying; the flip makes them ascend.
    shifted = F.pad(right, (levels - 1, 0)).unfold(3, levels, 1).flip(-1).permute(0, 1, 4, 2, 3)
    column = torch.arange(width, device=left.device)
    overlap = (column[None, :] >= torch.arange(levels, device=left.device)[:, None]).to(left.dtype)
    reference = left.unsqueeze(2) * overlap[None, None, :, None, :]
    return torch.cat([reference, shifted], dim=1)


def soft_argmin(scores: Tensor, max_disparity: int, size: tuple[int, int], align_corners: bool) -> Tensor:
    """Expected disparity (B, H, W), px, of matching scores (B, D/4, H/4, W/4) upsampled to (B, D, H, W).

    Trilinear interpolation is separable: bilinear over the image first, while there are few levels, then linear over
    disparity as one matrix product.
    """
    scores = F.interpolate(scores, size, mode="bilinear", align_corners=align_corners)
    levels = scores.shape[1]
    ramp = F.interpolate(
        torch.eye(levels, dtype=scores.dtype, device=scores.device)[None], max_disparity, mode="linear",
        align_corners=align_corners,
    )[0]  # fmt: skip
    fine = torch.einsum("kd,bkhw->bdhw", ramp, scores)
    disparities = torch.arange(max_disparity, dtype=scores.dtype, device=scores.device)
    return torch.einsum("d,bdhw->bhw", disparities, fine.softmax(dim=1))


def _conv_bn(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def _conv_bn_3d(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm3d(outputs))


def _deconv_bn_3d(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.ConvTranspose3d(inputs, outputs, 3, 2, 1, output_padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm3d(outputs))


def _layer(inputs: int, outputs: int, blocks: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    rest = [ResidualBlock(outputs, outputs, 1, dilation) for _ in range(blocks - 1)]
    return nn.Sequential(ResidualBlock(inputs, outputs, stride, dilation), *rest)


def _initialise(model: PSMNet) -> None:
    """He's initialisation over the fan-out, as published; and the first 3D convolution starts out comparing.

    Half of its filters begin as left minus right, half as right minus left, feature by feature, over a weaker random
    part. Matching then sets in after half as many steps as from random filters alone.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    weight = model.get_parameter("dres0.0.0.weight")
    filters, half = weight.shape[0], weight.shape[0] // 2
    with torch.no_grad():
        weight.mul_(0.3)
        for feature in range(half):
            for row, sign in ((feature, 1.0), (feature + half, -1.0)):
                weight[row, feature, 1, 1, 1] += sign
                weight[row, filters + feature, 1, 1, 1] -= sign
