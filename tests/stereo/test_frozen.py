"""PSMNet for inference: the first convolution without a cost volume, the regression, the frozen network as a whole."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pseudolidar.kitti import read_image
from pseudolidar.stereo import FrozenPSMNet, PSMNet
from pseudolidar.stereo.data import normalised
from pseudolidar.stereo.psmnet import cost_volume
from pseudolidar.stereo.volume_convolution import VolumeConvolution


def slim(seed: int, hourglasses: int = 1, align_corners: bool = False) -> PSMNet:
    """A small network whose batch normalisation does something."""
    torch.manual_seed(seed)
    model = PSMNet(48, align_corners, width=8, pool_sizes=(8, 4), hourglasses=hourglasses, blocks=(1, 2, 1, 1))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
            nn.init.normal_(module.running_mean, 0, 0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
    # Scores as near each other as a trained network's: otherwise disparity jumps with the last bit of a score.
    for index in range(model.hourglasses):
        nn.init.normal_(model.get_parameter(f"classif{index + 1}.2.weight"), 0, 0.01)
    return model.eval()


def volume_convolution(weight: torch.Tensor, bias: torch.Tensor, levels: int) -> VolumeConvolution:
    convolution = nn.Conv3d(weight.shape[1], weight.shape[0], 3, padding=1)
    convolution.load_state_dict({"weight": weight, "bias": bias})
    return VolumeConvolution(convolution, levels)


@settings(deadline=None, max_examples=40)
@given(
    batch=st.integers(1, 2),
    channels=st.integers(1, 3),
    filters=st.integers(1, 3),
    size=st.tuples(st.integers(1, 6), st.integers(2, 12)),
    levels=st.integers(3, 14),
    seed=st.integers(0, 2**31),
)
def test_volume_convolution_is_the_convolution_of_the_cost_volume(
    batch: int, channels: int, filters: int, size: tuple[int, int], levels: int, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    left, right = torch.randn(2, batch, channels, *size, generator=random)
    weight = torch.randn(filters, 2 * channels, 3, 3, 3, generator=random)
    bias = torch.randn(filters, generator=random)
    expected = torch.conv3d(cost_volume(left, right, levels), weight, bias, padding=1)
    found = volume_convolution(weight, bias, levels)(left, right)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_volume_convolution_takes_features_of_any_layout() -> None:
    left, right = torch.randn(2, 2, 12, 4, 6).permute(0, 1, 4, 3, 2)
    weight, bias = torch.randn(3, 12, 3, 3, 3), torch.randn(3)
    expected = torch.conv3d(cost_volume(left, right, 5), weight, bias, padding=1)
    found = volume_convolution(weight, bias, 5)(left, right)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_is_the_same() -> None:
    torch.manual_seed(0)
    model = PSMNet(16, width=8, pool_sizes=(4,), hourglasses=1, blocks=(1, 1, 1, 1)).eval()
    model.get_parameter("classif1.2.weight").data.mul_(0.1)
    left, right = torch.randn(2, 1, 3, 32, 64)
    with torch.inference_mode():
        expected, found = FrozenPSMNet(model)(left, right), FrozenPSMNet(model, compile=True)(left, right)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("hourglasses", [1, 2, 3])
@pytest.mark.parametrize("align_corners", [False, True])
def test_frozen_is_the_network(hourglasses: int, align_corners: bool) -> None:
    model = slim(hourglasses, hourglasses=hourglasses, align_corners=align_corners)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    left, right = torch.randn(2, 2, 3, 64, 112)
    with torch.inference_mode():
        expected, found = model(left, right), FrozenPSMNet(model)(left, right)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_8_bit_images_are_normalised_inside(dtype: torch.dtype) -> None:
    network = FrozenPSMNet(slim(0), dtype)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8)
    pair = torch.from_numpy(images).permute(0, 3, 1, 2).split(1)
    with torch.inference_mode():
        expected = network(*(torch.from_numpy(normalised(image))[None] for image in images))
        assert torch.equal(network(*pair), expected)


@pytest.mark.parametrize("size", [(64, 96), (50, 75), (20, 30)])
def test_images_of_any_size(size: tuple[int, int]) -> None:
    model = slim(0)
    left, right = torch.randn(2, 1, 3, *size)
    top, side = -size[0] % 16 if size[0] > 32 else 32 - size[0], -size[1] % 16 if size[1] > 32 else 32 - size[1]
    with torch.inference_mode():
        padded = [nn.functional.pad(image, (0, side, top, 0)) for image in (left, right)]
        expected = model(*padded)[:, top:, : size[1]]
        assert torch.equal(model(left, right), expected)
        found = FrozenPSMNet(model)(left, right)
    assert found.shape == (1, *size)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_frozen_pairs_of_a_batch_do_not_touch_each_other() -> None:
    frozen = FrozenPSMNet(slim(0))
    left, right = torch.randn(2, 3, 3, 32, 64)
    with torch.inference_mode():
        together = frozen(left, right)
        alone = torch.cat([frozen(left[i : i + 1], right[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-3)


def test_frozen_in_bfloat16_is_near_the_network() -> None:
    torch.manual_seed(0)
    model = PSMNet(max_disparity=48, width=16, pool_sizes=(8, 4), blocks=(1, 1, 1, 1)).eval()
    frozen = FrozenPSMNet(model, torch.bfloat16)
    left, right = torch.randn(2, 1, 3, 64, 96)
    with torch.inference_mode():
        found, expected = frozen(left, right), model(left, right)
    assert frozen.dtype == torch.bfloat16 and found.dtype == torch.float32
    difference = (found - expected).abs()
    assert 0 < difference.median() < 0.5


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        ((1, 3, 32, 64), (1, 3, 32, 48), r"right image: found shape \(1, 3, 32, 48\)"),
        ((3, 32, 64), (3, 32, 64), r"left image: found shape \(3, 32, 64\), expected \(B, 3, H, W\)"),
        ((1, 1, 32, 64), (1, 1, 32, 64), r"left image: found shape \(1, 1, 32, 64\)"),
    ],
)
def test_what_is_no_pair_is_refused(left: tuple[int, ...], right: tuple[int, ...], message: str) -> None:
    model = slim(0)
    for network in (model, FrozenPSMNet(model)):
        with pytest.raises(ValueError, match=message):
            network(torch.zeros(left), torch.zeros(right))


def test_pixels_that_are_not_finite_are_refused() -> None:
    model = slim(0)
    left, right = torch.zeros(2, 1, 3, 32, 64)
    right[0, 1, 5, 7] = torch.nan
    for network in (model, FrozenPSMNet(model)):
        with pytest.raises(ValueError, match="right image: found nan at row 5, column 7"):
            network(left, right)


@pytest.mark.parametrize("align_corners", [False, True])
def test_the_published_networks_output(reference_dir: Path, kitti_sample: Path, align_corners: bool) -> None:
    model = PSMNet(max_disparity=64, align_corners=align_corners).eval()
    spec = importlib.util.spec_from_file_location("fill_weights", reference_dir / "fill_weights.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.fill_weights(model, 1.0)
    pair = [
        torch.from_numpy(normalised(read_image(kitti_sample / "stereo_demo" / name)[100:356, 300:620]))[None]
        for name in ("left.png", "right.png")
    ]
    published = np.load(reference_dir / f"psmnet_stackhourglass_align{int(align_corners)}_dev.npz")["disparity"]
    with torch.inference_mode():
        exact = FrozenPSMNet(model)(*pair)[0].numpy()
        reduced = FrozenPSMNet(model, torch.bfloat16)(*pair)[0].numpy()
    assert np.abs(exact - published).max() < 1e-3
    assert np.median(np.abs(reduced - published)) < 0.1
