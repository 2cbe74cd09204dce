"""PointRCNN's losses: worked out by hand, and safe where there is nothing to learn from."""

import math

import pytest
import torch
from torch.nn import functional

from pseudolidar.detectors.pointrcnn.box_coder import BoxCode, BoxCoder
from pseudolidar.detectors.pointrcnn.losses import box_loss, box_loss_terms, confidence_loss, segmentation_loss

# Two location bins, two heading bins: 4 * 2 + 1 + 2 * 2 + 3 = 16 channels.
CODER = BoxCoder(scope_m=0.5, bin_m=0.5, heading_bins=2, quarter=False)


def targets_of(rows: int) -> BoxCode:
    """Bin 1 everywhere, residuals 0.25."""
    bins, quarter = torch.ones(rows, dtype=torch.int64), torch.full((rows,), 0.25)
    return BoxCode(bins, bins, quarter, quarter, quarter, bins, quarter, torch.full((rows, 3), 0.25))


def test_focal_loss_by_hand() -> None:
    # Probabilities: object 0.25, background 0.5, a point that does not count, object 0.75.
    logits = torch.tensor([[-math.log(3), 0.0, 5.0, math.log(3)]])
    foreground = torch.tensor([[1.0, 0.0, -1.0, 1.0]])
    expected = (
        0.25 * 0.75**2 * -math.log(0.25) + 0.75 * 0.5**2 * -math.log(0.5) + 0.25 * 0.25**2 * -math.log(0.75)
    ) / 2
    assert segmentation_loss(logits, foreground).item() == pytest.approx(expected, rel=1e-5)


def test_points_that_do_not_count_have_no_gradient() -> None:
    logits = torch.tensor([[3.0, -2.0, 80.0, -80.0]], requires_grad=True)
    segmentation_loss(logits, torch.tensor([[-1.0, 0.0, -1.0, 1.0]])).backward()
    assert logits.grad is not None and bool(torch.isfinite(logits.grad).all())
    assert logits.grad[0, [0, 2]].tolist() == [0, 0] and (logits.grad[0, [1, 3]] != 0).all()


def test_a_scene_without_foreground_is_finite() -> None:
    logits = torch.zeros(1, 4, requires_grad=True)
    loss = segmentation_loss(logits, torch.zeros(1, 4))
    assert loss.item() == pytest.approx(4 * 0.75 * 0.25 * math.log(2), rel=1e-5)
    regression = torch.zeros(0, CODER.channels, requires_grad=True)
    nothing = box_loss(CODER, regression, targets_of(0))
    assert nothing.item() == 0
    (loss + nothing).backward()
    assert regression.grad is not None and logits.grad is not None and bool(torch.isfinite(logits.grad).all())


def test_confidence_by_hand() -> None:
    logits = torch.tensor([0.0, math.log(3), 9.0], requires_grad=True)
    loss = confidence_loss(logits, torch.tensor([1.0, 0.0, -1.0]))
    assert loss.item() == pytest.approx((math.log(2) + math.log(4)) / 2, rel=1e-5)
    loss.backward()
    assert logits.grad is not None and logits.grad[2] == 0
    assert confidence_loss(logits, torch.full((3,), -1.0)).item() == 0


def test_box_loss_by_hand() -> None:
    regression = torch.zeros(3, CODER.channels)
    terms = box_loss_terms(CODER, regression, targets_of(3))
    # Both bins as likely; each residual off by a quarter.
    for name in ("x_bin", "z_bin", "heading_bin"):
        assert terms[name].item() == pytest.approx(math.log(2), rel=1e-5)
    for name in ("x_residual", "z_residual", "y_offset", "heading_residual", "size"):
        assert terms[name].item() == pytest.approx(0.25**2 / 2, rel=1e-5)
    # The size counts three times.
    assert len(terms) == 8
    expected = 3 * math.log(2) + (4 + 3) * 0.25**2 / 2
    assert box_loss(CODER, regression, targets_of(3)).item() == pytest.approx(expected, rel=1e-5)


def test_only_the_true_bins_residual_counts() -> None:
    regression = torch.zeros(2, CODER.channels, requires_grad=True)
    box_loss(CODER, regression, targets_of(2)).backward()
    assert regression.grad is not None
    gradient = CODER.split(regression.grad)
    for residual in (gradient.x_residual, gradient.z_residual, gradient.heading_residual):
        assert (residual[:, 0] == 0).all() and (residual[:, 1] < 0).all()


def test_it_falls_to_nothing_where_all_is_said_right() -> None:
    regression = torch.zeros(1, CODER.channels)
    said = CODER.split(regression)
    for logits in (said.x_bin, said.z_bin, said.heading_bin):
        logits[:, 1] = 50.0
    for values in (said.x_residual, said.z_residual, said.heading_residual, said.size_residual, said.y_offset):
        values[:] = 0.25
    assert box_loss(CODER, regression, targets_of(1)).item() == pytest.approx(0, abs=1e-6)
    far_off = functional.smooth_l1_loss(torch.tensor([3.0]), torch.tensor([0.25])).item()
    said.y_offset[:] = 3.0
    assert box_loss(CODER, regression, targets_of(1)).item() == pytest.approx(far_off, rel=1e-5)
