"""Disparity targets from LiDAR: a sweep projected into the left image, on the processor or a GPU."""

from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudolidar.files import InputError
from pseudolidar.kernels import cpu_kernel, in_chunks
from pseudolidar.kitti import Calibration, Frame
from pseudolidar.stereo.lidar_projection import MIN_RANGE_M, LidarProjection, lidar_projection

Overlap = Literal["nearest", "last"]

# Points that are worth a thread.
_SMALLEST_CHUNK = 8_000
_NOT_FINITE = -2


def target_disparity(frame: Frame, calibration: Calibration | None = None) -> NDArray[np.float32]:
    """The frame's exact disparity where it has one, otherwise the LiDAR's in the left image; (H, W) px, 0 unknown.

    `calibration` is the frame's, for a caller that has read it already.
    """
    if frame.has_exact_disparity():
        return frame.disparity()
    return lidar_disparity(frame.velodyne(), calibration or frame.calibration, frame.image_size())


@overload
def lidar_disparity(
    points: NDArray[np.floating], calibration: Calibration, image_size: tuple[int, int], overlap: Overlap = ...
) -> NDArray[np.float32]: ...
@overload
def lidar_disparity(
    points: Tensor, calibration: Calibration, image_size: tuple[int, int], overlap: Overlap = ...
) -> Tensor: ...


def lidar_disparity(
    points: NDArray[np.floating] | Tensor,
    calibration: Calibration,
    image_size: tuple[int, int],
    overlap: Overlap = "nearest",
) -> NDArray[np.float32] | Tensor:
    """Disparity of each pixel that a LiDAR point falls on: float32 (height, width) px, 0 where none does.

    A point with x > 2 m is projected into the left image and rounded to a pixel; its disparity is focal length x
    baseline over its depth in the rectified camera frame. Every device gives the same map. A numpy array gives a numpy
    array, a tensor a tensor on its device.

    Args:
        points: (N, >= 3) x y z in the velodyne frame, metres, finite; ValueError otherwise.
        image_size: (height, width) px.
        overlap: which of several points on one pixel counts: the `nearest`, which is the one that the camera sees, or
            the `last` in the order of `points`, as in targets made by published code (Wang et al., Pseudo-LiDAR, 2019).
    """
    if not isinstance(points, Tensor):
        points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] < 3:
        raise ValueError(f"points: found shape {tuple(points.shape)}, expected (N, 3) or more columns")
    if overlap not in ("nearest", "last"):
        raise InputError(f"overlap: found {overlap!r}, expected 'nearest' or 'last'")
    projection = lidar_projection(calibration, image_size)
    if not isinstance(points, Tensor):
        return _on_cpu(points, projection, overlap)
    if points.device.type == "cuda":
        return _on_gpu(points.detach()[:, :3], projection, overlap)
    return torch.from_numpy(_on_cpu(points.detach().cpu().numpy(), projection, overlap)).to(points.device)


def _refuse(points: Any, row: int) -> None:
    found = np.array([float(value) for value in points[row, :3]])
    raise ValueError(f"points: row {row} is {found}, expected finite coordinates")


def _on_gpu(points: Tensor, projection: LidarProjection, overlap: Overlap) -> Tensor:
    finite = torch.isfinite(points).all(dim=1)
    if not finite.all():
        _refuse(points, int((~finite).nonzero()[0]))
    # Imported when there is something to do on a GPU: numba's part for it looks for a driver.
    from pseudolidar.kernels.cuda import cuda_kernels_run

    if not cuda_kernels_run():
        return by_torch(points, projection, overlap)
    from pseudolidar.stereo.targets_cuda import on_cuda

    return on_cuda(points.double().contiguous(), projection, overlap)


def by_torch(points: Tensor, projection: LidarProjection, overlap: Overlap) -> Tensor:
    """The map by plain PyTorch on any device with float64: the kernels must equal it; points (N, >= 3), finite."""
    x, y, z = points[:, :3].double().unbind(dim=1)
    u, v, w, depth = (row[0] * x + row[1] * y + row[2] * z + row[3] for row in projection.matrix.tolist())
    column, row = torch.round(u / w), torch.round(v / w)
    seen = (x > MIN_RANGE_M) & (depth > 0)
    seen &= (column >= 0) & (column < projection.width) & (row >= 0) & (row < projection.height)
    pixel = (row[seen] * projection.width + column[seen]).long()
    disparity = (projection.camera_constant / depth[seen]).float()
    target = disparity.new_zeros(projection.height * projection.width)
    if overlap == "nearest":
        target.scatter_reduce_(0, pixel, disparity, "amax")
    else:
        last = torch.full(target.shape, -1, device=target.device)
        last.scatter_reduce_(0, pixel, torch.arange(len(pixel), device=target.device), "amax")
        target[last >= 0] = disparity[last[last >= 0]]
    return target.reshape(projection.height, projection.width)


def _on_cpu(points: NDArray[np.floating], projection: LidarProjection, overlap: Overlap) -> NDArray[np.float32]:
    # Two types are compiled, no more: a writable array would be another one.
    kept_type: type[np.floating] = np.float32 if points.dtype == np.float32 else np.float64
    coordinates = np.ascontiguousarray(points, kept_type).view()
    coordinates.flags.writeable = False
    pixel = np.empty(len(points), np.int64)
    disparity = np.empty(len(points), np.float32)

    def project(chunk: int, chunks: int) -> bool:
        first, end = len(pixel) * chunk // chunks, len(pixel) * (chunk + 1) // chunks
        return _project(coordinates, projection, first, end, pixel, disparity)

    if not all(in_chunks(project, len(pixel) // _SMALLEST_CHUNK, None)):
        _refuse(points, int(np.flatnonzero(pixel == _NOT_FINITE)[0]))
    target = np.zeros((projection.height, projection.width), np.float32)
    _enter(pixel, disparity, overlap == "nearest", target.reshape(-1))
    return target


@cpu_kernel
def _project(
    points: NDArray[np.floating],
    projection: LidarProjection,
    first: int,
    end: int,
    pixel: NDArray[np.int64],
    disparity: NDArray[np.float32],
) -> bool:
    """Pixel (-1: none) and disparity of the points first .. end - 1; whether they are finite."""
    m = projection.matrix
    finite = True
    for i in range(first, end):
        x, y, z = np.float64(points[i, 0]), np.float64(points[i, 1]), np.float64(points[i, 2])
        u = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]
        v = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]
        w = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
        depth = m[3, 0] * x + m[3, 1] * y + m[3, 2] * z + m[3, 3]
        column, row = np.rint(u / w), np.rint(v / w)
        # Bounds are checked before the cast: a point close to the image plane can project beyond what an integer holds.
        seen = (x > MIN_RANGE_M) & (depth > 0) & (column >= 0) & (column < projection.width)
        seen &= (row >= 0) & (row < projection.height)
        pixel[i] = np.int64(row * projection.width + column) if seen else -1
        disparity[i] = np.float32(projection.camera_constant / depth)
        if not (np.isfinite(x) and np.isfinite(y) and np.isfinite(z)):
            finite = False
            pixel[i] = _NOT_FINITE
    return finite


@cpu_kernel
def _enter(
    pixel: NDArray[np.int64], disparity: NDArray[np.float32], nearest: bool, target: NDArray[np.float32]
) -> None:
    for i in range(len(pixel)):
        if pixel[i] >= 0 and (disparity[i] > target[pixel[i]] or not nearest):
            target[pixel[i]] = disparity[i]
