"""Settings and samples of a Frustum PointNet's training: frusta of a split, kept in memory, and batches of them."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudolidar.detectors.boxes2d import jitter_reach, jittered_box
from pseudolidar.detectors.detector import counted, epoch_order
from pseudolidar.detectors.frustum_pointnet.box_coder import ONE_HOT_CLASSES, SIZE_CLUSTERS
from pseudolidar.detectors.frustum_pointnet.frustums import (
    ProjectedCloud,
    extract_frusta,
    frustum_angle,
    sample_indices,
    to_frustum_frame,
)
from pseudolidar.detectors.frustum_pointnet.losses import FrustumTargets
from pseudolidar.detectors.frustum_pointnet.model import Version
from pseudolidar.files import track
from pseudolidar.kitti import Calibration, ObjectDataset, Objects, read_points
from pseudolidar.ops import points_in_box
from pseudolidar.training import WHOLE_BATCH, Batch, BatchShard, TrainingSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FrustumTraining(TrainingSettings):
    """Settings of the training of a Frustum PointNet; those of the network are explained at `FrustumPointNet`.

    Attributes:
        batch_size, points: frusta per step, and points per frustum.
        learning_rate: peak of the one-cycle schedule (Adam).
        mean_size: of the classes: `published` (KITTI's), or `training_set` (the means of the objects trained on).
        jitter: fraction of its width and height by which a 2D box is moved and resized (`jittered_box`).
        flip: mirror samples at random, half of them.
        depth_shift: standard deviation of a shift along the ray, a fraction of the object's distance.
        min_box_height_px, min_points: lower boxes and frusta with fewer points are left out, in detection too.
        add_box_score: in detection, add the logarithm of a 2D box's score to the object's (not in the published score),
            so that boxes that the 2D detector doubts do not rank high.
        max_occlusion, max_truncation: of the objects trained on, KITTI's level and fraction outside of the image.
    """

    steps: int
    version: Version
    batch_size: int
    learning_rate: float
    width: float
    density: float
    points: int
    object_points: int
    dropout: float
    centre_depth: bool
    mean_size: Literal["published", "training_set"]
    jitter: float
    flip: bool
    depth_shift: float
    min_box_height_px: float
    min_points: int
    add_box_score: bool
    max_occlusion: int
    max_truncation: float


@dataclass(frozen=True, eq=False)
class FrustumSample:
    """One labelled object and the points around it.

    Attributes:
        cloud, inside: N points that a jittered version of the 2D box can hold, and bool (N,), which lie in the 3D box.
        box2d, box3d: (4,) px; (7,) x y z h w l ry, rectified camera frame, y at the bottom face.
    """

    frame_id: str
    class_name: str
    calibration: Calibration
    cloud: ProjectedCloud
    inside: NDArray[np.bool_]
    box2d: NDArray[np.float64]
    box3d: NDArray[np.float64]


@dataclass(frozen=True)
class FrustumBatch(Batch, FrustumTargets):
    """B frusta with N points each, in the frustum's frame; see `FrustumPointNet.forward` and `FrustumTargets`."""

    points: Tensor
    one_hot: Tensor
    keys: Tensor


def collect_samples(
    settings: FrustumTraining,
    dataset: ObjectDataset,
    folders: Sequence[Path],
    class_names: Sequence[str],
    max_depth: float | None,
    seed: int,
) -> list[FrustumSample]:
    """All labelled objects of exactly these classes that can be trained on, as the clouds of each folder show them.

    The log counts the others by reason.
    The points of all jittered versions of a 2D box are kept, but at most four times `settings.points` of them, chosen
    at random, to bound the memory. `max_depth` m limits z of the object and x_velo of the points (near-only detectors).
    """
    samples: list[FrustumSample] = []
    left_out: Counter[str] = Counter()
    names = ", ".join(class_names)
    for number, frame in enumerate(track(dataset, f"frusta ({names})", len(dataset))):
        labels = frame.objects()
        labels = labels[np.isin(labels.class_name, class_names)]
        labels = labels[_selected(labels, settings, max_depth, left_out)]
        if not len(labels):
            continue
        calibration = frame.calibration
        reach = np.array([jitter_reach(box2d, settings.jitter) for box2d in labels.box2d])
        for folder in folders:
            generator = np.random.default_rng([seed, 0, number])
            clouds = extract_frusta(read_points(folder / f"{frame.frame_id}.bin"), calibration, reach, max_depth)
            for name, box2d, box3d, cloud in zip(labels.class_name, labels.box2d, labels.box3d, clouds, strict=True):
                if len(cloud) > 4 * settings.points:
                    cloud = cloud[sample_indices(len(cloud), 4 * settings.points, generator)]
                inside = points_in_box(cloud.points, box3d)
                if len(cloud.in_box(box2d)) < settings.min_points or not inside.any():
                    left_out[f"frusta under {settings.min_points} points, or none of the object's"] += 1
                    continue
                samples.append(FrustumSample(frame.frame_id, str(name), calibration, cloud, inside, box2d, box3d))
    logger.info("%s: %d frusta of %d frames%s", names, len(samples), len(dataset), counted("left out", left_out))
    return samples


def _selected(
    labels: Objects, settings: FrustumTraining, max_depth: float | None, left_out: Counter[str]
) -> NDArray[np.bool_]:
    """Which labels (N,) pass the settings' limits; the others are counted, each for the first reason."""
    selected = np.ones(len(labels), np.bool_)
    deepest = np.inf if max_depth is None else max_depth
    is_hidden = (labels.occlusion > settings.max_occlusion) | (labels.truncation > settings.max_truncation)
    for reason, applies in (
        (
            f"2D boxes under {settings.min_box_height_px:g} px",
            labels.box2d[:, 3] - labels.box2d[:, 1] < settings.min_box_height_px,
        ),
        ("occluded or truncated too much", is_hidden),
        (f"beyond {deepest:g} m", labels.box3d[:, 2] > deepest),
    ):
        left_out[reason] += int((selected & applies).sum())
        selected &= ~applies
    return selected


class FrustumBatches:
    """Batches of samples (at least one), the batch of a step depending on the seed and the step alone."""

    def __init__(self, samples: Sequence[FrustumSample], settings: FrustumTraining, seed: int) -> None:
        self.samples = samples
        self.settings = settings
        self.seed = seed

    def __call__(self, step: int, shard: BatchShard = WHOLE_BATCH) -> FrustumBatch:
        """The batch of a step, or a shard of it."""
        batch_size = self.settings.batch_size
        generator = np.random.default_rng([self.seed, 1, step])
        chosen = []
        for position in range(step * batch_size, (step + 1) * batch_size):
            epoch, place = divmod(position, len(self.samples))
            # Each epoch goes through all samples in its own order.
            chosen.append(self.samples[epoch_order(len(self.samples), self.seed, 2, epoch)[place]])
        # All are made for a shard of them too: they are in memory, and one generator runs through the batch.
        rows = [self._augmented(sample, generator) for sample in chosen]
        keys = generator.random((batch_size, self.settings.points), dtype=np.float32)
        wanted = shard.of(batch_size)
        own = slice(wanted.start, wanted.stop)
        chosen, rows, keys = chosen[own], rows[own], keys[own]
        points, inside, centre, size, heading = (np.stack(column) for column in zip(*rows, strict=True))
        return FrustumBatch(
            frame_ids=[sample.frame_id for sample in chosen],
            points=torch.from_numpy(points),
            one_hot=one_hot([sample.class_name for sample in chosen]),
            keys=torch.from_numpy(keys),
            inside=torch.from_numpy(inside),
            centre=torch.from_numpy(centre.astype(np.float32)),
            size=torch.from_numpy(size.astype(np.float32)),
            heading=torch.from_numpy(heading.astype(np.float32)),
            cluster=torch.tensor([SIZE_CLUSTERS.index(sample.class_name) for sample in chosen]),
        )

    def _augmented(
        self, sample: FrustumSample, generator: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Points (N, 4), inside (N,), centre (3,), size l w h (3,), heading () of one sample, augmented."""
        box2d = jittered_box(sample.box2d, generator, self.settings.jitter)
        index = sample.cloud.in_box(box2d)
        if len(index) < self.settings.min_points:
            box2d = sample.box2d
            index = sample.cloud.in_box(box2d)
        index = index[sample_indices(len(index), self.settings.points, generator)]
        angle = frustum_angle(box2d, sample.calibration)
        points = to_frustum_frame(sample.cloud.points[index], angle)

        x, bottom, z, height, width, length, ry = sample.box3d
        cos, sin = np.cos(angle), np.sin(angle)
        centre = np.array([cos * x - sin * z, bottom - height / 2, sin * x + cos * z])
        heading = ry - angle
        if self.settings.flip and generator.random() < 0.5:
            points[:, 0] *= -1
            centre[0] *= -1
            heading = np.pi - heading
        distance = np.hypot(centre[0], centre[2])
        # As published, at most a fifth of the distance.
        shift = distance * np.clip(generator.normal() * self.settings.depth_shift, -0.2, 0.2)
        points[:, 2] += np.float32(shift)
        centre[2] += shift
        return points, sample.inside[index], centre, np.array([length, width, height]), np.array(heading)


def one_hot(class_names: Sequence[str]) -> Tensor:
    """The one-hot vectors of N classes, float32 (N, 3)."""
    index = [ONE_HOT_CLASSES.index(name) for name in class_names]
    return torch.eye(len(ONE_HOT_CLASSES))[index]
