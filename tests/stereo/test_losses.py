"""The two losses: values and gradients against hand computation."""

import pytest
import torch

from pseudolidar.stereo import disparity_loss

C = torch.tensor([120.0, 60.0])
# Frame 0: errors of 0.5 and 2 px, one pixel without truth. Frame 1: depth 60/6 against 60/5, and one exact pixel.
PREDICTED = torch.tensor([[[10.5, 22.0, 7.0]], [[6.0, 3.0, 1.0]]])
TARGET = torch.tensor([[[10.0, 20.0, 0.0]], [[5.0, 3.0, 0.0]]])


def test_disparity_loss_by_hand() -> None:
    # |errors| 0.5, 2, 1, 0 over four valid pixels.
    assert disparity_loss(PREDICTED, TARGET, "disparity", C, smooth=False) == pytest.approx(3.5 / 4)
    assert disparity_loss(PREDICTED, TARGET, "disparity", C) == pytest.approx((0.125 + 1.5 + 0.5 + 0) / 4)


def test_depth_loss_by_hand() -> None:
    errors = [120 / 10 - 120 / 10.5, 120 / 20 - 120 / 22, 60 / 5 - 60 / 6, 0.0]
    assert disparity_loss(PREDICTED, TARGET, "depth", C, smooth=False) == pytest.approx(sum(errors) / 4, rel=1e-5)
    smooth = [error**2 / 2 if error < 1 else error - 0.5 for error in errors]
    assert disparity_loss(PREDICTED, TARGET, "depth", C) == pytest.approx(sum(smooth) / 4, rel=1e-5)


def test_gradients_by_hand() -> None:
    predicted = PREDICTED.clone().requires_grad_()
    disparity_loss(predicted, TARGET, "disparity", C).backward()
    expected = torch.tensor([[[0.5, 1.0, 0.0]], [[1.0, 0.0, 0.0]]]) / 4
    assert predicted.grad is not None
    assert torch.allclose(predicted.grad, expected)
    predicted = PREDICTED.clone().requires_grad_()
    disparity_loss(predicted, TARGET, "depth", C, smooth=False).backward()
    # d (C / d) = -C / d^2; every prediction is nearer than the truth, so a larger disparity is a larger error.
    expected = torch.tensor([[[120 / 10.5**2, 120 / 22**2, 0.0]], [[60 / 36, 0.0, 0.0]]]) / 4
    assert predicted.grad is not None
    assert torch.allclose(predicted.grad, expected)


def test_disparities_from_max_disparity_on_are_left_out() -> None:
    loss = disparity_loss(PREDICTED, TARGET, "disparity", C, smooth=False, max_disparity=20)
    assert loss == pytest.approx(1.5 / 3)


def test_tiny_disparities_are_clamped() -> None:
    predicted = torch.zeros(1, 1, 1, requires_grad=True)
    loss = disparity_loss(predicted, torch.ones(1, 1, 1), "depth", torch.ones(1), smooth=False)
    loss.backward()
    assert loss.item() == pytest.approx(1e8)
    assert predicted.grad is not None and torch.isfinite(predicted.grad).all()


def test_no_valid_pixel_gives_no_loss_and_no_gradient() -> None:
    predicted = torch.ones(1, 2, 2, requires_grad=True)
    loss = disparity_loss(predicted, torch.zeros(1, 2, 2), "depth", torch.ones(1))
    loss.backward()
    assert loss == 0
    assert predicted.grad is not None and not predicted.grad.any()


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="'disparity' or 'depth'"):
        disparity_loss(PREDICTED, TARGET, "mae", C)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="camera constants"):
        disparity_loss(PREDICTED, TARGET, "depth", C[:1])
    with pytest.raises(ValueError, match="target"):
        disparity_loss(PREDICTED, TARGET[:, :, :2], "depth", C)
