"""The points in each 2D box of a frame, found by a numba kernel in one pass; the frustum's frame; sampling."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kernels import cpu_kernel, in_chunks
from pseudolidar.kitti import Calibration

MIN_DEPTH_M = 2.0
"""Points nearer than this (velodyne x) are left out, as in the published extraction."""

Row = tuple[float, float, float, float]
Rows = tuple[Row, Row, Row]

# Points that are worth a thread, and points that are projected before the boxes are asked: these stay in the cache.
_SMALLEST_CHUNK = 30_000
_BLOCK = 512


@dataclass(frozen=True, eq=False)
class ProjectedCloud:
    """Points, float32 (N, 4) x y z m (rectified camera frame) and intensity; pixels (N, 2) u, v, left image."""

    points: NDArray[np.float32]
    pixels: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: NDArray[np.bool_] | NDArray[np.integer]) -> "ProjectedCloud":
        return ProjectedCloud(self.points[index], self.pixels[index])

    def in_box(self, box2d: NDArray[np.float64]) -> NDArray[np.int64]:
        """Indices of the points whose projection lies in a box (4,) px; right and bottom border excluded."""
        left, top, right, bottom = box2d.astype(np.float32)
        u, v = self.pixels[:, 0], self.pixels[:, 1]
        return np.flatnonzero((u >= left) & (u < right) & (v >= top) & (v < bottom))


def extract_frusta(
    points_velo: NDArray[np.float32],
    calibration: Calibration,
    boxes2d: NDArray[np.float64],
    max_depth: float | None = None,
    threads: int | None = None,
) -> list[ProjectedCloud]:
    """For each of the `boxes2d` (K, 4) px a cloud of the points that project into it, in input order.

    Right and bottom borders are excluded. Points behind the camera, with x_velo up to 2 m, or from `max_depth` m on
    (near-only; None: no limit) are left out. Computed in float64 and rounded at the end, by at most `threads` threads
    (None: as many as PyTorch would take). The input points are float32 (N, 4), velodyne frame.
    """
    if not len(boxes2d):
        return []
    # Writable and read-only arrays are two types to numba, and a second type would be compiled a second time.
    points = np.ascontiguousarray(points_velo, np.float32).view()
    points.flags.writeable = False
    boxes = np.ascontiguousarray(boxes2d, np.float64)
    to_camera = calibration.R0_rect @ calibration.Tr_velo_to_cam
    to_rect = _rows(to_camera)
    to_image = _rows(calibration.P2 @ np.vstack([to_camera, [0, 0, 0, 1]]))
    deepest = np.inf if max_depth is None else max_depth
    # fmin and fmax pass over the NaN of a box that is none.
    reach = (*np.fmin.reduce(boxes[:, :2]).tolist(), *np.fmax.reduce(boxes[:, 2:]).tolist())

    def indices(chunk: int, chunks: int) -> list[NDArray[np.int64]]:
        first, end = len(points) * chunk // chunks, len(points) * (chunk + 1) // chunks
        # Room for every point in every box; the system gives memory to the pages that are written alone.
        index = np.empty((len(boxes), end - first), np.int64)
        count = np.zeros(len(boxes), np.int64)
        _find(points, to_rect, to_image, deepest, boxes, reach, first, end, index, count)
        return [row[:n] for row, n in zip(index, count, strict=True)]

    chunks = in_chunks(indices, len(points) // _SMALLEST_CHUNK, threads)
    clouds = []
    for parts in zip(*chunks, strict=True):
        index = np.concatenate(parts)
        cloud = ProjectedCloud(np.empty((len(index), 4), np.float32), np.empty((len(index), 2), np.float32))
        _take(points, to_rect, to_image, index, cloud.points, cloud.pixels)
        clouds.append(cloud)
    return clouds


def _rows(matrix: NDArray[np.float64]) -> Rows:
    # Numbers rather than an array: the compiler knows that what a loop writes changes none of them.
    x, y, z = (tuple(row) for row in matrix.tolist())
    return x, y, z


@cpu_kernel
def _mapped(row: Row, x: float, y: float, z: float) -> float:
    """A row of a matrix (3, 4) times the point (x, y, z, 1)."""
    return row[0] * x + row[1] * y + row[2] * z + row[3]


@cpu_kernel
def _find(
    points: NDArray[np.float32],
    to_rect: Rows,
    to_image: Rows,
    max_depth: float,
    boxes: NDArray[np.float64],
    reach: Row,
    first: int,
    end: int,
    index: NDArray[np.int64],
    count: NDArray[np.int64],
) -> None:
    """Write the indices of points first .. end - 1 in box k to `index[k]`, their number to `count[k]`."""
    x, y, z = np.empty(_BLOCK, np.float64), np.empty(_BLOCK, np.float64), np.empty(_BLOCK, np.float64)
    u, v = np.empty(_BLOCK, np.float64), np.empty(_BLOCK, np.float64)
    near_u, near_v, near = np.empty(_BLOCK, np.float64), np.empty(_BLOCK, np.float64), np.empty(_BLOCK, np.int64)
    left, top, right, bottom = reach
    for start in range(first, end, _BLOCK):
        size = min(_BLOCK, end - start)
        # A loop of its own: with the coordinates side by side the next one becomes vector code.
        for i in range(size):
            x[i], y[i], z[i] = points[start + i, 0], points[start + i, 1], points[start + i, 2]
        for i in range(size):
            w = _mapped(to_image[2], x[i], y[i], z[i])
            across, down = _mapped(to_image[0], x[i], y[i], z[i]) / w, _mapped(to_image[1], x[i], y[i], z[i]) / w
            seen = (x[i] > MIN_DEPTH_M) & (x[i] < max_depth) & (_mapped(to_rect[2], x[i], y[i], z[i]) > 0)
            # NaN lies in no box.
            u[i] = across if seen else np.nan
            v[i] = down
        # No branches, which a ragged mask would make a guess each time: what does not stay is written over.
        nears = np.int64(0)
        for i in range(size):
            near_u[nears], near_v[nears], near[nears] = u[i], v[i], start + i
            nears += np.int64((u[i] >= left) & (u[i] < right) & (v[i] >= top) & (v[i] < bottom))
        for k in range(len(boxes)):
            at = count[k]
            for i in range(nears):
                index[k, at] = near[i]
                beside = (near_u[i] >= boxes[k, 0]) & (near_u[i] < boxes[k, 2])
                at += np.int64(beside & (near_v[i] >= boxes[k, 1]) & (near_v[i] < boxes[k, 3]))
            count[k] = at


@cpu_kernel
def _take(
    points: NDArray[np.float32],
    to_rect: Rows,
    to_image: Rows,
    index: NDArray[np.int64],
    taken: NDArray[np.float32],
    pixels: NDArray[np.float32],
) -> None:
    for i in range(len(index)):
        point = points[index[i]]
        x, y, z = np.float64(point[0]), np.float64(point[1]), np.float64(point[2])
        taken[i, 0] = _mapped(to_rect[0], x, y, z)
        taken[i, 1] = _mapped(to_rect[1], x, y, z)
        taken[i, 2] = _mapped(to_rect[2], x, y, z)
        taken[i, 3] = point[3]
        w = _mapped(to_image[2], x, y, z)
        pixels[i, 0] = _mapped(to_image[0], x, y, z) / w
        pixels[i, 1] = _mapped(to_image[1], x, y, z) / w


def frustum_angle(box2d: NDArray[np.float64], calibration: Calibration) -> float:
    """Angle in rad from the z axis towards x of the box's centre ray, rectified camera frame.

    As published, the ray goes from the frame's origin to the box's centre at a depth of 20 m.
    """
    centre = np.array([[(box2d[0] + box2d[2]) / 2, (box2d[1] + box2d[3]) / 2]])
    x, _, z = calibration.image_to_rect(centre, np.array([20.0]))[0]
    return float(np.arctan2(x, z))


def to_frustum_frame(points: NDArray[np.float32], angle: float) -> NDArray[np.float32]:
    """Turn points (N, >= 3) of the rectified camera frame about y so that the frustum's centre ray becomes z.

    A heading ry becomes ry - angle. The inverse is the same function with -angle.
    """
    turned = points.copy()
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    turned[:, 0] = cos * points[:, 0] - sin * points[:, 2]
    turned[:, 2] = sin * points[:, 0] + cos * points[:, 2]
    return turned


def sample_indices(count: int, wanted: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """`wanted` of `count` indices: without repetition if there are enough, else each at least once."""
    if count >= wanted:
        return generator.choice(count, wanted, replace=False, shuffle=False).astype(np.int64)
    return np.concatenate([np.arange(count), generator.integers(0, count, wanted - count)])
