"""Memory of clouds: lent again when the last array on it is gone, never before."""

import gc

import numpy as np
import torch

from pseudolidar.cloud.cpu import empty_points

POINTS = 100_000


def address(points: np.ndarray) -> int:
    return int(points.__array_interface__["data"][0])


def test_memory_comes_back_when_the_last_view_is_gone() -> None:
    points = empty_points(POINTS)
    assert points.shape == (POINTS, 4) and points.dtype == np.float32 and points.flags.c_contiguous
    first = address(points)
    points[:] = 7
    column, tensor = points[5:, 2], torch.from_numpy(points)[3:]
    del points
    gc.collect()
    others = [empty_points(POINTS) for _ in range(8)]
    assert first not in {address(other) for other in others}
    for other in others:
        other[:] = 1
    assert (column == 7).all() and (tensor == 7).all()
    del others, other, column, tensor
    assert {address(again) for again in [empty_points(POINTS) for _ in range(4)]} & {first}


def test_a_block_goes_to_a_cloud_of_about_its_size() -> None:
    points = empty_points(POINTS)
    first = address(points)
    del points
    assert address(empty_points(POINTS - 1000)) == first
    small, large = empty_points(70_000 // 2), empty_points(4 * POINTS)
    assert len({first, address(small), address(large)}) == 3
    assert len(large) == 4 * POINTS
