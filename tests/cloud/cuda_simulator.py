"""The CUDA kernels in numba's simulator, against plain PyTorch to the last bit; `test_cuda.py` runs this file.

The simulator is chosen for a whole process by NUMBA_ENABLE_CUDASIM=1, before numba is imported.
"""

import dataclasses

import numba
import numpy as np
import pytest
import torch

from pseudolidar.cloud import LIDAR_GRID, cuda, reference
from pseudolidar.cloud.grid import grid_cells
from pseudolidar.cloud.reference import make_projection
from pseudolidar.stereo.lidar_projection import lidar_projection
from pseudolidar.stereo.targets import Overlap, by_torch
from pseudolidar.stereo.targets_cuda import on_cuda
from tests.cloud.frames import make_calibration, ragged_disparity

SIZE = (13, 41)
GRID = dataclasses.replace(LIDAR_GRID, rows=9, columns=14, top_deg=4.0, row_deg=1.0, left_deg=7.0, column_deg=1.0)

pytestmark = pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaPerformanceWarning")


def test_this_is_the_simulator() -> None:
    assert numba.config.ENABLE_CUDASIM


@pytest.mark.parametrize(
    ("max_height", "max_depth", "quantization"), [(None, None, None), (0.5, 40.0, None), (0.5, None, 1 / 256)]
)
def test_clouds(max_height: float | None, max_depth: float | None, quantization: float | None) -> None:
    disparity = torch.from_numpy(ragged_disparity(0, *SIZE))
    projection = make_projection(make_calibration(), SIZE, max_height, max_depth, None, quantization, 0.5)
    cells = grid_cells(GRID)
    dense = cuda.dense_points(disparity, projection)
    assert len(dense) > 50
    assert torch.equal(dense, reference.dense_points(disparity, projection))
    sparse = cuda.sparse_points(disparity, projection, cells)
    assert 20 < len(sparse) < len(dense)
    assert torch.equal(sparse, reference.sparse_points(disparity, projection, cells))
    assert torch.equal(cuda.last_of_each_cell(dense, cells), reference.last_of_each_cell(dense, cells))


def test_no_points() -> None:
    projection = make_projection(make_calibration(), SIZE, None, None, None, None, 1.0)
    nothing = torch.zeros(SIZE)
    assert cuda.dense_points(nothing, projection).shape == (0, 4)
    assert cuda.sparse_points(nothing, projection, grid_cells(GRID)).shape == (0, 4)
    assert len(cuda.last_of_each_cell(torch.zeros(0, 4), grid_cells(GRID))) == 0
    assert cuda.dense_points(torch.zeros(0, 5), projection).shape == (0, 4)


@pytest.mark.parametrize("overlap", ["nearest", "last"])
def test_lidar_disparity(overlap: Overlap) -> None:
    points = np.random.default_rng(1).uniform((-1, -3, -1), (30, 3, 1), (600, 3))
    points[:50] = np.round(points[:50])
    tensor = torch.from_numpy(points)
    projection = lidar_projection(make_calibration(), SIZE)
    expected = by_torch(tensor, projection, overlap)
    assert 30 < (expected > 0).sum() < 400
    assert torch.equal(on_cuda(tensor, projection, overlap), expected)
