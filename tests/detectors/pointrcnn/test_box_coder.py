"""Bins and residuals: what is encoded comes back, what can't be said is clamped."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pseudolidar.detectors.pointrcnn import PointRCNN
from pseudolidar.detectors.pointrcnn.box_coder import BoxCode, BoxCoder, canonical, decode_at_points, decode_in_rois
from pseudolidar.ops import points_in_boxes

MEAN = torch.tensor([1.5, 1.6, 3.9])
CIRCLE = torch.linspace(-2 * math.pi, 2 * math.pi, 1441)
RPN, RCNN = PointRCNN.rpn_coder, PointRCNN.rcnn_coder


def regression_of(coder: BoxCoder, targets: BoxCode) -> Tensor:
    """Channels that say the targets; the residuals of other bins are nonsense."""
    rows = len(targets.x_bin)
    said = coder.split(torch.full((rows, coder.channels), 0.37))
    row = torch.arange(rows)
    for logits, index in (
        (said.x_bin, targets.x_bin),
        (said.z_bin, targets.z_bin),
        (said.heading_bin, targets.heading_bin),
    ):
        logits[row, index] = 1.0
    said.x_residual[row, targets.x_bin] = targets.x_residual
    said.z_residual[row, targets.z_bin] = targets.z_residual
    said.y_offset[:] = targets.y_offset
    said.heading_residual[row, targets.heading_bin] = targets.heading_residual
    said.size_residual[:] = targets.size_residual
    parts = (part if part.ndim == 2 else part[:, None] for part in said)
    return torch.cat(list(parts), dim=1)


def there_and_back(coder: BoxCoder, offsets: Tensor, sizes: Tensor, headings: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    targets = coder.encode(offsets, sizes, headings, MEAN)
    for index, bins in (
        (targets.x_bin, coder.location_bins),
        (targets.z_bin, coder.location_bins),
        (targets.heading_bin, coder.heading_bins),
    ):
        assert int(index.min()) >= 0 and int(index.max()) < bins
    assert float(targets.x_residual.abs().max()) <= 0.5 + 1e-5
    assert float(targets.heading_residual.abs().max()) <= 1 + 1e-4
    return coder.decode(regression_of(coder, targets), MEAN)


def angle_between(one: Tensor, other: Tensor) -> Tensor:
    return torch.remainder(one - other + math.pi, 2 * math.pi) - math.pi


def test_channels_are_the_published_ones() -> None:
    assert (RPN.channels, RCNN.channels) == (76, 46)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.booleans())
def test_what_is_encoded_comes_back(seed: int, quarter: bool) -> None:
    coder = RCNN if quarter else RPN
    uniform = torch.rand(len(CIRCLE), 6, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    offsets = uniform[:, :3] * torch.tensor([coder.scope_m - 2e-3, 5.0, coder.scope_m - 2e-3])
    sizes = MEAN * (1 + 0.9 * uniform[:, 3:])
    headings = CIRCLE
    if quarter:
        # Within pi / 4 of the roi's heading or of its opposite, but for the margin that is clamped.
        folded = torch.remainder(headings + math.pi / 2, math.pi) - math.pi / 2
        headings = headings[folded.abs() < math.pi / 4 - 2e-3]
        offsets, sizes = offsets[: len(headings)], sizes[: len(headings)]
    said_offsets, said_sizes, said_headings = there_and_back(coder, offsets, sizes, headings)
    torch.testing.assert_close(said_offsets, offsets, atol=1e-5, rtol=0)
    torch.testing.assert_close(said_sizes, sizes, atol=1e-5, rtol=0)
    difference = angle_between(said_headings, headings)
    if quarter:
        assert float(said_headings.abs().max()) <= math.pi / 4
        difference = torch.remainder(difference + math.pi / 2, math.pi) - math.pi / 2
    assert float(difference.abs().max()) < 1e-5


def test_headings_of_the_whole_circle_are_wrapped() -> None:
    count = len(CIRCLE)
    _, _, headings = there_and_back(RPN, torch.zeros(count, 3), MEAN.expand(count, 3), CIRCLE)
    assert float(headings.abs().max()) <= math.pi + 1e-6


@pytest.mark.parametrize("coder", [RPN, RCNN], ids=["points", "rois"])
def test_offsets_beyond_the_scope_are_clamped(coder: BoxCoder) -> None:
    scope = coder.scope_m
    offsets = torch.tensor([[-scope - 9, 7.0, scope + 9], [scope, -7.0, -scope], [1e9, 0.0, -1e9]])
    said, _, _ = there_and_back(coder, offsets, MEAN.expand(3, 3), torch.zeros(3))
    expected = torch.tensor([[-scope, 7.0, scope], [scope, -7.0, -scope], [scope, 0.0, -scope]])
    torch.testing.assert_close(said, expected, atol=2e-3, rtol=0)


def test_headings_across_the_region_are_clamped() -> None:
    headings = torch.tensor([math.pi / 3, -math.pi / 3, 0.8, math.pi - 0.8])
    _, _, said = there_and_back(RCNN, torch.zeros(4, 3), MEAN.expand(4, 3), headings)
    quarter = math.pi / 4
    torch.testing.assert_close(said, torch.tensor([quarter, -quarter, quarter, -quarter]), atol=2e-3, rtol=0)


def test_a_bin_worked_out_by_hand() -> None:
    targets = RPN.encode(torch.tensor([[0.6, 0.2, -2.9]]), MEAN[None] * 1.1, torch.tensor([math.pi / 2 + 0.1]), MEAN)
    assert (targets.x_bin.item(), targets.z_bin.item(), targets.heading_bin.item()) == (7, 0, 3)
    # Bin 7 goes from 0.5 to 1.0 m, bin 0 from -3.0 to -2.5 m; heading bin 3 lies around pi / 2, 15 degrees each way.
    assert targets.x_residual.item() == pytest.approx(-0.3, abs=1e-5)
    assert targets.z_residual.item() == pytest.approx(-0.3, abs=1e-5)
    assert targets.heading_residual.item() == pytest.approx(0.1 / math.radians(15), abs=1e-5)
    torch.testing.assert_close(targets.size_residual, torch.full((1, 3), 0.1), atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**31))
def test_boxes_of_points_and_regions_come_back(seed: int) -> None:
    uniform = torch.rand(32, 10, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    centre, shift, heading = uniform[:, :3] * torch.tensor([30.0, 2.0, 30.0]), uniform[:, 3:6], uniform[:, 6] * math.pi
    sizes = MEAN * (1 + 0.3 * uniform[:, 7:])
    boxes = torch.cat([centre, sizes, heading[:, None]], dim=1)
    # Points of the object: the middle of the box is coded, half its height above the bottom.
    points = centre + shift
    middle = centre - torch.stack([torch.zeros(32), sizes[:, 0] / 2, torch.zeros(32)], dim=1)
    targets = RPN.encode(middle - points, sizes, heading, MEAN)
    torch.testing.assert_close(
        decode_at_points(RPN, points, regression_of(RPN, targets), MEAN), boxes, atol=2e-5, rtol=0
    )
    # RoIs around it, turned by less than pi / 4.
    rois = torch.cat([centre + shift, MEAN.expand(32, 3), (heading + 0.7 * shift[:, 0])[:, None]], dim=1)
    offsets = canonical(boxes[:, None, :3], rois)[:, 0]
    targets = RCNN.encode(offsets, sizes, heading - rois[:, 6], MEAN)
    torch.testing.assert_close(decode_in_rois(RCNN, rois, regression_of(RCNN, targets), MEAN), boxes, atol=2e-5, rtol=0)


def test_the_region_frame_has_the_region_along_x() -> None:
    roi = torch.tensor([[3.0, 1.0, 20.0, 1.5, 1.6, 3.9, 0.6]])
    random = torch.rand(1, 500, 3, generator=torch.Generator().manual_seed(0)) * 8 - 4
    points = random + roi[:, None, :3]
    own = canonical(points, roi)
    height, width, length = roi[0, 3:6]
    inside = (own[..., 0].abs() <= length / 2) & (own[..., 2].abs() <= width / 2)
    inside &= (own[..., 1] <= 0) & (own[..., 1] >= -height)
    assert 0 < int(inside.sum()) < 500
    torch.testing.assert_close(inside, points_in_boxes(points, roi[None]) >= 0)
