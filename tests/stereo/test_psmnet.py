"""PSMNet: the published network's numbers, shapes, the cost volume, the soft argmin."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.kitti import read_image
from pseudolidar.stereo import PSMNet
from pseudolidar.stereo.data import normalised
from pseudolidar.stereo.psmnet import Hourglass, cost_volume, start_comparing
from pseudolidar.stereo.regression import regress_disparity, soft_argmin

SLIM: dict[str, Any] = {"max_disparity": 32, "width": 4, "pool_sizes": (8, 4), "blocks": (1, 1, 1, 1)}


def load_module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_default_is_the_published_network(reference_dir: Path) -> None:
    lines = (reference_dir / "psmnet_stackhourglass_keys.txt").read_text().splitlines()
    published = {name: shape.strip() for name, shape in (line.split(" ", 1) for line in lines)}
    ours = {name: str(tuple(tensor.shape)) for name, tensor in PSMNet().state_dict().items()}
    assert ours == published


def test_parameter_count() -> None:
    assert sum(parameter.numel() for parameter in PSMNet().parameters()) == 5_224_768


@pytest.mark.parametrize("align_corners", [False, True])
def test_the_published_networks_output(reference_dir: Path, kitti_sample: Path, align_corners: bool) -> None:
    model = PSMNet(max_disparity=64, align_corners=align_corners).eval()
    load_module(reference_dir / "fill_weights.py").fill_weights(model, 1.0)
    pair = [
        torch.from_numpy(normalised(read_image(kitti_sample / "stereo_demo" / name)[100:356, 300:620]))[None]
        for name in ("left.png", "right.png")
    ]
    with torch.inference_mode():
        disparity = model(*pair)[0].numpy()
    file = reference_dir / f"psmnet_stackhourglass_align{int(align_corners)}_dev.npz"
    assert np.abs(disparity - np.load(file)["disparity"]).max() < 1e-3


@pytest.mark.parametrize("hourglasses", [1, 2, 3])
def test_shapes_and_ranges_of_the_outputs(hourglasses: int) -> None:
    torch.manual_seed(0)
    model = PSMNet(**SLIM, hourglasses=hourglasses)
    left, right = torch.randn(2, 2, 3, 32, 64)
    outputs = model.train()(left, right)
    assert isinstance(outputs, tuple) and len(outputs) == hourglasses
    single = model.eval()(left, right)
    for disparity in (*outputs, single):
        assert disparity.shape == (2, 32, 64)
        assert disparity.dtype == torch.float32
        assert disparity.min() >= 0 and disparity.max() <= 31
    torch.stack(outputs).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("arithmetic", ["float32", "bfloat16"])
def test_checkpointing_changes_neither_loss_nor_gradients_nor_statistics(arithmetic: str) -> None:
    results = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = PSMNet(48, width=16, pool_sizes=(4, 2), hourglasses=2, blocks=(1, 1, 1, 1)).train()
        model.checkpointing = checkpointing
        kept = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += tensor.numel()
            return tensor

        left, right = torch.randn(2, 2, 3, 32, 48)
        with (
            torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16, enabled=arithmetic == "bfloat16"),
        ):
            loss = torch.stack(model(left, right)).square().mean()
        names, parameters = zip(*model.named_parameters(), strict=True)
        gradients = dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))
        results.append(({"loss": loss, **gradients, **dict(model.named_buffers())}, kept))
    (plain, kept_plain), (recomputed, kept_recomputed) = results
    assert plain.keys() == recomputed.keys()
    for name, tensor in plain.items():
        assert torch.equal(tensor, recomputed[name]), name
    assert plain["dres0.0.1.num_batches_tracked"] == 1
    assert kept_recomputed < 0.2 * kept_plain


def test_frames_of_a_batch_do_not_mix_in_evaluation() -> None:
    torch.manual_seed(0)
    model = PSMNet(**SLIM, hourglasses=1).eval()
    left, right = torch.randn(2, 2, 3, 32, 48)
    with torch.inference_mode():
        whole = model(left, right)
        single = model(left[1:], right[1:])
    # Rounding over fifty layers; another frame's disparities are whole pixels away.
    assert (whole[0] - single).abs().mean() > 0.1
    torch.testing.assert_close(whole[1:], single, rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("max_disparity", 40), ("max_disparity", 0), ("hourglasses", 4), ("blocks", (1, 1, 1)), ("pool_sizes", ())],
)
def test_arguments_out_of_range(argument: str, value: object) -> None:
    with pytest.raises(ValueError, match=argument):
        PSMNet(**{**SLIM, argument: value})


def test_images_that_do_not_fit() -> None:
    model = PSMNet(**SLIM, hourglasses=1)
    with pytest.raises(ValueError, match="right image"):
        model(torch.zeros(1, 3, 32, 64), torch.zeros(1, 3, 32, 48))
    model.train()
    with pytest.raises(ValueError, match="multiples of 16"):
        model(torch.zeros(1, 3, 32, 56), torch.zeros(1, 3, 32, 56))
    with pytest.raises(ValueError, match="at least 32"):
        model(torch.zeros(1, 3, 16, 64), torch.zeros(1, 3, 16, 64))


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 2**20))
def test_cost_volume_holds_each_pair_of_features(levels: int, width: int, seed: int) -> None:
    left, right = torch.randn(2, 2, 3, 2, width, generator=torch.Generator().manual_seed(seed))
    volume = cost_volume(left, right, levels)
    assert volume.shape == (2, 6, levels, 2, width)
    for level in range(levels):
        for column in range(width):
            if column >= level:
                expected = torch.cat([left[..., column], right[..., column - level]], dim=1)
            else:
                expected = torch.zeros(2, 6, 2)
            assert torch.equal(volume[:, :, level, :, column], expected)


@pytest.mark.parametrize("levels", [1, 3, 12])
def test_the_cost_volumes_layout_and_gradient(levels: int) -> None:
    features = torch.randn(2, 2, 3, 2, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left, right = (part.requires_grad_() for part in features)
    assert cost_volume(left, right, levels).is_contiguous(memory_format=torch.channels_last_3d)
    assert torch.autograd.gradcheck(lambda one, other: cost_volume(one, other, levels), (left, right))


def test_the_cost_volumes_gradient_is_summed_in_float32() -> None:
    left, right = torch.zeros(2, 1, 1, 1, 600, dtype=torch.bfloat16, requires_grad=True)
    volume = cost_volume(left, right, 500)
    found = torch.autograd.grad(volume, (left, right), torch.ones_like(volume))
    # In bfloat16 1 + 1 + ... ends at 256.
    assert found[0].max() == found[1].max() == 500 and found[0].dtype == torch.bfloat16


@pytest.mark.parametrize("size", [1, 6, 24])
def test_3d_convolutions_of_one_volume_are_those_of_a_batch(size: int) -> None:
    torch.manual_seed(0)
    hourglass = Hourglass(4).eval()
    volume = torch.randn(1, 4, 4, 4 * size, 4 * size)
    one, both = (volumes.requires_grad_() for volumes in (volume.clone(), volume.repeat(2, 1, 1, 1, 1)))
    found, expected = hourglass(one, None, None)[0], hourglass(both, None, None)[0]
    torch.testing.assert_close(found, expected[:1], rtol=0, atol=1e-4)
    (of_one,) = torch.autograd.grad(found.square().sum(), one)
    (of_both,) = torch.autograd.grad(expected.square().sum(), both)
    torch.testing.assert_close(of_one, of_both[:1], rtol=0, atol=1e-4)


@pytest.mark.parametrize("align_corners", [False, True])
def test_soft_argmin_is_trilinear_upsampling_softmax_and_expectation(align_corners: bool) -> None:
    scores = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0)) * 3
    fine = F.interpolate(scores[:, None], (16, 12, 20), mode="trilinear", align_corners=align_corners)[:, 0]
    expected = (fine.softmax(dim=1) * torch.arange(16.0)[None, :, None, None]).sum(dim=1)
    assert torch.allclose(soft_argmin(scores, 16, (12, 20), align_corners), expected, atol=1e-4)


@pytest.mark.parametrize("max_disparity", [48, 192])
def test_regression_is_in_float32_under_autocast(max_disparity: int) -> None:
    scores = 5 * torch.randn(1, max_disparity // 4, 8, 16, generator=torch.Generator().manual_seed(0))
    expected = soft_argmin(scores.double(), max_disparity, (32, 64), False)
    for regress in (regress_disparity, soft_argmin):
        with torch.autocast("cpu", torch.bfloat16):
            found = regress(scores, max_disparity, (32, 64), False)
            rounded = regress(scores.bfloat16(), max_disparity, (32, 64), False)
        assert found.dtype == rounded.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=max_disparity * 1e-5)


def test_outputs_of_a_training_under_autocast_are_float32_and_as_far_apart_as_their_scores() -> None:
    torch.manual_seed(0)
    model = PSMNet(48, width=16, pool_sizes=(4, 2), hourglasses=2, blocks=(1, 1, 1, 1)).train()
    scores: list[torch.Tensor] = []
    for head in (model.get_submodule("classif1"), model.get_submodule("classif2")):
        head.register_forward_hook(lambda _module, _inputs, output: scores.append(output))
    with torch.autocast("cpu", torch.bfloat16):
        first, second = model(*torch.randn(2, 2, 3, 32, 48))
    assert [score.dtype for score in scores] == 2 * [torch.bfloat16]
    assert first.dtype == second.dtype == torch.float32
    total = (scores[0].double() + scores[1].double()).squeeze(1)
    torch.testing.assert_close(second.double(), soft_argmin(total, 48, (32, 48), False), rtol=0, atol=5e-4)


def test_the_first_3d_convolution_starts_out_comparing_if_asked() -> None:
    torch.manual_seed(0)
    model = PSMNet(**SLIM)
    as_published = {name: weight.clone() for name, weight in model.state_dict().items()}
    start_comparing(model)
    changed = [name for name, weight in model.state_dict().items() if not torch.equal(weight, as_published[name])]
    assert changed == ["dres0.0.0.weight"]
    features, others = torch.randn(2, 1, 4, 6, 12)
    compare = model.get_submodule("dres0.0.0")
    same = compare(torch.cat([features, features], dim=1)[:, :, None])
    different = compare(torch.cat([features, others], dim=1)[:, :, None])
    assert same.square().mean() < 0.4 * different.square().mean()
