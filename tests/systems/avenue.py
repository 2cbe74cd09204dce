"""A street of cars that drive ahead, with exact disparity, and a small car detector that is a program of its own."""

from pathlib import Path

import numpy as np
import pytest

from pseudolidar.case_study.clouds import FolderData, FolderTask
from pseudolidar.kitti import ObjectDataset, write_disparity, write_image, write_objects
from pseudolidar.systems import ArtifactStore, RunResult, Stage, System, make_stages
from tests.detectors.street_of_boxes import CAMERA_HEIGHT_M, HEIGHT, WIDTH, depth_of_boxes, labels_of, make_calibration

DETECTOR = '''
"""Trains and tests a detector of cars that drive ahead: clusters of points, and the mean size of the labels."""

import json
import sys
from pathlib import Path

import numpy as np

step, data, split, clouds, model, output, class_name = sys.argv[1:8]
ids = Path(split).read_text().split()
print(step, "on", len(ids), "frames", flush=True)
if step == "train":
    lines = [line.split() for one in ids for line in (Path(data) / "training/label_2" / f"{one}.txt").open()]
    sizes = [[float(word) for word in line[8:11]] for line in lines if line[0] == class_name]
    (Path(output) / "model.json").write_text(json.dumps({"size": np.mean(sizes, axis=0).tolist(), "seed": sys.argv[8]}))
    sys.exit()
h, w, l = json.loads((Path(model) / "model.json").read_text())["size"]
for one in ids:
    rows = {}
    for line in (Path(data) / "training/calib" / f"{one}.txt").open():
        name, *numbers = line.replace(":", " ").split() or [""]
        rows[name] = np.array(numbers, float)
    P2, shift = rows["P2"].reshape(3, 4), rows["Tr_velo_to_cam"].reshape(3, 4)[:, 3]
    points = np.fromfile(Path(clouds) / f"{one}.bin", np.float32).reshape(-1, 4)
    x, y, z = -points[:, 1] + shift[0], -points[:, 2] + shift[1], points[:, 0] + shift[2]
    high = (y < 1.2) & (y > 0.2) & (z < 40)
    x, z = x[high], z[high]
    found = []
    while len(x) >= 10:
        near = z.argmin()
        mine = (np.abs(x - x[near]) < 2.0) & (z < z[near] + 5.0)
        if mine.sum() >= 10:
            face = np.quantile(z[mine], 0.05)
            left, right = np.quantile(x[mine & (z < face + 0.5)], [0.02, 0.98])
            centre = np.array([(left + right) / 2, 1.65, face + l / 2])
            signs = [(i, j, k) for i in (-0.5, 0.5) for j in (-1, 0) for k in (-0.5, 0.5)]
            corners = centre + np.array(signs) * [w, h, l]
            u, v, depth = P2[:, :3] @ corners.T + P2[:, 3:]
            box = [(u / depth).min(), (v / depth).min(), (u / depth).max(), (v / depth).max()]
            numbers = [-1.57, *box, h, w, l, *centre, -1.5708, mine.sum() / 100]
            found.append(f"{class_name} -1 -1 " + " ".join(f"{number:.4f}" for number in numbers) + "\\n")
        x, z = x[~mine], z[~mine]
    (Path(output) / f"{one}.txt").write_text("".join(found))
'''


def write_avenue(root: Path, train: int = 3, val: int = 4) -> ObjectDataset:
    """Write frames with up to three cars each, exact disparity among them; return those of the validation split."""
    calibration = make_calibration()
    ids = [f"{number:06d}" for number in range(train + val)]
    for number, frame_id in enumerate(ids):
        rng = np.random.default_rng(number)
        size = (1.526, 1.629, 3.883)
        lanes = (-4.5, 0.0, 4.5)
        boxes = np.array([[x, CAMERA_HEIGHT_M, rng.uniform(9, 18), *size, -np.pi / 2] for x in lanes])
        depth, _ = depth_of_boxes(calibration, boxes)
        training = root / "training"
        calibration.to_file(training / "calib" / f"{frame_id}.txt")
        write_objects(training / "label_2" / f"{frame_id}.txt", labels_of(boxes, "Car", calibration))
        write_image(training / "image_2" / f"{frame_id}.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        disparity = (calibration.camera_constant_px_m / depth).astype(np.float32)
        write_disparity(training / "disparity" / f"{frame_id}.png", disparity)
    (root / "ImageSets").mkdir()
    for split, names in (("train", ids[:train]), ("val", ids[train:])):
        (root / "ImageSets" / f"{split}.txt").write_text("\n".join(names) + "\n")
    return ObjectDataset(root, "val")


def write_maps(data: ObjectDataset, folder: Path, factor: float = 1.0, suffix: str = ".npy") -> Path:
    """The exact maps of all frames of a data set, times a factor."""
    for frame in ObjectDataset(data.root):
        write_disparity(folder / f"{frame.frame_id}{suffix}", frame.disparity() * np.float32(factor))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ObjectDataset:
    """Three frames for training, four for validation, these as the data set."""
    return write_avenue(tmp_path_factory.mktemp("avenue"))


def data_stage(data: ObjectDataset) -> Stage:
    return Stage("data", FolderTask(FolderData(data.root)))


def make(store: ArtifactStore, made: System, seed: int = 0) -> RunResult:
    return make_stages(store, list(made.stages(seed).values()))


def names(outcome: RunResult) -> list[str]:
    return [stage.name for stage in outcome.made]


def failure(outcome: RunResult) -> str:
    """The one message that there is."""
    (failed,) = outcome.failed
    return failed.message
