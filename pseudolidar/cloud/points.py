"""Disparity map -> points in the velodyne frame: winsorized, near-only, sparse; on the processor and on a GPU."""

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudolidar.cloud import cpu, reference
from pseudolidar.cloud.grid import LIDAR_GRID, AngularGrid, Cells, grid_cells
from pseudolidar.cloud.reference import Projection, make_projection
from pseudolidar.kitti import Calibration

Floats = NDArray[np.floating]
Points = NDArray[np.float32]


# An array's type does not tell one map from a batch: with one calibration for a whole batch the result is a list too.
@overload
def disparity_to_points(
    disparity: Floats, calibration: Calibration, max_height: float | None = ..., max_depth: float | None = ...,
    baseline: float | None = ..., grid: AngularGrid | None = ..., quantization: float | None = ...,
    intensity: float = ..., threads: int | None = ...,
) -> Points: ...  # fmt: skip
@overload
def disparity_to_points(
    disparity: Tensor, calibration: Calibration, max_height: float | None = ..., max_depth: float | None = ...,
    baseline: float | None = ..., grid: AngularGrid | None = ..., quantization: float | None = ...,
    intensity: float = ..., threads: int | None = ...,
) -> Tensor: ...  # fmt: skip
@overload
def disparity_to_points(
    disparity: Floats, calibration: Sequence[Calibration],
    max_height: float | None = ..., max_depth: float | None = ..., baseline: float | None = ...,
    grid: AngularGrid | None = ..., quantization: float | None = ..., intensity: float = ..., threads: int | None = ...,
) -> list[Points]: ...  # fmt: skip
@overload
def disparity_to_points(
    disparity: Tensor, calibration: Sequence[Calibration],
    max_height: float | None = ..., max_depth: float | None = ..., baseline: float | None = ...,
    grid: AngularGrid | None = ..., quantization: float | None = ..., intensity: float = ..., threads: int | None = ...,
) -> list[Tensor]: ...  # fmt: skip


def disparity_to_points(
    disparity: Floats | Tensor,
    calibration: Calibration | Sequence[Calibration],
    max_height: float | None = 1.0,
    max_depth: float | None = None,
    baseline: float | None = None,
    grid: AngularGrid | None = None,
    quantization: float | None = None,
    intensity: float = 1.0,
    threads: int | None = None,
) -> Any:
    """Back-project every pixel of the left colour image that has a disparity (Pseudo-LiDAR, Wang et al., CVPR 2019).

    depth = C / d with C = focal length x baseline; the pixel and its depth go through P2 to the rectified camera frame,
    then through R0_rect and Tr_velo_to_cam to the velodyne frame. A pixel yields no point if its disparity is 0,
    negative, NaN or infinite, if its point has x_velo < 0 (behind the sensor), or if float32 can't hold the point.
    Computed in float64 and rounded once; every device gives the same points, to the last bit, in the same order.

    Args:
        disparity: (H, W) px of the left colour image, of any floating type (taken as float32) and any strides; or a
            batch (B, H, W). No gradient flows through.
        calibration: for an image of that size; for a batch one for all its maps, or B of them.
        max_height: m; only points with z_velo < max_height stay (the paper's winsorization); None keeps all heights.
        max_depth: m; only points with x_velo < max_depth stay (near-only clouds); None keeps all.
        baseline: m; by default the calibration's own, from P2 and P3; published clouds were made with 0.54.
        grid: makes a sparse cloud: the last point of each cell, in row-major pixel order, stays. None keeps all.
        quantization: px; disparities are cut off to multiples of it. Published clouds were made with 1 / 256, since
            published code stores 256 d as a whole number. None leaves disparities unchanged.
        intensity: the fourth column; a disparity map knows no reflectance.
        threads: of the processor, at most; None takes PyTorch's number.

    Returns:
        float32 (N, 4) x y z m in the velodyne frame and intensity, pixels in row-major order. An array for an array, a
            tensor on the same device for a tensor; a list of B of them for a batch.

    Raises:
        ValueError: a disparity that isn't (H, W) or (B, H, W) of floating numbers, another number of calibrations than
            of maps; a baseline, max_depth or quantization that isn't positive.
    """
    is_floating = disparity.is_floating_point() if isinstance(disparity, Tensor) else disparity.dtype.kind == "f"
    if not is_floating:
        # Files and matchers hold 16 or 256 times the disparity as whole numbers: a cloud of them would be too near.
        expected = "a floating type, in px (read_disparity divides KITTI's 16-bit maps by 256)"
        raise ValueError(f"disparity: found {disparity.dtype}, expected {expected}")
    if disparity.ndim not in (2, 3):
        raise ValueError(f"disparity: found shape {tuple(disparity.shape)}, expected (H, W) or (B, H, W)")
    one_map = disparity.ndim == 2
    maps = [disparity] if one_map else list(disparity)
    calibrations = [calibration] * len(maps) if isinstance(calibration, Calibration) else list(calibration)
    if len(calibrations) != len(maps) or (one_map and not isinstance(calibration, Calibration)):
        expected = "one Calibration" if one_map else f"one, or {len(maps)}"
        raise ValueError(
            f"calibration: found {len(calibrations)} for shape {tuple(disparity.shape)}, expected {expected}"
        )

    cells = None if grid is None else grid_cells(grid)
    limits = max_height, max_depth, baseline, quantization, intensity
    clouds = [
        _cloud(one_disparity, make_projection(one_calibration, one_disparity.shape, *limits), cells, threads)
        for one_disparity, one_calibration in zip(maps, calibrations, strict=True)
    ]
    return clouds[0] if one_map else clouds


def _cloud(disparity: Any, projection: Projection, cells: Cells | None, threads: int | None) -> Any:
    if isinstance(disparity, Tensor) and disparity.device.type == "cuda":
        gpu, on_gpu = _gpu_backend(), disparity.detach().float().contiguous()
        return gpu.dense_points(on_gpu, projection) if cells is None else gpu.sparse_points(on_gpu, projection, cells)
    array = _float32_array(disparity)
    if cells is None:
        points = cpu.dense_points(array, projection, threads)
    else:
        points = cpu.sparse_points(array, projection, cells, threads)
    return torch.from_numpy(points).to(disparity.device) if isinstance(disparity, Tensor) else points


@overload
def sparsify_points(points: Points, grid: AngularGrid = ..., threads: int | None = ...) -> Points: ...
@overload
def sparsify_points(points: Tensor, grid: AngularGrid = ..., threads: int | None = ...) -> Tensor: ...


def sparsify_points(
    points: Points | Tensor, grid: AngularGrid = LIDAR_GRID, threads: int | None = None
) -> Points | Tensor:
    """The last point in each cell of an angular grid, as a spinning LiDAR would measure (Pseudo-LiDAR++).

    Points, (N, >= 3) x y z m in the velodyne frame, keep their order, type and device; coordinates are compared as
    float32. Points outside the crop, or with NaN, are dropped. The default grid is PointRCNN's input in Pseudo-LiDAR++.
    `threads` as in `disparity_to_points`.

    Raises:
        ValueError: points of another shape.
    """
    if points.ndim != 2 or points.shape[1] < 3:
        raise ValueError(f"points: found shape {tuple(points.shape)}, expected (N, 3) or more columns")
    cells = grid_cells(grid)
    if isinstance(points, Tensor) and points.device.type == "cuda":
        return points[_gpu_backend().last_of_each_cell(points.detach().float().contiguous(), cells)]
    last = cpu.last_of_each_cell(_float32_array(points), cells, threads)
    return points[torch.from_numpy(last).to(points.device)] if isinstance(points, Tensor) else points[last]


def crop_sweep(points: Points, max_height: float | None = 1.0, max_depth: float | None = None) -> Points:
    """The points, (N, 4) velodyne frame, of a LiDAR sweep with x_velo in [0, max_depth) and z_velo < max_height, m.

    They keep their order; `disparity_to_points` has the same limits.
    """
    kept = points[:, 0] >= 0
    if max_height is not None:
        kept &= points[:, 2] < max_height
    if max_depth is not None:
        kept &= points[:, 0] < max_depth
    return points[kept]


def _gpu_backend() -> Any:
    """The CUDA kernels, or plain PyTorch where numba can't compile them (no numba-cuda, an AMD card)."""
    # Imported when there is something to do on a GPU: numba's part for it looks for a driver.
    from pseudolidar.kernels.cuda import cuda_kernels_run

    if not cuda_kernels_run():
        return reference
    from pseudolidar.cloud import cuda

    return cuda


def _float32_array(values: Floats | Tensor) -> Points:
    if isinstance(values, Tensor):
        return values.detach().float().cpu().contiguous().numpy()
    return np.ascontiguousarray(values, dtype=np.float32)
