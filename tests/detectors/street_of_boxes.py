"""Small data sets in KITTI's layout whose objects are plain boxes on a plain road, with exact clouds."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pseudolidar.cloud import disparity_to_points
from pseudolidar.kitti import (
    CANONICAL_VELO_TO_CAM,
    Calibration,
    ObjectDataset,
    Objects,
    box3d_corners,
    write_image,
    write_objects,
    write_points,
)

WIDTH, HEIGHT = 416, 128
CAMERA_HEIGHT_M = 1.65
SIZES = {"Car": (1.526, 1.629, 3.883), "Pedestrian": (1.763, 0.661, 0.844)}  # h w l


def make_calibration() -> Calibration:
    scale = WIDTH / 1242
    P2 = np.array([[721.5 * scale, 0, WIDTH / 2, 44.9 * scale], [0, 721.5 * scale, 58, 0.2 * scale], [0, 0, 1, 0]])
    P3 = P2.copy()
    P3[0, 3] -= 0.54 * P2[0, 0]
    Tr_velo_to_cam = CANONICAL_VELO_TO_CAM.copy()
    Tr_velo_to_cam[:, 3] = [0.0, -0.08, -0.27]
    return Calibration(P2, P3, np.eye(3), Tr_velo_to_cam)


def depth_of_boxes(
    calibration: Calibration, boxes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Cast a ray a pixel: depth (H, W) m, inf for sky, and which box it hit (H, W), -1 for none."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float64)
    origin = calibration.image_to_rect(pixels[:1], np.zeros(1))[0]
    rays = calibration.image_to_rect(pixels, np.ones(len(pixels))) - origin
    with np.errstate(divide="ignore"):
        road = (CAMERA_HEIGHT_M - origin[1]) / rays[:, 1]
    depth = np.where(road > 0, road, np.inf)
    hit = np.full(len(pixels), -1)
    for i, (x, y, z, h, w, length, ry) in enumerate(boxes):
        cos, sin = np.cos(ry), np.sin(ry)
        turn = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
        start, along = turn @ (origin - [x, y - h / 2, z]), rays @ turn.T
        with np.errstate(divide="ignore"):
            one, other = (-np.array([length, h, w]) / 2 - start) / along, (np.array([length, h, w]) / 2 - start) / along
        near, far = np.minimum(one, other).max(axis=1), np.maximum(one, other).min(axis=1)
        closer = (near < far) & (near > 0) & (near < depth)
        depth[closer], hit[closer] = near[closer], i
    return depth.reshape(HEIGHT, WIDTH), hit.reshape(HEIGHT, WIDTH)


def write_street(root: Path, frames: int, seed: int, class_name: str = "Car", objects: int = 3) -> ObjectDataset:
    """Write `frames` frames with up to `objects` boxes each, clouds in `root`/clouds, split "train"."""
    calibration = make_calibration()
    ids = [f"{i:06d}" for i in range(frames)]
    for number, frame_id in enumerate(ids):
        rng = np.random.default_rng([seed, number])
        boxes = []
        for lane in rng.permutation(np.linspace(-7, 7, 5))[:objects]:
            size = np.array(SIZES[class_name]) * rng.uniform(0.9, 1.1, 3)
            z = rng.uniform(8, 28)
            boxes.append([lane * (0.5 + z / 40), CAMERA_HEIGHT_M, z, *size, rng.uniform(-np.pi, np.pi)])
        box3d = np.array(boxes)
        # What the rays meet lies a little inside the label, as the surface of a real object does.
        depth, hit = depth_of_boxes(calibration, box3d * [1, 1, 1, 0.97, 0.97, 0.97, 1])
        visible = [i for i in range(len(box3d)) if (hit == i).sum() >= 30]
        labels = labels_of(box3d[visible], class_name, calibration)
        training = root / "training"
        calibration.to_file(training / "calib" / f"{frame_id}.txt")
        write_objects(training / "label_2" / f"{frame_id}.txt", labels)
        write_image(training / "image_2" / f"{frame_id}.png", np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8))
        disparity = (calibration.camera_constant_px_m / depth).astype(np.float32)
        write_points(root / "clouds" / f"{frame_id}.bin", disparity_to_points(disparity, calibration))
    split = root / "ImageSets" / "train.txt"
    split.parent.mkdir(exist_ok=True)
    split.write_text("\n".join(ids) + "\n")
    return ObjectDataset(root, "train")


def labels_of(box3d: NDArray[np.float64], class_name: str, calibration: Calibration) -> Objects:
    count = len(box3d)
    box2d = np.zeros((count, 4))
    for i, corners in enumerate(box3d_corners(box3d)):
        pixels, _ = calibration.rect_to_image(corners)
        box2d[i] = [*pixels.min(axis=0), *pixels.max(axis=0)]
    box2d = np.clip(box2d, 0, [WIDTH - 1, HEIGHT - 1, WIDTH - 1, HEIGHT - 1])
    alpha = box3d[:, 6] - np.arctan2(box3d[:, 0], box3d[:, 2])
    return Objects(np.full(count, class_name), np.zeros(count), np.zeros(count, dtype=int), alpha, box2d, box3d)
