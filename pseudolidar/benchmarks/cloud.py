"""Point clouds against plain vectorised numpy, and against the time that the bytes alone take."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from pseudolidar.benchmarks.measure import benchmark_table, side_by_side
from pseudolidar.cloud import LIDAR_GRID, disparity_to_points, sparsify_points
from pseudolidar.kernels import in_chunks
from pseudolidar.kitti import CANONICAL_VELO_TO_CAM, Calibration
from pseudolidar.stereo import lidar_disparity
from pseudolidar.tables import Table, print_tables

HEIGHT, WIDTH = 375, 1242
SIZE = f"{HEIGHT} x {WIDTH} px"
MAX_HEIGHT_M = 1.0
_REPETITIONS = 60


def main() -> None:
    """Measure making and thinning clouds on this machine and print the tables."""
    print_tables(cloud_tables(_REPETITIONS))


def cloud_tables(repetitions: int) -> list[Table]:
    """Dense and sparse clouds, sparsification alone, LiDAR to disparity: each beside numpy; all pixels are valid."""
    calibration, disparity = kitti_like_calibration(), street_disparity()
    threads = torch.get_num_threads()
    dense = numpy_dense(disparity, calibration)
    sparse = dense[numpy_last_of_each_cell(dense)]
    ours = disparity_to_points(disparity, calibration, MAX_HEIGHT_M)
    if len(ours) != len(dense) or not np.allclose(ours, dense, rtol=0, atol=1e-4):
        raise AssertionError("the two clouds differ by more than 1e-4 m")
    tensor = torch.from_numpy(disparity)
    limit = "bytes copied: as many bytes read and written as the contenders must, by all threads"

    def table(
        title: str, bytes_moved: int, contenders: dict[str, Callable[[], object]], notes: tuple[str, ...] = ()
    ) -> Table:
        copied = partial(_copy, *_buffers(bytes_moved), threads)
        rows = side_by_side({**contenders, "bytes copied (the limit)": copied}, repetitions)
        return benchmark_table(title, SIZE, threads, rows, (*notes, f"{limit}: {bytes_moved / 1e6:.2f} MB"))

    tables = [
        table(
            f"Dense cloud, winsorized, {len(dense)} points",
            disparity.nbytes + dense.nbytes,
            {
                "plain numpy": lambda: numpy_dense(disparity, calibration),
                "pseudolidar, array": lambda: disparity_to_points(disparity, calibration, MAX_HEIGHT_M),
                "pseudolidar, tensor": lambda: disparity_to_points(tensor, calibration, MAX_HEIGHT_M),
            },
        ),
        table(
            f"Dense cloud, no limit, {disparity.size} points",
            disparity.nbytes + 16 * disparity.size,
            {
                "plain numpy": lambda: numpy_dense(disparity, calibration, np.inf),
                "pseudolidar": lambda: disparity_to_points(disparity, calibration, max_height=None),
            },
        ),
        table(
            f"Sparse cloud in one go, {len(sparse)} points",
            disparity.nbytes + sparse.nbytes,
            {
                "plain numpy": lambda: _numpy_sparse(disparity, calibration),
                "pseudolidar": lambda: disparity_to_points(disparity, calibration, MAX_HEIGHT_M, grid=LIDAR_GRID),
            },
        ),
        table(
            f"Sparsification alone, {len(dense)} -> {len(sparse)} points",
            dense.nbytes + sparse.nbytes,
            {
                "plain numpy": lambda: dense[numpy_last_of_each_cell(dense)],
                "pseudolidar": lambda: sparsify_points(ours),
            },
        ),
    ]
    sweep = disparity_to_points(disparity, calibration, max_height=None)[::4]
    tables.append(
        table(
            f"LiDAR to disparity, {len(sweep)} points",
            sweep.nbytes + disparity.nbytes,
            {
                "plain numpy": lambda: numpy_lidar_disparity(sweep, calibration),
                "pseudolidar": lambda: lidar_disparity(sweep, calibration, (HEIGHT, WIDTH)),
            },
        )
    )
    return tables


def kitti_like_calibration() -> Calibration:
    """The dimensions of KITTI's cameras, with canonical axes."""
    P2 = np.array([[721.5, 0, 609.6, 44.9], [0, 721.5, 172.9, 0.2], [0, 0, 1, 0.003]])
    P3 = P2.copy()
    P3[0, 3] -= 721.5 * 0.5327
    return Calibration(P2, P3, np.eye(3), CANONICAL_VELO_TO_CAM)


def street_disparity() -> NDArray[np.float32]:
    """A road under walls that wave from 10 m to 50 m, with noise of a pixel's hundredth; every pixel is valid."""
    rng = np.random.default_rng(0)
    calibration = kitti_like_calibration()
    v, u = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    road_m = calibration.focal_px * 1.65 / np.maximum(v - 172.9, 1e-6)
    wall_m = 30 + 20 * np.sin(u / 60)
    disparity = calibration.camera_constant_px_m / np.minimum(road_m, wall_m)
    return np.asarray(disparity + rng.uniform(0, 0.01, disparity.shape), np.float32)


def numpy_dense(
    disparity: NDArray[np.float32], calibration: Calibration, max_height: float = MAX_HEIGHT_M
) -> NDArray[np.float32]:
    """The steps as they are commonly written: a list of pixels, matrices on all of them, masks."""
    height, width = disparity.shape
    mask = (disparity > 0) & np.isfinite(disparity)
    depth = calibration.camera_constant_px_m / np.where(mask, disparity, 1).astype(np.float64)
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    valid = mask.ravel()
    pixels = np.stack([u.ravel()[valid], v.ravel()[valid]], axis=1)
    rectified = calibration.image_to_rect(pixels, depth.ravel()[valid])
    cloud = calibration.rect_to_velodyne(rectified)
    cloud = cloud[(cloud[:, 0] >= 0) & (cloud[:, 2] < max_height)]
    return np.concatenate([cloud, np.ones((len(cloud), 1))], axis=1).astype(np.float32)


def numpy_last_of_each_cell(points: NDArray[np.float32]) -> NDArray[np.int64]:
    """Indices, increasing, of the points that are the last of their cell in `LIDAR_GRID`, by inverse sines."""
    low, high = np.array([LIDAR_GRID.x_m, LIDAR_GRID.y_m, LIDAR_GRID.z_m]).T
    inside = np.flatnonzero(((points[:, :3] >= low) & (points[:, :3] < high)).all(axis=1))
    x, y, z = points[inside, :3].astype(np.float64).T
    across = np.hypot(x, y)
    elevation = np.degrees(np.arcsin(z / np.sqrt(across**2 + z**2)))
    azimuth = np.degrees(np.arcsin(y / across))
    row = np.floor((LIDAR_GRID.top_deg - elevation) / LIDAR_GRID.row_deg).clip(0, LIDAR_GRID.rows - 1)
    column = np.floor((LIDAR_GRID.left_deg - azimuth) / LIDAR_GRID.column_deg).clip(0, LIDAR_GRID.columns - 1)
    last = np.full((LIDAR_GRID.rows, LIDAR_GRID.columns), -1)
    last[row.astype(np.int64), column.astype(np.int64)] = inside
    return np.sort(last[last >= 0])


def _numpy_sparse(disparity: NDArray[np.float32], calibration: Calibration) -> NDArray[np.float32]:
    points = numpy_dense(disparity, calibration)
    return points[numpy_last_of_each_cell(points)]


def numpy_lidar_disparity(points: NDArray[np.float32], calibration: Calibration) -> NDArray[np.float32]:
    """Sparse disparity of a sweep, the nearest point of a pixel wins."""
    ahead = calibration.velodyne_to_rect(points[points[:, 0] > 2.0])
    pixels, depth_m = calibration.rect_to_image(ahead)
    u, v = np.rint(pixels).astype(np.int64).T
    inside = (u >= 0) & (u < WIDTH) & (v >= 0) & (v < HEIGHT)
    disparity = np.zeros((HEIGHT, WIDTH), np.float32)
    np.maximum.at(disparity, (v[inside], u[inside]), (calibration.camera_constant_px_m / depth_m[inside]).astype("f4"))
    return disparity


def _buffers(bytes_moved: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return np.ones(bytes_moved // 2, np.uint8), np.zeros(bytes_moved // 2, np.uint8)


def _copy(source: NDArray[np.uint8], target: NDArray[np.uint8], threads: int) -> None:
    def part(chunk: int, chunks: int) -> None:
        first, end = len(source) * chunk // chunks, len(source) * (chunk + 1) // chunks
        np.copyto(target[first:end], source[first:end])

    in_chunks(part, threads, threads)
