"""The cloud benchmark: its plain numpy computes the same, its tables name what they must."""

import numpy as np

from pseudolidar.benchmarks.cloud import (
    cloud_tables,
    kitti_like_calibration,
    numpy_dense,
    numpy_last_of_each_cell,
    numpy_lidar_disparity,
    street_disparity,
)
from pseudolidar.cloud import LIDAR_GRID, disparity_to_points
from pseudolidar.stereo import lidar_disparity


def test_plain_numpy_computes_the_same() -> None:
    calibration, disparity = kitti_like_calibration(), street_disparity()
    assert disparity.shape == (375, 1242) and (disparity > 0).all()
    dense = numpy_dense(disparity, calibration)
    ours = disparity_to_points(disparity, calibration)
    np.testing.assert_allclose(ours, dense, rtol=0, atol=1e-4)
    sparse = disparity_to_points(disparity, calibration, grid=LIDAR_GRID)
    np.testing.assert_allclose(sparse, dense[numpy_last_of_each_cell(dense)], rtol=0, atol=1e-4)
    np.testing.assert_allclose(
        lidar_disparity(ours, calibration, (375, 1242)), numpy_lidar_disparity(ours, calibration), rtol=1e-6
    )


def test_every_table_has_the_baseline_and_the_limit() -> None:
    tables = cloud_tables(repetitions=1)
    assert len(tables) == 5
    for table in tables:
        names = [row.cells[0] for row in table.rows]
        assert names[0] == "plain numpy" and names[-1] == "bytes copied (the limit)"
        assert "375 x 1242 px" in table.caption and "bytes copied: as many bytes" in table.notes[-1]
