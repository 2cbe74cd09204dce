"""The regression of disparity and its gradient: kernels against the soft argmin in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.stereo.regression import _in_bands, regress_disparity, soft_argmin
from pseudolidar.stereo.upsampling import Upsampling


@settings(deadline=None, max_examples=40)
@given(
    levels=st.integers(1, 12),
    height=st.integers(1, 5),
    width=st.integers(1, 40),
    batch=st.integers(1, 2),
    scale=st.sampled_from([0.0, 1.0, 30.0, 1e4]),
    align_corners=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_regression_is_the_soft_argmin(
    levels: int, height: int, width: int, batch: int, scale: float, align_corners: bool, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    scores = (scale * torch.randn(batch, levels, height, width, generator=random)).requires_grad_()
    exact = scores.detach().double().requires_grad_()
    found = regress_disparity(scores, 4 * levels, (4 * height, 4 * width), align_corners)
    # In float64: where scores are far apart, PyTorch's float32 interpolation is the less exact of the two.
    expected = soft_argmin(exact, 4 * levels, (4 * height, 4 * width), align_corners)
    tolerance = 4 * levels * (1e-6 + 1e-6 * scale)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=tolerance)

    gradient = torch.randn(found.shape, generator=random)
    (of_scores,) = torch.autograd.grad(found, scores, gradient)
    (of_exact,) = torch.autograd.grad(expected, exact, gradient.double())
    # Up to 64 pixels add to one score; of each the weights' relative error and that of the disparity.
    torch.testing.assert_close(of_scores.double(), of_exact, rtol=0, atol=64 * levels * tolerance)


def test_the_references_gradient() -> None:
    scores = torch.randn(1, 3, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda each: soft_argmin(each, 12, (8, 12), False), (scores.requires_grad_(),))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_scores_that_are_not_finite_reach_disparity_and_gradient(value: float) -> None:
    scores = torch.zeros(1, 5, 4, 6)
    scores[0, 2, 1, 3] = value
    scores.requires_grad_()
    disparity = regress_disparity(scores, 20, (16, 24), False)
    assert disparity[0, 6, 14].isnan() and disparity[0, 12:].isfinite().all()
    (gradient,) = torch.autograd.grad(disparity.sum(), scores)
    assert gradient[0, :, 1, 3].isnan().any()


def test_the_regression_is_the_same_for_every_number_of_threads() -> None:
    scores = torch.randn(2, 12, 9, 20, generator=torch.Generator().manual_seed(0), requires_grad=True)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            disparity = regress_disparity(scores, 48, (36, 80), False)
            results.append((disparity, *torch.autograd.grad(disparity.square().sum(), scores)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for result in results[1:] for one, other in zip(results[0], result, strict=True))


def test_compiled_the_kernels_are_the_same() -> None:
    def halved(scores: torch.Tensor) -> torch.Tensor:
        return regress_disparity(2 * scores, 32, (8, 40), False) / 2

    scores = torch.randn(1, 8, 2, 10, generator=torch.Generator().manual_seed(0)).requires_grad_()
    # Traced as for any backend; `eager` then runs the graphs as they are, without a C++ compiler.
    compiled = torch.compile(halved, backend="eager")(scores)
    assert torch.equal(compiled, halved(scores))
    (found,), (expected,) = (torch.autograd.grad(made.sum(), scores) for made in (compiled, halved(scores)))
    assert torch.equal(found, expected)


def test_regression_of_scores_that_are_a_view() -> None:
    scores = torch.randn(2, 7, 12, 6).transpose(1, 2)
    found = regress_disparity(scores, 48, (28, 24), False)
    torch.testing.assert_close(found, soft_argmin(scores, 48, (28, 24), False), rtol=0, atol=1e-3)


@pytest.mark.parametrize("align_corners", [False, True])
def test_regression_in_bands_as_on_a_gpu(align_corners: bool) -> None:
    scores = torch.randn(2, 12, 37, 11, generator=torch.Generator().manual_seed(0))
    found = _in_bands(scores, Upsampling((12, 37, 11), (48, 148, 44), align_corners))
    torch.testing.assert_close(found, soft_argmin(scores, 48, (148, 44), align_corners), rtol=0, atol=1e-3)
