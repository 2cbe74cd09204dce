"""What the GPU's benchmark measures of PSMNet, in small on a processor: every call runs, and is what it says."""

import torch

from pseudolidar.benchmarks.gpu_stereo import Training, convolutions_of, inference_parts, regression_calls
from pseudolidar.stereo import FrozenPSMNet, PSMNet
from pseudolidar.stereo.psmnet import channels_last
from tests.stereo.test_frozen import slim


def test_parts_of_the_frozen_network() -> None:
    network = FrozenPSMNet(slim(0))
    pair = torch.randn(2, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    calls = inference_parts(network, pair)
    with torch.inference_mode():
        expected = network(pair[:1], pair[1:])
    for _ in range(2):
        results = {name: call() for name, call in calls.items()}
    assert torch.equal(results["all"], expected) and torch.equal(results["regression"], expected)


def test_convolutions_and_their_gradients() -> None:
    network = FrozenPSMNet(slim(0))
    left, right = torch.randn(2, 1, 3, 32, 64)
    found = convolutions_of(lambda: network(left, right))
    texts = {str(convolution): count for convolution, count in found.items()}
    # Twice, as small volumes go through a processor.
    assert texts["8 -> 8, 3x3x3: 2 x 12 x 8 x 16"] == 4
    assert texts["8 -> 16, 3x3x3, stride 2: 2 x 12 x 8 x 16"] == 1
    assert texts["16 -> 8, 3x3x3, stride 2, transposed: 2 x 6 x 4 x 8"] == 1
    for convolution in found:
        for call in convolution.calls("cpu", torch.float32, gradients=True).values():
            call()


def test_regressions_agree() -> None:
    scores = torch.randn(1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    for gradient in (False, True):
        note, calls = regression_calls(scores, gradient)
        first, *others = (call() for call in calls.values())
        assert note.count("e-") == len(calls)
        for other in others:
            torch.testing.assert_close(other, first, rtol=0, atol=1e-4)


def test_steps_and_their_parts() -> None:
    model = PSMNet(48, width=16, pool_sizes=(4, 2), hourglasses=2, blocks=(1, 1, 1, 1)).train()
    channels_last(model)
    training = Training(model, 1, (32, 48))
    before = model.get_parameter("dres0.0.0.weight").detach().clone()
    for call in (*training.contenders().values(), *training.parts().values()):
        call()
    assert not torch.equal(model.get_parameter("dres0.0.0.weight"), before)
