"""Small data sets in KITTI's layout whose objects are plain rectangles of their class's colour on a dull ground."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kitti import ObjectDataset, Objects, write_image, write_objects
from tests.detectors.street_of_boxes import make_calibration

WIDTH, HEIGHT = 160, 64
COLOURS = {"Car": (230, 30, 30), "Pedestrian": (30, 60, 230)}
SIZES = {"Car": (40, 26), "Pedestrian": (14, 30)}


def labels2d(names: list[str], box2d: NDArray[np.float64] | list[list[float]]) -> Objects:
    """Labels whose 3D box is some box."""
    count = len(names)
    box3d = np.tile([0.0, 1.65, 10, 1.5, 1.6, 3.9, 0], (count, 1))
    boxes = np.array(box2d, dtype=np.float64).reshape(-1, 4)
    zeros = np.zeros(count)
    return Objects(np.array(names, dtype=np.str_), zeros, zeros.astype(int), zeros, boxes, box3d)


def write_frame(root: Path, frame_id: str, labels: Objects, seed: int = 0, height: int = HEIGHT) -> None:
    """Write one frame, in which every label of a class with a colour is painted."""
    rng = np.random.default_rng([seed, int(frame_id)])
    image = rng.integers(90, 130, (height, WIDTH * height // HEIGHT, 3)).astype(np.uint8)
    for name, box in zip(labels.class_name, labels.box2d, strict=True):
        left, top, right, bottom = np.clip(np.rint(box), 0, None).astype(int)
        # A box goes from the centre of its first pixel to the centre of its last.
        image[top : bottom + 1, left : right + 1] = COLOURS.get(str(name), (120, 110, 100))
    make_calibration().to_file(root / "training" / "calib" / f"{frame_id}.txt")
    write_objects(root / "training" / "label_2" / f"{frame_id}.txt", labels)
    write_image(root / "training" / "image_2" / f"{frame_id}.png", image)


def write_painted(root: Path, frames: int, seed: int) -> ObjectDataset:
    """Write frames with a car and a pedestrian each; the last frame is empty."""
    for number in range(frames):
        rng = np.random.default_rng([seed, number])
        names, boxes = [], []
        for place, name in enumerate(rng.permutation(list(SIZES)) if number < frames - 1 else []):
            width, height = np.array(SIZES[str(name)]) * rng.uniform(0.85, 1.15, 2)
            left = place * WIDTH / 2 + rng.uniform(4, WIDTH / 2 - width - 4)
            top = rng.uniform(4, HEIGHT - height - 4)
            names.append(str(name))
            boxes.append(np.rint([left, top, left + width, top + height]).tolist())
        write_frame(root, f"{number:06d}", labels2d(names, boxes), seed)
    return ObjectDataset(root, None)
