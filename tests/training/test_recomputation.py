"""Recomputation in the backward pass: nothing but the time and the memory change."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pseudolidar.training import recomputed


class Network(nn.Module):
    """One layer with running statistics, which counts how often it is computed."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU())
        self.computed = 0

    def part(self, values: Tensor) -> Tensor:
        self.computed += 1
        return self.layer(values)


def statistics_and_gradients(network: Network, output: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    gradients = torch.autograd.grad(output.square().sum(), list(network.parameters()))
    return [buffer.clone() for buffer in network.buffers()], list(gradients)


def test_gradients_and_statistics_are_those_of_one_computation() -> None:
    values = torch.randn(8, 3, generator=torch.Generator().manual_seed(1)) + 2
    plain, ours, torchs = Network(), Network(), Network()
    expected_statistics, expected_gradients = statistics_and_gradients(plain, plain.part(values))
    statistics, gradients = statistics_and_gradients(ours, recomputed(ours, ours.part, values))
    assert ours.computed == 2 * plain.computed == 2
    for found, expected in zip(gradients + statistics, expected_gradients + expected_statistics, strict=True):
        assert torch.equal(found, expected)
    # What this guards against: PyTorch's own checkpointing counts the batch twice.
    counted_twice, _ = statistics_and_gradients(torchs, checkpoint(torchs.part, values, use_reentrant=False))
    assert not torch.equal(counted_twice[0], expected_statistics[0])


def test_one_layer_used_twice() -> None:
    first, second = torch.randn(2, 8, 3, generator=torch.Generator().manual_seed(1))
    plain, ours = Network(), Network()
    expected = statistics_and_gradients(plain, plain.part(first) + plain.part(second))
    found = statistics_and_gradients(ours, recomputed(ours, ours.part, first) + recomputed(ours, ours.part, second))
    for one, other in zip([*found[0], *found[1]], [*expected[0], *expected[1]], strict=True):
        assert torch.equal(one, other)


def test_the_buffers_stay_the_networks_own() -> None:
    network = Network()
    before = [id(buffer) for buffer in network.buffers()]
    recomputed(network, network.part, torch.randn(4, 3)).sum().backward()
    assert [id(buffer) for buffer in network.buffers()] == before
