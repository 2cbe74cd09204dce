"""PointNet++ against itself written plainly: every neighbour gathered, every layer on every row, then the maximum."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pseudolidar.detectors.pointnet2 import FeaturePropagation, SetAbstraction, SharedMLP, fold_batch_norm
from pseudolidar.ops import furthest_point_sample, group
from tests.ops.clouds import ADVERSARIAL, adversarial_cloud

# So small that its square is 0: not even a centre is its own neighbour.
NO_RADIUS = 1e-25


def random_points(scenes: int, count: int, seed: int = 0) -> Tensor:
    return torch.rand(scenes, count, 3, generator=torch.Generator().manual_seed(seed))


def shake(module: nn.Module) -> None:
    """Norms that do something in evaluation too."""
    generator = torch.Generator().manual_seed(9)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            assert part.running_mean is not None and part.running_var is not None
            for tensor in (part.weight.data, part.bias.data, part.running_mean, part.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)


def apply_layers(layers: nn.Module, rows: Tensor) -> Tensor:
    """Rows (..., channels) through linear, norm, ReLU."""
    for layer in layers.children():
        conv, norm = layer.conv, layer.bn
        assert isinstance(conv, nn.Conv2d)
        rows = rows @ conv.weight[:, :, 0, 0].T
        if conv.bias is not None:
            rows = rows + conv.bias
        if isinstance(norm, nn.ModuleDict):
            rows = norm["bn"](rows.flatten(0, -2)).view(rows.shape)
        rows = rows.relu()
    return rows


def neighbours_of(centre: Tensor, points: Tensor, radius: float, count: int) -> list[int]:
    """The first within the radius, repeated from the first on; index 0 where there is none."""
    inside = [i for i, point in enumerate(points) if ((point - centre) ** 2).sum() < radius**2][:count]
    return inside + [inside[0] if inside else 0] * (count - len(inside))


def plain_abstraction(module: SetAbstraction, points: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor]:
    rows = points if features is None else torch.cat([points, features], dim=2)
    if module.centres is None:
        return torch.zeros(len(points), 1, 3), apply_layers(module.mlps[0], rows[:, None]).amax(dim=2)
    chosen = furthest_point_sample(points, module.centres)
    centres = torch.stack([scene[index] for scene, index in zip(points, chosen, strict=True)])
    pooled = []
    for layers, radius, count in zip(module.mlps, module.radii, module.neighbours, strict=True):
        index = torch.tensor([
            [neighbours_of(centre, scene, radius, count) for centre in of_scene]
            for scene, of_scene in zip(points, centres, strict=True)
        ])  # fmt: skip
        grouped = torch.stack([scene[of_scene] for scene, of_scene in zip(rows, index, strict=True)])
        relative = torch.cat([grouped[..., :3] - centres[:, :, None], grouped[..., 3:]], dim=3)
        pooled.append(apply_layers(layers, relative).amax(dim=2))
    return centres, torch.cat(pooled, dim=2)


def same_values_and_gradients(ours: nn.Module, plain: nn.Module, said: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(said, expected, rtol=1e-4, atol=1e-5)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(5))
    (said * weights).sum().backward()
    (expected * weights).sum().backward()
    for (name, own), other in zip(ours.named_parameters(), plain.parameters(), strict=True):
        assert own.grad is not None and other.grad is not None, name
        # The norm of few rows that differ little makes much of a last digit.
        close = torch.isclose(own.grad, other.grad, rtol=1e-3, atol=2e-3)
        assert bool(close.all()), (name, own.grad, other.grad)
    for (name, buffer), twin in zip(ours.named_buffers(), plain.buffers(), strict=True):
        assert torch.allclose(buffer, twin, rtol=1e-4, atol=1e-5), name


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("scenes", [1, 3])
@pytest.mark.parametrize("channels", [0, 4])
@pytest.mark.parametrize(
    ("centres", "count", "radii"),
    [(6, 20, (0.3, 0.6)), (6, 20, (NO_RADIUS, 0.6)), (9, 4, (0.3, 0.6)), (None, 20, ())],
    ids=["usual", "empty neighbourhoods", "fewer points than centres", "one group"],
)
def test_set_abstraction(
    centres: int | None, count: int, radii: tuple[float, ...], channels: int, scenes: int, training: bool
) -> None:
    torch.manual_seed(0)
    layers = ((5, 6), (4, 7)) if radii else ((5, 6),)
    ours = SetAbstraction(centres, radii, (3, 8)[: len(radii)], channels, layers)
    shake(ours)
    ours.train(training)
    plain = copy.deepcopy(ours)
    points = random_points(scenes, count)
    features = torch.randn(scenes, count, channels) if channels else None
    own = None if features is None else features.clone().requires_grad_()
    other = None if features is None else features.clone().requires_grad_()
    said_centres, said = ours(points, own)
    expected_centres, expected = plain_abstraction(plain, points, other)
    torch.testing.assert_close(said_centres, expected_centres, rtol=0, atol=0)
    assert said.shape == (scenes, centres or 1, ours.out_channels)
    same_values_and_gradients(ours, plain, said, expected)
    if own is not None and other is not None:
        assert own.grad is not None and other.grad is not None
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-3, atol=2e-3)


# A lattice has ties and duplicates; of 1e-23 m the square is 0.
COORDINATES = st.sampled_from([0.0, 1.0, 2.0, -3.0, 1e-23, 1e18, torch.nan, torch.inf])


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.tuples(COORDINATES, COORDINATES, COORDINATES), min_size=1, max_size=30),
    st.integers(1, 20),
    st.integers(1, 20),
)
def test_sampling_in_sampling_order_is_a_slice(
    coordinates: list[tuple[float, float, float]], first: int, second: int
) -> None:
    assert_slice(torch.tensor(coordinates)[None], max(first, second), min(first, second))


@pytest.mark.parametrize("kind", ADVERSARIAL)
def test_sampling_in_sampling_order_of_adversarial_clouds(kind: str) -> None:
    for first, second in ((200, 70), (310, 300), (310, 310)):
        assert_slice(adversarial_cloud(kind), first, second)


def assert_slice(points: Tensor, first: int, second: int) -> None:
    chosen = furthest_point_sample(points, first)
    centres = group(points, chosen)
    again = furthest_point_sample(centres, second)
    # To the bit, and NaN too.
    bits = centres[:, :second].contiguous().view(torch.int32)
    assert torch.equal(group(centres, again).view(torch.int32), bits)
    # Index 0 returns only once all are taken.
    left = int((chosen[0, 1:second] > 0).sum()) + 1
    assert again[0, :left].tolist() == list(range(left)) and not again[0, left:].any()


@pytest.mark.parametrize("count", [3, 60])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_levels_in_sampling_order(count: int, training: bool) -> None:
    torch.manual_seed(0)
    levels = [SetAbstraction(centres, (0.4,), (5,), 4, ((6, 4),)).train(training) for centres in (20, 12)]
    points, features = random_points(2, count), torch.randn(2, count, 4)
    found = []
    for in_order in (False, True):
        own = features.clone().requires_grad_()
        twins = copy.deepcopy(levels)
        centres, pooled = twins[1](*twins[0](points, own), in_sampling_order=in_order)
        pooled.square().sum().backward()
        of_weights = [parameter.grad for level in twins for parameter in level.parameters()]
        found.append([centres, pooled, own.grad, *of_weights])
    for plain, sliced in zip(*found, strict=True):
        assert plain is not None and sliced is not None and torch.equal(plain, sliced)


def test_more_centres_than_points_in_sampling_order() -> None:
    module = SetAbstraction(9, (0.4,), (5,), 0, ((6,),)).eval()
    points = group(random_points(2, 40), furthest_point_sample(random_points(2, 40), 6))
    for plain, found in zip(module(points, None), module(points, None, in_sampling_order=True), strict=True):
        assert torch.equal(plain, found)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_folded_batch_norm_keeps_the_bits(batch_norm: bool) -> None:
    torch.manual_seed(0)
    down = SetAbstraction(6, (0.3, 0.6), (3, 8), 4, ((5, 6), (4, 7)), batch_norm)
    up = FeaturePropagation(13, 4, (8, 5))
    network = nn.ModuleList([down, up]).eval()
    shake(network)
    points, features = random_points(2, 20), torch.randn(2, 20, 4)

    def run() -> Tensor:
        centres, pooled = down(points, features)
        carried: Tensor = up(points, centres, features, pooled)
        return carried

    expected = run()
    fold_batch_norm(network)
    assert not any(isinstance(part, nn.BatchNorm1d) for part in network.modules())
    assert torch.equal(run(), expected)
    with torch.no_grad():
        # Other operators, of which no gradient is asked.
        assert torch.equal(run(), expected)
    with torch.autocast("cpu", torch.bfloat16):
        reduced = run()
        with torch.no_grad():
            assert torch.equal(run(), reduced)


@pytest.mark.parametrize("centres", [1, 5, None])
def test_one_point(centres: int | None) -> None:
    module = SetAbstraction(centres, (0.3,) * bool(centres), (4,) * bool(centres), 4, ((5, 6),)).eval()
    shake(module)
    points, features = random_points(2, 1), torch.randn(2, 1, 4)
    said_centres, said = module(points, features)
    expected_centres, expected = plain_abstraction(module, points, features)
    assert torch.equal(said_centres, expected_centres)
    torch.testing.assert_close(said, expected, rtol=1e-4, atol=1e-5)


def test_without_norms_training_and_evaluation_agree() -> None:
    torch.manual_seed(0)
    module = SetAbstraction(16, (0.3,), (8,), 4, ((5, 6),), batch_norm=False)
    points, features = random_points(2, 64), torch.randn(2, 64, 4)
    _, trained = module.train()(points, features)
    _, evaluated = module.eval()(points, features)
    torch.testing.assert_close(trained, evaluated, rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=15)
@given(
    st.integers(1, 3), st.integers(1, 12), st.integers(1, 5), st.sampled_from([0, 4]), st.booleans(), st.integers(0, 99)
)
def test_feature_propagation(
    scenes: int, count: int, known_count: int, channels: int, training: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    ours = FeaturePropagation(6, channels, (8, 5))
    shake(ours)
    # The norm of rows that hardly differ shows their rounding alone.
    ours.train(training and known_count > 2 and count > 4)
    plain = copy.deepcopy(ours)
    points = torch.rand(scenes, count, 3, generator=generator)
    known = torch.rand(scenes, known_count, 3, generator=generator)
    # A point that is known itself takes (nearly) nothing from others.
    points[:, 0] = known[:, 0]
    own = torch.randn(scenes, count, channels, generator=generator) if channels else None
    features = torch.randn(scenes, known_count, 6, generator=generator)
    said = ours(points, known, own, features)

    distance = torch.linalg.vector_norm(points[:, :, None] - known[:, None], dim=3)
    nearest, index = distance.topk(min(3, known_count), largest=False)
    weight = 1 / (nearest + 1e-8)
    weight = weight / weight.sum(dim=2, keepdim=True)
    carried = torch.stack([features[b][index[b]] for b in range(scenes)])
    rows = (carried * weight[..., None]).sum(dim=2)
    expected = apply_layers(plain.mlp, rows if own is None else torch.cat([rows, own], dim=2))
    assert said.shape == (scenes, count, 5)
    same_values_and_gradients(ours, plain, said, expected)


def test_several_layers_are_named_as_published() -> None:
    names = set(SharedMLP((3, 4, 5)).state_dict())
    assert {"layer0.conv.weight", "layer1.conv.weight", "layer1.bn.bn.running_var"} <= names


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_bfloat16(training: bool) -> None:
    torch.manual_seed(0)
    down = SetAbstraction(16, (0.3, 0.6), (4, 8), 4, ((8, 8), (8, 8))).train(training)
    up = FeaturePropagation(16, 4, (8, 8)).train(training)
    points, features = random_points(2, 64), torch.randn(2, 64, 4)

    def run() -> Tensor:
        centres, pooled = down(points, features)
        carried: Tensor = up(points, centres, features, pooled)
        return carried

    expected = run().detach()
    with torch.autocast("cpu", torch.bfloat16):
        said = run()
    assert said.dtype == torch.bfloat16
    torch.testing.assert_close(said.float(), expected, rtol=0.1, atol=0.1)
    said.float().square().sum().backward()
    for name, parameter in [*down.named_parameters(), *up.named_parameters()]:
        assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()), name


def test_scales_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="2 radii, 1 neighbours, 1 channels"):
        SetAbstraction(4, (0.1, 0.2), (8,), 0, ((4,),))
    with pytest.raises(ValueError, match="2 channels"):
        SetAbstraction(None, (), (), 0, ((4,), (4,)))
