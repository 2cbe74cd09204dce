"""The processor's kernels against plain PyTorch, to the last bit; threads, and many callers at once."""

import dataclasses
import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pseudolidar.cloud import LIDAR_GRID, cpu, disparity_to_points, reference, sparsify_points
from pseudolidar.cloud.grid import grid_cells
from pseudolidar.cloud.reference import make_projection
from tests.cloud.frames import make_calibration, ragged_disparity


def bits(points: NDArray[np.float32]) -> NDArray[np.int32]:
    return points.view(np.int32)


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**31),
    max_height=st.sampled_from([None, 1.0, 0.7]),
    max_depth=st.sampled_from([None, 20.0]),
    quantization=st.sampled_from([None, 1 / 256, 0.1]),
    threads=st.integers(1, 5),
)
def test_kernels_equal_the_reference(
    seed: int, max_height: float | None, max_depth: float | None, quantization: float | None, threads: int
) -> None:
    # Large enough for five threads, with a last band that is cut short.
    disparity = ragged_disparity(seed, 303, 831)
    projection = make_projection(make_calibration(), (303, 831), max_height, max_depth, None, quantization, 0.5)
    expected = reference.dense_points(torch.from_numpy(disparity), projection).numpy()
    points = cpu.dense_points(disparity, projection, threads)
    np.testing.assert_array_equal(bits(points), bits(expected))
    assert len(points) > 1000

    cells = grid_cells(LIDAR_GRID)
    last = reference.last_of_each_cell(torch.from_numpy(points), cells).numpy()
    np.testing.assert_array_equal(cpu.last_of_each_cell(points, cells, threads), last)
    np.testing.assert_array_equal(bits(cpu.sparse_points(disparity, projection, cells, threads)), bits(points[last]))


def test_large_maps_in_full() -> None:
    # As large as it takes for counting in three threads.
    disparity = np.full((1201, 1000), 5, np.float32)
    projection = make_projection(make_calibration(), disparity.shape, None, None, None, None, 1.0)
    expected = reference.dense_points(torch.from_numpy(disparity), projection).numpy()
    assert len(expected) == disparity.size
    for threads in (1, 2, 3):
        np.testing.assert_array_equal(cpu.dense_points(disparity, projection, threads), expected)


@settings(deadline=None, max_examples=25)
@given(
    rows=st.integers(1, 90),
    columns=st.integers(1, 600),
    top=st.floats(-10, 30),
    left=st.floats(-10, 79),
    seed=st.integers(0, 2**31),
)
def test_any_grid(rows: int, columns: int, top: float, left: float, seed: int) -> None:
    grid = dataclasses.replace(
        LIDAR_GRID,
        rows=rows,
        columns=columns,
        top_deg=top,
        row_deg=min(2, (top + 60) / rows),
        left_deg=left,
        column_deg=min(1, (left + 70) / columns),
    )
    cells = grid_cells(grid)
    rng = np.random.default_rng(seed)
    points = rng.uniform((0, -55, -4, 0), (125, 55, 2, 1), (3000, 4)).astype(np.float32)
    points[:4, :2] = 0  # on the axis of the sensor, where there is no azimuth, and in the sensor
    points[3] = 0
    points[4:600] *= np.float32(0.02)
    last = reference.last_of_each_cell(torch.from_numpy(points), cells).numpy()
    np.testing.assert_array_equal(cpu.last_of_each_cell(points, cells, 2), last)


def test_many_callers_at_once_get_the_same() -> None:
    disparity = ragged_disparity(0, 203, 831)
    calibration = make_calibration()
    dense = disparity_to_points(disparity, calibration, threads=1)
    sparse = sparsify_points(dense, threads=1)

    def call(_: int) -> bool:
        # With PyTorch's own threads at work at the same time.
        torch.ones(300, 300) @ torch.ones(300, 300)
        points = disparity_to_points(disparity, calibration, threads=3)
        fused = disparity_to_points(disparity, calibration, grid=LIDAR_GRID, threads=2)
        return np.array_equal(points, dense) and np.array_equal(fused, sparse)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(call, range(30)))


def points_of(disparity: NDArray[np.float32]) -> NDArray[np.float32]:
    return disparity_to_points(disparity, make_calibration(), threads=3)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_processes_forked_after_the_first_cloud() -> None:
    disparity = ragged_disparity(0, 203, 831)
    expected = points_of(disparity)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        clouds = pool.map_async(points_of, [disparity] * 4).get(timeout=60)
    for cloud in clouds:
        np.testing.assert_array_equal(cloud, expected)
