"""A tiny stereo data set: a textured wall with a textured, box-shaped car before it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pseudolidar.kitti import (
    CANONICAL_VELO_TO_CAM,
    Calibration,
    ObjectDataset,
    Objects,
    write_disparity,
    write_image,
    write_objects,
    write_points,
)

HEIGHT, WIDTH = 40, 72
FOCAL_PX, BASELINE_M = 60.0, 1.5
CALIBRATION = Calibration(
    np.array([[FOCAL_PX, 0, 36, 0], [0, FOCAL_PX, 20, 0], [0, 0, 1, 0]]),
    np.array([[FOCAL_PX, 0, 36, -FOCAL_PX * BASELINE_M], [0, FOCAL_PX, 20, 0], [0, 0, 1, 0]]),
    np.eye(3),
    CANONICAL_VELO_TO_CAM,
)
WALL_PX = 3
CAR_ROWS = slice(12, 32)


def layers(frame: int) -> tuple[int, slice]:
    """Disparity and columns, in the left image, of a frame's car."""
    return 6 + frame % 4, slice(24 + 2 * frame, 48 + 2 * frame)


def texture(random: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Noise with a grain of two pixels."""
    grain = random.integers(0, 256, ((height + 1) // 2, (width + 1) // 2, 3), dtype=np.uint8)
    return grain.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]


def seen_from_right(left: NDArray[np.uint8], disparity_px: float, rows: float = 0.0) -> NDArray[np.uint8]:
    """A wall: what is seen in the left image is so far to the left in the right one, and so many rows lower."""
    height, width, _ = left.shape
    shift = np.array([[1, 0, -disparity_px], [0, 1, rows]])
    return cv2.warpAffine(left, shift, (width, height), borderMode=cv2.BORDER_REFLECT).astype(np.uint8)


def render(frame: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    random = np.random.default_rng(frame)
    car_px, columns = layers(frame)
    wall = texture(random, HEIGHT, WIDTH + WALL_PX)
    paint = texture(random, 20, 24)
    left, right = wall[:, :WIDTH].copy(), wall[:, WALL_PX:].copy()
    left[CAR_ROWS, columns] = paint
    right[CAR_ROWS, columns.start - car_px : columns.stop - car_px] = paint
    disparity = np.full((HEIGHT, WIDTH), WALL_PX, np.float32)
    disparity[CAR_ROWS, columns] = car_px
    disparity[:2] = 0
    return left, right, disparity


def car_label(frame: int) -> Objects:
    car_px, columns = layers(frame)
    depth_m = FOCAL_PX * BASELINE_M / car_px
    x1, x2 = ((edge - 36) * depth_m / FOCAL_PX for edge in (columns.start - 0.5, columns.stop - 0.5))
    y1, y2 = ((edge - 20) * depth_m / FOCAL_PX for edge in (CAR_ROWS.start - 0.5, CAR_ROWS.stop - 0.5))
    # The face towards the camera lies 0.1 m inside the box, so that rounding decides nothing.
    box3d = [(x1 + x2) / 2, y2, depth_m + 0.9, y2 - y1, 2.0, x2 - x1, 0.0]
    box2d = [columns.start, CAR_ROWS.start, columns.stop - 1, CAR_ROWS.stop - 1]
    return Objects(
        np.array(["Car"]),
        np.zeros(1),
        np.zeros(1, np.int64),
        np.zeros(1),
        np.array([box2d], float),
        np.array([box3d]),
        None,
    )


def write_scene(root: Path, frames: int) -> ObjectDataset:
    folder = root / "training"
    for frame in range(frames):
        left, right, disparity = render(frame)
        name = f"{frame:06d}"
        for kind in ("calib", "image_2", "image_3", "label_2", "velodyne", "disparity"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        CALIBRATION.to_file(folder / "calib" / f"{name}.txt")
        write_image(folder / "image_2" / f"{name}.png", left)
        write_image(folder / "image_3" / f"{name}.png", right)
        write_disparity(folder / "disparity" / f"{name}.png", disparity)
        write_objects(folder / "label_2" / f"{name}.txt", car_label(frame))
        write_points(folder / "velodyne" / f"{name}.bin", np.array([[30.0, 0, 0, 1], [15.0, 0.2, 0.1, 1]], np.float32))
    (root / "ImageSets").mkdir()
    (root / "ImageSets" / "train.txt").write_text("".join(f"{frame:06d}\n" for frame in range(frames)))
    return ObjectDataset(root, "train")


@pytest.fixture
def scene(tmp_path: Path) -> ObjectDataset:
    """Four frames of 40 x 72 px: a wall at 3 px (30 m) and a car at 6 to 9 px (15 to 10 m); no truth in two rows."""
    return write_scene(tmp_path / "scene", 4)
