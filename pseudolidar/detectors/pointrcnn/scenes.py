"""PointRCNN's view of a frame: the points and objects of a scene, and training batches of scenes."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pseudolidar.detectors.detector import counted, epoch_order
from pseudolidar.detectors.pointrcnn.augmentation import ObjectDatabase, SceneAugmentation
from pseudolidar.files import FormatError, track
from pseudolidar.kitti import Calibration, ObjectDataset, read_points
from pseudolidar.training import WHOLE_BATCH, Batch, BatchShard

logger = logging.getLogger(__name__)

AREA_M = ((-40.0, 40.0), (-1.0, 3.0), (0.0, 70.4))
"""x, y, z in the rectified camera frame that the detector looks at (PointRCNN, section 4.1)."""

FAR_M = 40.0
"""Points beyond are few and all taken, as long as they fit (published code)."""

SIMILAR_CLASSES = {"Car": ("Van",), "Pedestrian": ("Person_sitting",)}
"""Classes whose objects are trained on as if they were of the class (published code)."""


def scene_points(
    points_velo: NDArray[np.float32],
    calibration: Calibration,
    image_size: tuple[int, int],
    max_depth: float | None = None,
) -> NDArray[np.float32]:
    """A cloud's points in `AREA_M` and the left image: float32 (M, 3), rectified camera frame, in the cloud's order.

    Args:
        points_velo: float32 (N, >= 3), velodyne frame; points that are not finite are dropped.
        image_size: (height, width), px.
        max_depth: m; points with x_velo from here on are dropped (near-only).
    """
    if max_depth is not None:
        points_velo = points_velo[points_velo[:, 0] < max_depth]
    # One affine map in float32, its entries computed in float64: a tenth of a millimetre at 100 m.
    transform = calibration.R0_rect @ calibration.Tr_velo_to_cam
    # Infinite coordinates become NaN.
    with np.errstate(invalid="ignore"):
        points = points_velo[:, :3] @ transform[:, :3].T.astype(np.float32) + transform[:, 3].astype(np.float32)
    keep = np.ones(len(points), dtype=bool)
    for axis, (low, high) in enumerate(AREA_M):
        # NaN fails both.
        keep &= (points[:, axis] >= low) & (points[:, axis] <= high)
    # Rows are taken by their numbers: several times faster than by a mask.
    points = points.take(np.flatnonzero(keep & (points[:, 2] > 0)), axis=0)
    P2 = calibration.P2.astype(np.float32)
    homogeneous = points @ P2[:, :3].T + P2[:, 3]
    u, v = homogeneous[:, 0] / homogeneous[:, 2], homogeneous[:, 1] / homogeneous[:, 2]
    height, width = image_size
    seen = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    return points.take(np.flatnonzero(seen), axis=0)


def sample_scene(points: NDArray[np.float32], count: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """`count` points (count, 3) of a scene (N >= 1, 3) in random order; far ones first, if there are too many.

    The order is random because neighbours are taken in it. Where there are too few points, some are repeated.
    """
    total = len(points)
    if total > count:
        far = np.flatnonzero(points[:, 2] >= FAR_M)
        near = np.flatnonzero(points[:, 2] < FAR_M)
        if len(far) >= count:
            index = generator.choice(total, count, replace=False)
        else:
            index = np.concatenate([far, generator.choice(near, count - len(far), replace=False)])
    else:
        index = np.concatenate([np.arange(total), generator.integers(0, total, count - total)])
    generator.shuffle(index)
    return points[index]


@dataclass(frozen=True)
class SceneBatch(Batch):
    """B training scenes.

    Attributes:
        points: float32 (B, N, 3), rectified camera frame.
        boxes: float32 (B, M, 7), their objects; rows of zeros fill up.
        seed: of the random numbers that the loss draws, one per scene.
    """

    points: Tensor
    boxes: Tensor
    seed: Sequence[int]


@dataclass(frozen=True, eq=False)
class _Scene:
    """A frame that can be trained on: its objects, boxes (M, 7), and all that its cloud's points need."""

    frame_id: str
    calibration: Calibration
    image_size: tuple[int, int]
    boxes: NDArray[np.float64]


class SceneSource:
    """Training scenes of one class and those like it (`SIMILAR_CLASSES`), each with the same number of `points`.

    Only clouds are read for a scene, everything else once for all. `folders` hold the clouds, ID.bin; a scene has some
    points in each. For the other arguments see `detectors.train_detector`.
    """

    def __init__(
        self,
        dataset: ObjectDataset,
        folders: Sequence[Path],
        class_name: str,
        points: int,
        augmentation: SceneAugmentation,
        max_depth: float | None,
        seed: int,
    ) -> None:
        self.folders = folders
        self.points = points
        self.augmentation = augmentation
        self.max_depth = max_depth
        self.seed = seed
        self.scenes: list[_Scene] = []
        # By folder: an object that is put into a scene looks as those in its cloud do.
        self.databases = [ObjectDatabase() for _ in folders]
        self._collect(dataset, class_name)
        if not self.scenes:
            place = f"{class_name} objects in {len(dataset)} frames"
            expected = "at least one with points in the detector's area"
            raise FormatError(dataset.root, place, "none to train on", expected)

    def mean_size_m(self) -> list[float]:
        """Mean height, width, length of the objects trained on."""
        sizes = np.concatenate([scene.boxes for scene in self.scenes])[:, 3:6]
        return [float(value) for value in sizes.mean(axis=0)]

    def points_of(self, scene: _Scene, folder: int) -> NDArray[np.float32]:
        """The points of a scene, all of them, from the folder of this number, see `scene_points`."""
        cloud = read_points(self.folders[folder] / f"{scene.frame_id}.bin")
        return scene_points(cloud, scene.calibration, scene.image_size, self.max_depth)

    def _collect(self, dataset: ObjectDataset, class_name: str) -> None:
        names = (class_name, *SIMILAR_CLASSES.get(class_name, ()))
        low, high = np.array(AREA_M).T
        left_out: Counter[str] = Counter()
        for frame in track(dataset, f"scenes ({class_name})", len(dataset)):
            labels = frame.objects()
            boxes = labels.box3d[np.isin(labels.class_name, names)]
            in_area = ((boxes[:, :3] >= low) & (boxes[:, :3] <= high)).all(axis=1)
            if self.max_depth is not None:
                in_area &= boxes[:, 2] <= self.max_depth
            boxes = boxes[in_area]
            if not len(boxes):
                left_out["without an object"] += 1
                continue
            scene = _Scene(frame.frame_id, frame.calibration, frame.image_size(), boxes)
            views = [self.points_of(scene, folder) for folder in range(len(self.folders))]
            if not all(map(len, views)):
                left_out["without a point"] += 1
                continue
            self.scenes.append(scene)
            for database, points in zip(self.databases, views, strict=True):
                database.add(points, boxes)
        reasons = counted("left out", left_out)
        objects = sum(len(scene.boxes) for scene in self.scenes)
        logger.info("%s: %d objects in %d of %d frames%s", class_name, objects, len(self.scenes), len(dataset), reasons)


@dataclass(frozen=True, eq=False)
class SceneBatches:
    """The batch of every step of a phase of training, which depends on the source's seed, phase and step alone."""

    source: SceneSource
    batch_size: int
    phase: int

    def __call__(self, step: int, shard: BatchShard = WHOLE_BATCH) -> SceneBatch:
        """The batch of a step, or a shard of it: every scene has random numbers of its own."""
        source = self.source
        frame_ids, points, boxes, seeds = [], [], [], []
        for place in shard.of(self.batch_size):
            epoch, turn = divmod(step * self.batch_size + place, len(source.scenes))
            scene = source.scenes[epoch_order(len(source.scenes), source.seed, 0, epoch)[turn]]
            generator = np.random.default_rng([source.seed, self.phase, step, place])
            # Of one folder nothing is drawn.
            folder = int(generator.integers(len(source.folders)))
            cloud, database = source.points_of(scene, folder), source.databases[folder]
            augmented = source.augmentation.apply(cloud, scene.boxes, database, generator)
            points.append(sample_scene(augmented[0], source.points, generator))
            boxes.append(torch.from_numpy(augmented[1].astype(np.float32)))
            frame_ids.append(scene.frame_id)
            seeds.append(int(generator.integers(2**31)))
        return SceneBatch(frame_ids, torch.from_numpy(np.stack(points)), pad_sequence(boxes, batch_first=True), seeds)
