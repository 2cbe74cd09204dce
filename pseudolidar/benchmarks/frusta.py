"""Extraction of frusta against plain numpy: LiDAR sweeps of KITTI's density and dense clouds from disparity."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pseudolidar.benchmarks.cloud import HEIGHT, WIDTH, kitti_like_calibration, street_disparity
from pseudolidar.benchmarks.measure import benchmark_table, side_by_side
from pseudolidar.cloud import disparity_to_points
from pseudolidar.detectors.frustum_pointnet.frustums import MIN_DEPTH_M, ProjectedCloud, extract_frusta
from pseudolidar.kitti import Calibration
from pseudolidar.tables import Table, print_tables

OBJECTS_A_FRAME = 5
# KITTI's training frames have some 120,000 points: 64 rings, of which the image sees a sixth.
_RINGS, _POINTS_A_RING = 64, 1900


def main(objects: int = 1000, repetitions: int = 3) -> None:
    """Measure and print: `objects` in frames of five, all of them `repetitions` times."""
    print_tables(frusta_tables(objects, repetitions))


def frusta_tables(objects: int, repetitions: int) -> list[Table]:
    """The frusta of `objects` objects, from LiDAR sweeps and from dense clouds: the same points, bit for bit."""
    calibration = kitti_like_calibration()
    dense = disparity_to_points(street_disparity(), calibration, max_height=1.0)
    return [
        _table("LiDAR sweeps", lidar_sweep(), calibration, objects, repetitions),
        _table("clouds from disparity", dense, calibration, objects, repetitions),
    ]


def _table(name: str, points: NDArray[np.float32], calibration: Calibration, objects: int, repetitions: int) -> Table:
    rng = np.random.default_rng(0)
    frames = [boxes_of_objects(rng) for _ in range(-(-objects // OBJECTS_A_FRAME))]
    for boxes in frames:
        frame = extract_frusta(points, calibration, boxes)
        for cloud, box2d in zip(frame, boxes, strict=True):
            expected = numpy_frusta(points, calibration, box2d)
            if cloud.points.tobytes() + cloud.pixels.tobytes() != expected.points.tobytes() + expected.pixels.tobytes():
                raise AssertionError(f"box {box2d}: the two ways give other points")

    def each_object() -> None:
        for boxes in frames:
            for box2d in boxes:
                numpy_frusta(points, calibration, box2d)

    def each_frame() -> None:
        for boxes in frames:
            numpy_frusta_of_frame(points, calibration, boxes)

    def ours() -> None:
        for boxes in frames:
            extract_frusta(points, calibration, boxes)

    contenders = {
        "plain numpy, the cloud projected for each object": each_object,
        "plain numpy, the cloud projected once a frame": each_frame,
        "pseudolidar": ours,
    }
    size = f"{len(frames) * OBJECTS_A_FRAME} objects in {len(frames)} frames of {len(points)} points"
    rows = side_by_side(contenders, repetitions)
    return benchmark_table(f"Frusta from {name}", size, torch.get_num_threads(), rows)


def lidar_sweep() -> NDArray[np.float32]:
    """A sweep all around, as a LiDAR of KITTI's kind gives it: a road, and walls at 10 to 50 m; float32 (N, 4)."""
    rng = np.random.default_rng(0)
    azimuth, elevation = np.meshgrid(
        np.linspace(-np.pi, np.pi, _POINTS_A_RING, endpoint=False), np.radians(np.linspace(2, -24.8, _RINGS))
    )
    wall_m = (30 + 20 * np.sin(6 * azimuth)) / np.cos(elevation)
    with np.errstate(divide="ignore"):
        road_m = np.where(elevation < 0, -1.73 / np.sin(elevation), np.inf)
    distance = np.minimum(wall_m, road_m) + rng.normal(0, 0.02, azimuth.shape)
    level = distance * np.cos(elevation)
    points = [level * np.cos(azimuth), level * np.sin(azimuth), distance * np.sin(elevation), rng.random(azimuth.shape)]
    return np.stack(points, axis=-1).reshape(-1, 4).astype(np.float32)


def boxes_of_objects(rng: np.random.Generator) -> NDArray[np.float64]:
    """2D boxes (5, 4) px of the size of cars at 8 to 50 m."""
    depth_m = rng.uniform(8, 50, OBJECTS_A_FRAME)
    width, height = 721.5 * rng.uniform(1.6, 3.9, OBJECTS_A_FRAME) / depth_m, 721.5 * 1.5 / depth_m
    left = rng.uniform(0, WIDTH - width)
    bottom = np.minimum(172.9 + 721.5 * 1.65 / depth_m, HEIGHT - 1)
    return np.stack([left, bottom - height, left + width, bottom], axis=1)


def numpy_frusta(points: NDArray[np.float32], calibration: Calibration, box2d: NDArray[np.float64]) -> ProjectedCloud:
    """One object's points as they are commonly taken: the whole cloud projected, a mask, the masked points."""
    return numpy_frusta_of_frame(points, calibration, [box2d])[0]


def numpy_frusta_of_frame(
    points: NDArray[np.float32], calibration: Calibration, boxes: Sequence[NDArray[np.float64]] | NDArray[np.float64]
) -> list[ProjectedCloud]:
    """The same with one projection for all objects of a frame, as in Frustum PointNets' published preparation."""
    rectified = calibration.velodyne_to_rect(points)
    pixels, depth_m = calibration.rect_to_image(rectified)
    ahead = (points[:, 0] > MIN_DEPTH_M) & (depth_m > 0)
    clouds = []
    for left, top, right, bottom in boxes:
        mask = (pixels[:, 0] >= left) & (pixels[:, 0] < right) & (pixels[:, 1] >= top) & (pixels[:, 1] < bottom) & ahead
        taken = np.concatenate([rectified[mask].astype(np.float32), points[mask, 3:]], axis=1)
        clouds.append(ProjectedCloud(taken, pixels[mask].astype(np.float32)))
    return clouds
