"""The networks: published layers, and the shortcuts held to the plain computation."""

import pytest
import torch
from torch import nn

from pseudolidar.detectors.frustum_pointnet.box_coder import MEAN_SIZES_M
from pseudolidar.detectors.frustum_pointnet.model import FrustumPointNet, Version, masked_points, object_mask
from pseudolidar.detectors.frustum_pointnet.networks import CoordinateMLP, PooledLayer, SegmentationNet
from pseudolidar.detectors.pointnet2 import SetAbstraction
from pseudolidar.detectors.pointnet2 import SharedMLP as SharedMLP

MEAN_SIZES = list(MEAN_SIZES_M.values())


def shapes(module: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(layer.weight.shape) for layer in module.modules() if isinstance(layer, nn.Linear)]


def test_published_layers() -> None:
    model = FrustumPointNet(1, MEAN_SIZES)
    assert shapes(model.segmentation) == [
        *((64, 4), (64, 64), (64, 64), (128, 64), (1024, 128)),
        # The decoder's first layer has 64 + 1024 + 3 inputs, in two parts.
        *((512, 64), (512, 1027), (256, 512), (128, 256), (128, 128), (2, 128)),
    ]
    assert shapes(model.t_net) == [(128, 3), (128, 128), (256, 128), (256, 259), (128, 256), (3, 128)]
    assert shapes(model.box_net) == [
        *((128, 3), (128, 128), (256, 128), (512, 256), (512, 515), (256, 512)),
        (3 + 2 * 12 + 4 * 8, 256),
    ]
    assert model.object_points == 512
    assert SegmentationNet(1.0, dropout=0.5).dropout.p == 0.5
    assert shapes(FrustumPointNet(1, MEAN_SIZES, width=0.25).segmentation)[4] == (256, 32)


def points_layers(module: nn.Module) -> list[list[int]]:
    """Channels, from the first layer's inputs on, of each stack of PointNet++ layers."""
    stacks = []
    for layers in module.modules():
        if isinstance(layers, SharedMLP):
            weights = [p for name, p in layers.named_parameters() if name.endswith("conv.weight")]
            stacks.append([weights[0].shape[1], *(len(weight) for weight in weights)])
    return stacks


def abstractions(module: nn.Module) -> list[tuple[int | None, tuple[float, ...], tuple[int, ...]]]:
    return [(m.centres, m.radii, m.neighbours) for m in module.modules() if isinstance(m, SetAbstraction)]


def test_published_layers_of_v2() -> None:
    model = FrustumPointNet(2, MEAN_SIZES)
    assert abstractions(model.segmentation) == [
        (128, (0.2, 0.4, 0.8), (32, 64, 128)),
        (32, (0.4, 0.8, 1.6), (64, 64, 128)),
        (None, (), ()),
    ]
    assert points_layers(model.segmentation) == [
        # Coordinates and intensity in; three scales; 64 + 128 + 128 features out.
        *([4, 32, 32, 64], [4, 64, 64, 128], [4, 64, 96, 128]),
        *([323, 64, 64, 128], [323, 128, 128, 256], [323, 128, 128, 256]),
        [643, 128, 256, 1024],
        # Back: the group's feature with the one-hot vector, the features of centres, the points themselves.
        *([1024 + 3 + 640, 128, 128], [128 + 320, 128, 128], [128 + 4, 128, 128], [128, 128]),
    ]
    assert abstractions(model.box_net) == [(128, (0.2,), (64,)), (32, (0.4,), (64,)), (None, (), ())]
    assert points_layers(model.box_net) == [[3, 64, 64, 128], [131, 128, 128, 256], [259, 256, 256, 512]]
    assert shapes(model.box_net) == [(512, 515), (256, 512), (3 + 2 * 12 + 4 * 8, 256)]
    assert shapes(model.t_net) == shapes(FrustumPointNet(1, MEAN_SIZES).t_net)
    assert abstractions(FrustumPointNet(2, MEAN_SIZES, density=0.25).box_net)[0] == (32, (0.2,), (16,))


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version: found 3, expected 1 or 2"):
        FrustumPointNet(3, MEAN_SIZES)  # type: ignore[arg-type]


@pytest.mark.parametrize("autocast", [False, True])
def test_v2_learns_in_all_its_layers(autocast: bool) -> None:
    torch.manual_seed(0)
    model = FrustumPointNet(2, MEAN_SIZES, 0.25, 0.125, object_points=16)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        # Close together: a centre without neighbours sees its own coordinates alone, and these are 0.
        output = model(torch.rand(2, 32, 4) / 2, torch.eye(3)[:2], torch.rand(2, 32))
    assert output.mask_logits.shape == (2, 32, 2) and output.mask_logits.dtype == torch.float32
    assert output.size_residuals.shape == (2, 8, 3) and output.size_residuals.dtype == torch.float32
    shaped = [output.mask_logits, output.centre, output.heading_scores, output.heading_residuals]
    sum(value.square().sum() for value in [*shaped, output.size_scores, output.size_residuals]).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        # Batch norm takes a linear layer's bias away again.
        assert parameter.grad.any() or name.endswith("conv.bias"), name


@pytest.mark.parametrize("training", [True, False])
def test_a_pooled_layer_is_its_layers_one_after_the_other(training: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    pooled = PooledLayer(6, 10)
    with torch.no_grad():
        pooled.norm.weight.copy_(torch.randn(10, generator=generator))  # some of them negative
        pooled.norm.bias.copy_(torch.randn(10, generator=generator))
        pooled.norm.get_buffer("running_mean").copy_(torch.randn(10, generator=generator))
        pooled.norm.get_buffer("running_var").copy_(torch.rand(10, generator=generator) + 0.5)
    linear, norm = nn.Linear(6, 10, bias=False), nn.BatchNorm1d(10)
    linear.load_state_dict(pooled.linear.state_dict())
    norm.load_state_dict(pooled.norm.state_dict())
    pooled.train(training)
    norm.train(training)

    rows = torch.randn(3 * 20, 6, generator=generator) + 1
    first, second = rows.clone().requires_grad_(), rows.clone().requires_grad_()
    result = pooled(first, 3)
    expected = torch.relu(norm(linear(second))).view(3, 20, 10).amax(dim=1)
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-4)
    weights = torch.randn(3, 10, generator=generator)
    (result * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(first.grad, second.grad, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(pooled.linear.weight.grad, linear.weight.grad, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(pooled.norm.weight.grad, norm.weight.grad, atol=1e-4, rtol=1e-3)
    for name, value in norm.state_dict().items():
        torch.testing.assert_close(pooled.norm.state_dict()[name], value, atol=1e-5, rtol=1e-4)


def test_a_pooled_layer_in_bfloat16_has_no_negative_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    pooled = PooledLayer(16, 64)
    # Channels that rise and fall together, and outputs in which they cancel out: these hardly vary at all.
    scale = torch.rand(16, generator=generator) + 0.5
    rows = (
        torch.randn(4 * 50, 1, generator=generator) * 10 * scale + torch.randn(4 * 50, 16, generator=generator) * 0.01
    )
    rows = rows.bfloat16().requires_grad_()
    with torch.no_grad():
        weight = torch.randn(64, 16, generator=generator)
        pooled.linear.weight.copy_(weight - (weight @ scale)[:, None] * scale / (scale @ scale))
    with torch.autocast("cpu", torch.bfloat16):
        result = pooled(rows, 4)
    result.sum().backward()
    assert result.isfinite().all() and pooled.norm.get_buffer("running_var").min() > 0
    assert rows.grad is not None and rows.grad.isfinite().all()


def test_the_decoder_sees_the_global_feature_beside_each_point() -> None:
    torch.manual_seed(0)
    model = SegmentationNet(0.25, dropout=0.0).eval()
    points, one_hot = torch.randn(2, 9, 4), torch.eye(3)[:2]
    local = model.local(model.coordinates(points.reshape(18, 4)))
    pooled = model.pool(model.lift(local), 2)
    everything = torch.cat([local, torch.cat([pooled, one_hot], 1).repeat_interleave(9, dim=0)], dim=1)
    weight = torch.cat([model.decoder_local.weight, model.decoder_global.weight], dim=1)
    rows = torch.relu(model.decoder_norm(everything @ weight.T))
    expected = model.logits(model.decoder(rows)).view(2, 9, 2)
    torch.testing.assert_close(model(points, one_hot), expected, atol=1e-5, rtol=1e-4)


def test_coordinates_stay_in_full_precision() -> None:
    torch.manual_seed(0)
    layer = CoordinateMLP((3, 16)).eval()
    points = torch.tensor([[40.0, 1.0, 40.0], [40.1, 1.0, 40.0]])
    with torch.autocast("cpu", torch.bfloat16):
        features = layer(points)
    # bfloat16 can't tell 40.0 from 40.1.
    assert features.dtype == torch.float32
    assert (features[0] != features[1]).any()


def test_masked_points_are_sampled_without_repetition() -> None:
    points = torch.arange(30.0).view(1, 10, 3).repeat(2, 1, 1)
    mask = torch.zeros(2, 10, dtype=torch.bool)
    mask[0, [1, 4, 5, 8]] = True
    mask[1, 7] = True
    keys = torch.rand(2, 10, generator=torch.Generator().manual_seed(0))
    sampled, centre = masked_points(points, mask, keys, 6)
    assert set(sampled[0, :4, 0].tolist()) == {3.0, 12.0, 15.0, 24.0}
    assert sampled[0, 4:, 0].tolist() == sampled[0, :2, 0].tolist()
    assert (sampled[1] == points[1, 7]).all()
    torch.testing.assert_close(centre[0], points[0, [1, 4, 5, 8]].mean(dim=0))
    other, _ = masked_points(points, mask, keys.flip(1), 2)
    assert set(other[0, :, 0].tolist()) <= {3.0, 12.0, 15.0, 24.0}


def test_a_frustum_without_an_object_point_takes_the_likeliest() -> None:
    logits = torch.zeros(2, 5, 2)
    logits[:, :, 0] = 3
    logits[0, 3, 1] = 2.5
    logits[1, [0, 2], 1] = 4
    assert object_mask(logits).tolist() == [[False, False, False, True, False], [True, False, True, False, False]]


@pytest.mark.parametrize("version", [1, 2])
def test_depth_centring_makes_the_network_blind_to_depth(version: Version) -> None:
    torch.manual_seed(0)
    model = FrustumPointNet(version, MEAN_SIZES, width=0.25, density=0.25, object_points=8, centre_depth=True).eval()
    points, one_hot, keys = torch.randn(3, 32, 4), torch.eye(3), torch.rand(3, 32)
    near = model(points, one_hot, keys)
    points[:, :, 2] += 16
    far = model(points, one_hot, keys)
    torch.testing.assert_close(far.mask_logits, near.mask_logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(far.centre, near.centre + torch.tensor([0.0, 0.0, 16.0]), atol=1e-4, rtol=1e-4)
