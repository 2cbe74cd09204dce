"""PSMNet on a pair of KITTI's size: computed as the published code does, and as we do, in float32 and bfloat16."""

import ctypes
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pseudolidar.benchmarks.measure import benchmark_table, side_by_side
from pseudolidar.files import InputError
from pseudolidar.kitti import ObjectDataset, read_image
from pseudolidar.stereo import FrozenPSMNet, PSMNet, load_psmnet
from pseudolidar.stereo.checkpoints import arguments_of
from pseudolidar.stereo.data import normalised
from pseudolidar.stereo.psmnet import STRIDE
from pseudolidar.synthetic import PRESETS, write_town
from pseudolidar.tables import print_tables

HEIGHT, WIDTH, MAX_DISPARITY = 384, 1248, 192

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_BASELINE = "plain PyTorch"
# Two seconds of them: a machine with other work to do shows its best seldom.
_RATE_REPETITIONS = 50


def main(
    weights: str | None = None,
    align_corners: bool | None = None,
    left: str | None = None,
    right: str | None = None,
    repetitions: int = 3,
) -> None:
    """Print time and memory, and how far our disparities are from those of the plain network.

    Args:
        weights: file of weights; None: random ones, whose disparities are noise, so that a difference in rounding grows
            far beyond what it is in a trained network.
        align_corners: of the weights, where the file does not say, see `load_psmnet`.
        left, right: a rectified pair of at most 384 x 1248 px; None: a frame of the synthetic town.
        repetitions: timed calls of each.
    """
    model = random_network() if weights is None else load_psmnet(weights, align_corners, MAX_DISPARITY)
    pair = _pair(left, right)
    plain = PlainPSMNet(model)
    frozen = {name: FrozenPSMNet(model, dtype) for name, dtype in _DTYPES.items()}
    padded = _padded(*pair)
    found: dict[str, Tensor] = {}

    def contender(name: str, network: Callable[[Tensor, Tensor], Tensor], inputs: tuple[Tensor, Tensor]) -> None:
        with torch.inference_mode():
            found[name] = network(*inputs)[0]

    def as_it_comes() -> None:
        with ordinary_pages():
            contender(_BASELINE, plain, padded)

    rows = side_by_side(
        {
            _BASELINE: as_it_comes,
            f"{_BASELINE}, huge pages": lambda: contender("huge pages", plain, padded),
            "FrozenPSMNet, float32": lambda: contender("float32", frozen["float32"], pair),
            "FrozenPSMNet, bfloat16": lambda: contender("bfloat16", frozen["bfloat16"], pair),
        },
        repetitions,
    )
    height, width = pair[0].shape[-2:]
    reference = found[_BASELINE][-height:, :width]
    error = {name: (found[name] - reference).abs() for name in _DTYPES}
    operations = _multiplications(frozen["float32"], pair)
    rates = {name: _convolution_rate(dtype) for name, dtype in _DTYPES.items()}
    limits = ", ".join(f"{operations / rate:.2f} s in {name}" for name, rate in rates.items())
    kind = "random weights" if weights is None else Path(weights).name
    notes = (
        f"{kind}: disparity {float(reference.min()):.1f} to {float(reference.max()):.1f} px; difference from the plain "
        f"network's: float32 at most {float(error['float32'].max()):.4f} px, "
        f"bfloat16 {float(error['bfloat16'].median()):.3f} px in the median",
        f"limit: our {operations / 1e9:.0f}e9 multiplications at the rate of one bare 3x3 convolution: {limits}",
        f"{_BASELINE}: the published operations one after the other, in PyTorch's own memory; with huge pages: in ours",
    )
    size = f"{HEIGHT} x {WIDTH} px, max_disparity {MAX_DISPARITY}"
    print_tables([benchmark_table("PSMNet", size, torch.get_num_threads(), rows, notes)])


class PlainPSMNet(PSMNet):
    """The published network's operations as its paper lists them, on the layers of another network.

    Batch normalisation on its own, the cost volume filled level by level, scores upsampled to full resolution, then
    softmax and expectation; images one after the other, channels first.
    """

    def __init__(self, model: PSMNet) -> None:
        super().__init__(**arguments_of(model))
        self.load_state_dict(model.state_dict())
        self.to(memory_format=torch.contiguous_format)
        self.eval()

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Two images (B, 3, H, W) -> disparity (B, H, W) px."""
        of_left, of_right = self.feature_extraction(left), self.feature_extraction(right)
        batch, channels, height, width = of_left.shape
        volume = of_left.new_zeros(batch, 2 * channels, self.max_disparity // STRIDE, height, width)
        for level in range(volume.shape[2]):
            volume[:, :channels, level, :, level:] = of_left[..., level:]
            volume[:, channels:, level, :, level:] = of_right[..., : width - level]
        cost = self.dres0(volume)
        cost = self.dres1(cost) + cost
        out, first_pre, post = cost, None, None
        scores: Tensor | None = None
        for index in range(1, self.hourglasses + 1):
            out, pre, post = self.get_submodule(f"dres{index + 1}")(out, first_pre, post)
            first_pre = pre if first_pre is None else first_pre
            out = out + cost
            head = self.get_submodule(f"classif{index}")(out)
            scores = head if scores is None else head + scores
        assert scores is not None
        size = (self.max_disparity, *left.shape[-2:])
        fine = F.interpolate(scores, size, mode="trilinear", align_corners=self.align_corners).squeeze(1)
        disparities = torch.arange(self.max_disparity, dtype=fine.dtype)
        return (fine.softmax(dim=1) * disparities[:, None, None]).sum(dim=1)


@contextmanager
def ordinary_pages() -> Iterator[None]:
    """Memory first touched inside comes in ordinary pages, as in a program that asks for no others.

    Linux alone; elsewhere there is nothing to switch off.
    """
    # prctl(PR_SET_THP_DISABLE), linux/prctl.h
    switch = getattr(ctypes.CDLL(None), "prctl", None)
    if switch is not None:
        switch(41, 1, 0, 0, 0)
    try:
        yield
    finally:
        if switch is not None:
            switch(41, 0, 0, 0, 0)


def random_network() -> PSMNet:
    """A network whose matrices have variance 1 / fan-in: signals neither grow nor fade, disparities are noise."""
    model = PSMNet().eval()
    random = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5, generator=random)
    return model


def _pair(left: str | None, right: str | None) -> tuple[Tensor, Tensor]:
    if (left is None) != (right is None):
        raise InputError("expected left=FILE and right=FILE, or neither")
    if left is not None and right is not None:
        images = read_image(left), read_image(right)
    else:
        with tempfile.TemporaryDirectory() as folder:
            write_town(Path(folder), PRESETS["full"], {"train": 1}, seed=0, workers=1)
            images = ObjectDataset(folder, "train")[0].stereo_pair()
    for image in images:
        if image.shape != images[0].shape or image.shape[0] > HEIGHT or image.shape[1] > WIDTH:
            found = " and ".join(f"{image.shape[1]} x {image.shape[0]}" for image in images)
            raise InputError(f"pair: found images of {found} px, expected one size of at most {WIDTH} x {HEIGHT} px")
    first, second = (torch.from_numpy(normalised(image))[None] for image in images)
    return first, second


def _padded(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    top, side = HEIGHT - left.shape[-2], WIDTH - left.shape[-1]
    return F.pad(left, (0, side, top, 0)), F.pad(right, (0, side, top, 0))


def _multiplications(network: FrozenPSMNet, pair: tuple[Tensor, Tensor]) -> float:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(*pair)
    return counter.get_total_flops() / 2


def _convolution_rate(dtype: torch.dtype) -> float:
    """Multiplications a second of a 3x3 convolution from 128 to 128 channels, 96 x 312 px, the best of several."""
    features = torch.rand(2, 128, 96, 312).to(dtype).contiguous(memory_format=torch.channels_last)
    weight = torch.rand(128, 128, 3, 3).to(dtype).contiguous(memory_format=torch.channels_last)
    seconds = []
    for _ in range(_RATE_REPETITIONS):
        start = time.perf_counter()
        with torch.inference_mode():
            F.conv2d(features, weight, padding=1)
        seconds.append(time.perf_counter() - start)
    return features.numel() * 128 * 9 / min(seconds)
