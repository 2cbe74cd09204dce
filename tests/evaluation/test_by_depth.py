"""Sums by depth and frame: their bins, and the disparity error that they add up to."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.evaluation.by_depth import SumsByDepth, disparity_error_by_depth, sums_by_depth
from pseudolidar.files import FormatError
from pseudolidar.kitti import ObjectDataset, write_disparity
from pseudolidar.stereo import disparity_metrics
from tests.systems.avenue import data, write_maps

__all__ = ["data"]

VALUES = st.lists(st.tuples(st.integers(0, 3), st.floats(-5, 90), st.floats(-10, 10)), max_size=40)


@settings(deadline=None, max_examples=50)
@given(VALUES, st.lists(st.integers(0, 80), min_size=2, max_size=6, unique=True))
def test_every_value_is_in_one_bin(values: list[tuple[int, float, float]], edges: list[int]) -> None:
    bounds = np.sort(np.array(edges, np.float64))
    frame, depth, value = (
        (np.array(column) for column in zip(*values, strict=True)) if values else (np.zeros(0, int),) * 3
    )
    sums = sums_by_depth(4, frame, depth, value, bounds)
    for f in range(4):
        for b in range(len(bounds) - 1):
            mine = [v for g, z, v in values if g == f and bounds[b] < z <= bounds[b + 1]]
            assert sums.count[f, b] == len(mine) and sums.total[f, b] == pytest.approx(sum(mine), abs=1e-9)


def test_disparity_errors_are_those_of_the_table(data: ObjectDataset, tmp_path: Path) -> None:
    maps = write_maps(data, tmp_path / "maps", 1.03)
    sums = disparity_error_by_depth(maps, data, [0, 20, 40, np.inf])
    metrics = disparity_metrics(maps, data)
    np.testing.assert_array_equal(sums.count, metrics.pixels[:, 0, 1:])
    np.testing.assert_allclose(sums.total, metrics.disparity_error[:, 0, 1:])
    assert (sums.total > 0).any()
    write_disparity(maps / "000004.npy", np.ones((128, 400), np.float32))
    with pytest.raises(FormatError, match=r"000004.npy: size: found 400 x 128 px, expected 416 x 128 px"):
        disparity_error_by_depth(maps, data, [0, 20])


def test_bins_that_are_none() -> None:
    none = np.zeros(0)
    for edges in ([5.0], [0.0, 10.0, 10.0], [10.0, 0.0]):
        with pytest.raises(ValueError, match="edges_m: found"):
            sums_by_depth(2, none.astype(int), none, none, edges)
    with pytest.raises(ValueError, match=r"count: found shape \(3, 1\), expected \(frames, 1\)"):
        SumsByDepth(np.array([0.0, 1.0]), np.zeros((2, 1)), np.zeros((3, 1)))
