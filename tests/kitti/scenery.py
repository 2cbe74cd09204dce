"""A small data set in the object layout, drawn from noise."""

from pathlib import Path

import numpy as np

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

WIDTH, HEIGHT = 60, 20
P2 = np.array([[50.0, 0, 30, 5], [0, 50, 10, 0.1], [0, 0, 1, 0]])
P3 = P2 - np.array([[0, 0, 0, 26.0], [0, 0, 0, 0], [0, 0, 0, 0]])


def write_dataset(root: Path, frames: int = 3) -> ObjectDataset:
    """Frames 000000, 000001, ... and the split `train`."""
    rng = np.random.default_rng(0)
    folder = root / "training"
    for i in range(frames):
        name = f"{i:06d}"
        Calibration(P2, P3, np.eye(3), CANONICAL_VELO_TO_CAM).to_file(folder / "calib" / f"{name}.txt")
        for camera in ("image_2", "image_3"):
            picture = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            write_image(folder / camera / f"{name}.png", picture)
        write_objects(folder / "label_2" / f"{name}.txt", Objects.empty())
        write_points(folder / "velodyne" / f"{name}.bin", rng.normal(size=(10 + i, 4)).astype(np.float32))
        write_disparity(folder / "disparity" / f"{name}.png", np.full((HEIGHT, WIDTH), i + 1.0))
    split = root / "ImageSets" / "train.txt"
    split.parent.mkdir(parents=True)
    split.write_text("".join(f"{i:06d}\n" for i in range(frames)))
    return ObjectDataset(root, "train")
