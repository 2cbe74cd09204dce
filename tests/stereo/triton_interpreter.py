"""Triton's kernels of PSMNet in its interpreter; `test_stereo_triton.py` runs this file.

The interpreter is chosen for a whole process by TRITON_INTERPRET=1, before Triton is imported.
"""

import pytest
import torch

from pseudolidar.stereo import regression_triton
from pseudolidar.stereo.regression import soft_argmin
from pseudolidar.stereo.upsampling import Upsampling


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("scale", [0.0, 3.0, 1e4])
@pytest.mark.parametrize("inputs", [(1, 1, 1), (3, 2, 5), (12, 2, 34)])
def test_regression(inputs: tuple[int, int, int], scale: float, align_corners: bool) -> None:
    random = torch.Generator().manual_seed(0)
    levels, height, width = inputs
    outputs = (4 * levels, 4 * height, 4 * width)
    upsampling = Upsampling(inputs, outputs, align_corners)
    scores = scale * torch.randn((2, *inputs), generator=random)
    exact = scores.double().requires_grad_()
    expected = soft_argmin(exact, outputs[0], outputs[1:], align_corners)
    found, highest, total = regression_triton.regress(upsampling, scores)
    tolerance = 4 * levels * (1e-6 + 1e-6 * scale)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=tolerance)

    gradient = torch.randn(found.shape, generator=random)
    of_scores = regression_triton.scores_gradient(upsampling, scores, found, highest, total, gradient)
    (of_exact,) = torch.autograd.grad(expected, exact, gradient.double())
    torch.testing.assert_close(of_scores.double(), of_exact, rtol=0, atol=64 * levels * tolerance)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_regression_of_scores_that_are_not_finite(value: float) -> None:
    scores = torch.zeros(1, 5, 4, 6)
    scores[0, 2, 1, 3] = value
    disparity, *_ = regression_triton.regress(Upsampling((5, 4, 6), (20, 16, 24), False), scores)
    assert disparity[0, 6, 14].isnan() and disparity[0, 12:].isfinite().all()
