"""Triton's kernels of PSMNet in its interpreter; `test_stereo_triton.py` runs this file.

The interpreter is chosen for a whole process by TRITON_INTERPRET=1, before Triton is imported.
"""

import pytest
import torch

from pseudolidar.stereo import regression_triton, volume_convolution, volume_triton
from pseudolidar.stereo.regression import soft_argmin
from pseudolidar.stereo.upsampling import Upsampling


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("inputs", "scale"), [((1, 1, 1), 3.0), ((3, 2, 3), 0.0), ((3, 2, 3), 1e4), ((5, 1, 33), 3.0)])
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("channels", "levels", "height", "width"), [(4, 3, 1, 2), (3, 7, 2, 5), (16, 4, 1, 34)])
def test_assembled_volume(channels: int, levels: int, height: int, width: int, dtype: torch.dtype) -> None:
    random = torch.Generator().manual_seed(0)
    shifted = torch.randn(2, channels, height, width + levels - 1, generator=random).to(dtype)
    of_left = torch.randn(2, 5 * channels, height, width, generator=random).to(dtype)
    expected = volume_convolution.assembled(shifted, of_left.chunk(5, dim=1), levels)
    found = volume_triton.assembled(shifted, of_left, levels)
    assert found.is_contiguous(memory_format=torch.channels_last_3d)
    # The first and the last level are computed otherwise. To bfloat16 the interpreter cuts off, where a card rounds.
    off = 2**-7 if dtype == torch.bfloat16 else 0
    torch.testing.assert_close(found[:, :, 1:-1], expected[:, :, 1:-1], rtol=off, atol=0)
