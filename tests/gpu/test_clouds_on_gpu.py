"""Clouds and LiDAR disparity on the GPU: the processor's points in the processor's order, to the last bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.cloud import LIDAR_GRID, AngularGrid, disparity_to_points, sparsify_points
from pseudolidar.stereo import lidar_disparity
from pseudolidar.stereo.targets import Overlap
from tests.cloud.frames import make_calibration, ragged_disparity


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 2**31),
    max_height=st.sampled_from([None, 1.0, 0.7]),
    max_depth=st.sampled_from([None, 20.0]),
    quantization=st.sampled_from([None, 1 / 256, 0.1]),
    grid=st.sampled_from([None, LIDAR_GRID, replace(LIDAR_GRID, rows=9, columns=14, top_deg=4.0, left_deg=7.0)]),
)
def test_clouds(
    seed: int, max_height: float | None, max_depth: float | None, quantization: float | None, grid: AngularGrid | None
) -> None:
    disparity = torch.from_numpy(ragged_disparity(seed, 303, 831))
    disparity[1, :4] = torch.tensor([1e30, 1e19, 3e38, 1e-20])
    options = {"max_height": max_height, "max_depth": max_depth, "quantization": quantization}
    expected = disparity_to_points(disparity, make_calibration(), grid=grid, **options)  # type: ignore[arg-type]
    found = disparity_to_points(disparity.cuda(), make_calibration(), grid=grid, **options)  # type: ignore[arg-type]
    assert found.is_cuda
    assert torch.equal(found.cpu().view(torch.int32), expected.view(torch.int32))


def test_batches_strides_types_and_streams() -> None:
    maps = torch.from_numpy(np.stack([ragged_disparity(seed, 64, 90) for seed in range(3)]))
    expected = [disparity_to_points(one, make_calibration()) for one in maps]
    stream = torch.cuda.Stream()
    turned = maps.cuda().transpose(1, 2).contiguous().transpose(1, 2)
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        clouds = disparity_to_points(turned, [make_calibration()] * 3)
        in_double = disparity_to_points(turned[0].double(), make_calibration())
    stream.synchronize()
    for ours, theirs in zip([*clouds, in_double], [*expected, expected[0]], strict=True):
        assert torch.equal(ours.cpu(), theirs)
    half = disparity_to_points(turned[0].half(), make_calibration())
    assert torch.equal(half.cpu(), disparity_to_points(maps[0].half(), make_calibration()))


def test_no_points() -> None:
    nothing = torch.zeros(13, 41).cuda()
    assert disparity_to_points(nothing, make_calibration()).shape == (0, 4)
    assert disparity_to_points(nothing, make_calibration(), grid=LIDAR_GRID).shape == (0, 4)
    assert sparsify_points(torch.zeros(0, 4).cuda()).shape == (0, 4)
    assert not lidar_disparity(torch.zeros(0, 4).cuda(), make_calibration(), (13, 41)).any()


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(1, 90), columns=st.integers(1, 600), top=st.floats(-10, 30), seed=st.integers(0, 2**31))
def test_any_grid(rows: int, columns: int, top: float, seed: int) -> None:
    grid = replace(
        LIDAR_GRID,
        rows=rows,
        columns=columns,
        top_deg=top,
        row_deg=min(2, (top + 60) / rows),
        left_deg=30.0,
        column_deg=min(1, 100 / columns),
    )
    points = np.random.default_rng(seed).uniform((0, -55, -4, 0), (125, 55, 2, 1), (3000, 4)).astype(np.float32)
    points[:4, :2] = 0
    points[3] = 0
    points[4:600] *= np.float32(0.02)
    points[700, 1] = np.nan
    tensor = torch.from_numpy(points)
    assert torch.equal(sparsify_points(tensor.cuda(), grid).cpu(), sparsify_points(tensor, grid))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**20), st.sampled_from(["nearest", "last"]), st.sampled_from([torch.float32, torch.float64]))
def test_lidar_disparity(seed: int, overlap: Overlap, dtype: torch.dtype) -> None:
    points = np.random.default_rng(seed).uniform((-5, -5, -3, 0), (30, 25, 8, 1), (20_000, 4))
    points[:2000] = np.round(points[:2000])
    tensor = torch.from_numpy(points).to(dtype)
    found = lidar_disparity(tensor.cuda(), make_calibration(), (40, 60), overlap)
    assert torch.equal(found.cpu(), lidar_disparity(tensor, make_calibration(), (40, 60), overlap))
    assert found.any()


def test_coordinates_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="row 1"):
        lidar_disparity(torch.tensor([[5.0, 0, 0], [torch.nan, 0, 0]]).cuda(), make_calibration(), (40, 60))


def test_more_pixels_than_an_int32_counts() -> None:
    disparity = torch.zeros(2**16, 2**15 + 1, device="cuda")
    assert disparity.numel() > 2**31
    disparity[-1, -5:] = 5.0
    disparity[0, 0] = 5.0
    points = disparity_to_points(disparity, make_calibration(), max_height=None)
    assert points.shape == (6, 4)
    assert len(disparity_to_points(disparity, make_calibration(), max_height=None, grid=LIDAR_GRID)) <= 6
