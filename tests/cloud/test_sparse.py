"""Sparse clouds: cells as Pseudo-LiDAR++ has them, the last point of each, the crop, fused and alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pseudolidar.cloud import LIDAR_GRID, disparity_to_points, sparsify_points
from tests.cloud.frames import make_calibration, ragged_disparity


def by_angles(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """The formula of Pseudo-LiDAR++ (You et al., ICLR 2020) with inverse sines, in float64, point by point."""
    last: dict[tuple[int, int], int] = {}
    for i, (x, y, z) in enumerate(points[:, :3].astype(np.float64)):
        if not (0 <= x < 120 and -50 <= y < 50 and -2.5 <= z < 1.5):
            continue
        row = np.floor((2 - np.degrees(np.arcsin(z / np.sqrt(x * x + y * y + z * z)))) / 0.4)
        column = np.floor((45 - np.degrees(np.arcsin(y / np.hypot(x, y)))) / (90 / 512))
        last[int(np.clip(row, 0, 63)), int(np.clip(column, 0, 511))] = i
    return points[sorted(last.values())]


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31))
def test_the_formula_with_inverse_sines(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform((-5, -60, -4, 0), (130, 60, 3, 1), (2000, 4)).astype(np.float32)
    points[:1000, :2] = points[:1000, :2] / 8
    np.testing.assert_array_equal(sparsify_points(points), by_angles(points))


def test_the_last_point_of_a_cell_stays_in_its_place_with_its_intensity() -> None:
    points = np.array([[10, 0.01, -1, 0.1], [20, 5, -1, 0.2], [10.1, 0.02, -1, 0.3], [5, 1, -1, 0.4]], np.float32)
    assert sparsify_points(points)[:, 3].tolist() == pytest.approx([0.2, 0.3, 0.4])
    assert sparsify_points(points[::-1])[:, 3].tolist() == pytest.approx([0.4, 0.2, 0.1])


def test_the_crop_takes_its_lower_ends_and_not_its_upper_ones() -> None:
    nearly = np.nextafter(np.array([120, 50, 1.5], np.float32), np.float32(0))
    inside = [[0, 1, -0.1], [nearly[0], 0, 0], [10, -50, 0], [10, nearly[1], 0], [60, 3, -2.5], [60, 9, nearly[2]]]
    outside = [[-1e-9, 1, 0], [120, 0, 0], [10, -50.001, 0], [10, 50, 0], [60, 6, -2.501], [60, 6, 1.5], [np.nan, 0, 0]]
    points = np.array([*outside, *inside], np.float32)
    np.testing.assert_array_equal(sparsify_points(points), np.array(inside, np.float32))


def test_points_beyond_the_grid_fall_into_its_outer_cells() -> None:
    # Above 2 deg and below -23.6 deg, left of 45 deg and right of -45 deg: the four corners, twice.
    steep = np.array([[1, 2, 1.4], [1, 2, -2.4], [1, -2, 1.4], [1, -2, -2.4]], np.float32)
    kept = sparsify_points(np.concatenate([steep, steep * np.float32(0.9)]))
    np.testing.assert_array_equal(kept, steep * np.float32(0.9))


@pytest.mark.parametrize("max_depth", [None, 20.0])
def test_fused_is_the_dense_cloud_made_sparse(max_depth: float | None) -> None:
    disparity = ragged_disparity(3, 60, 80)
    dense = disparity_to_points(disparity, make_calibration(), 1.0, max_depth, quantization=1 / 256)
    sparse = disparity_to_points(disparity, make_calibration(), 1.0, max_depth, quantization=1 / 256, grid=LIDAR_GRID)
    np.testing.assert_array_equal(sparse, sparsify_points(dense))
    assert 0 < len(sparse) < 0.9 * len(dense)


def test_tensors_and_any_columns() -> None:
    points = np.random.default_rng(0).uniform((0, -20, -2, 0, 0), (50, 20, 1, 1, 1), (500, 5))
    expected = sparsify_points(points.astype(np.float32))
    kept = sparsify_points(torch.from_numpy(points))
    assert isinstance(kept, torch.Tensor) and kept.dtype == torch.float64
    np.testing.assert_array_equal(kept.float().numpy(), expected)
    np.testing.assert_array_equal(sparsify_points(np.asfortranarray(points.astype(np.float32))), expected)
    assert sparsify_points(points[:0].astype(np.float32)).shape == (0, 5)
    with pytest.raises(ValueError, match=r"\(4, 2\)"):
        sparsify_points(np.zeros((4, 2), np.float32))


def test_a_grid_of_ones_own() -> None:
    four = replace(LIDAR_GRID, rows=2, columns=2, top_deg=10, row_deg=10, left_deg=30, column_deg=30, x_m=(0, 30))
    points = np.array([[10, 1, 1], [10, 1, -1], [10, -1, 1], [10, -1, -1], [20, -2, -2], [40, 1, 1]], np.float32)
    np.testing.assert_array_equal(sparsify_points(points, four), points[[0, 1, 2, 4]])


@pytest.mark.parametrize(
    ("settings_of_grid", "name"),
    [
        ({"x_m": (-1, 10)}, "x_m"),
        ({"y_m": (5, 5)}, "y_m"),
        ({"rows": 0}, "rows"),
        ({"columns": 8, "column_deg": 30.0}, "columns"),
        ({"row_deg": -0.4}, "rows"),
    ],
)
def test_grids_that_can_not_be(settings_of_grid: dict[str, float], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        replace(LIDAR_GRID, **settings_of_grid)  # type: ignore[arg-type]
