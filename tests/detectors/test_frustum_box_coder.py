"""How boxes are coded: the published figures, and coding and decoding as inverses."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.detectors.frustum_pointnet import box_coder
from pseudolidar.kitti import box3d_corners


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("Car", (3.883, 1.629, 1.526)),
        ("Pedestrian", (0.844, 0.661, 1.763)),
        ("Cyclist", (1.763, 0.597, 1.737)),
        ("Van", (5.068, 1.901, 2.205)),
        ("Truck", (10.136, 2.585, 3.252)),
        ("Person_sitting", (0.801, 0.598, 1.275)),
        ("Tram", (16.172, 2.532, 3.531)),
        ("Misc", (3.643, 1.543, 1.923)),
    ],
)
def test_published_mean_sizes(name: str, size: tuple[float, float, float]) -> None:
    assert box_coder.MEAN_SIZES_M[name] == size
    assert len(box_coder.SIZE_CLUSTERS) == 8


def test_heading_bins() -> None:
    assert box_coder.HEADING_BINS == 12
    degrees = torch.tensor([0.0, 14.9, 15.1, 90.0, -14.9, -15.1, 180.0, 359.0])
    index, residual = box_coder.encode_heading(torch.deg2rad(degrees))
    assert index.tolist() == [0, 0, 1, 3, 0, 11, 6, 0]
    torch.testing.assert_close(
        torch.rad2deg(residual), torch.tensor([0, 14.9, -14.9, 0, -14.9, 14.9, 0, -1]), atol=1e-3, rtol=0
    )


@settings(deadline=None, max_examples=300)
@given(st.floats(-4 * math.pi, 4 * math.pi))
def test_a_heading_decodes_to_itself(heading: float) -> None:
    index, residual = box_coder.encode_heading(torch.tensor([heading], dtype=torch.float32))
    assert 0 <= int(index) < 12
    assert abs(float(residual)) <= math.pi / 12 + 1e-5
    difference = float(box_coder.decode_heading(index, residual)) - heading
    assert abs(math.remainder(difference, 2 * math.pi)) < 1e-5


@settings(deadline=None, max_examples=50)
@given(st.tuples(*[st.floats(0.1, 20)] * 3), st.integers(0, 7))
def test_a_size_decodes_to_itself(size: tuple[float, float, float], cluster: int) -> None:
    mean_sizes = torch.tensor(list(box_coder.MEAN_SIZES_M.values()))
    index = torch.tensor([cluster])
    residual = box_coder.encode_size(torch.tensor([size]), index, mean_sizes)
    torch.testing.assert_close(
        box_coder.decode_size(residual, index, mean_sizes), torch.tensor([size]), atol=1e-5, rtol=1e-5
    )


@settings(deadline=None, max_examples=50)
@given(st.floats(-7, 7), st.integers(0, 2**31))
def test_corners_are_those_of_the_kitti_box(heading: float, seed: int) -> None:
    x, y, z, height, width, length = np.random.default_rng(seed).uniform(0.5, 10, 6)
    expected = box3d_corners(np.array([[x, y, z, height, width, length, heading]]))
    corners = box_coder.box_corners(
        torch.tensor([[x, y - height / 2, z]], dtype=torch.float64),
        torch.tensor([[length, width, height]], dtype=torch.float64),
        torch.tensor([heading], dtype=torch.float64),
    )
    np.testing.assert_allclose(corners.numpy(), expected, atol=1e-9)
