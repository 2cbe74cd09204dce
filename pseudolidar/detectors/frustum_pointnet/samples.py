"""Training samples: frusta of a split, kept in memory, and the batches drawn from them."""

import functools
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudolidar.detectors.boxes2d import jitter_reach, jittered_box
from pseudolidar.detectors.frustum_pointnet.coding import ONE_HOT_CLASSES, SIZE_CLUSTERS
from pseudolidar.detectors.frustum_pointnet.extraction import ProjectedCloud, extract_frusta
from pseudolidar.detectors.frustum_pointnet.frustums import frustum_angle, sample_indices, to_frustum_frame
from pseudolidar.detectors.frustum_pointnet.losses import FrustumTargets
from pseudolidar.kitti import Calibration, ObjectDataset, Objects, read_points
from pseudolidar.ops import points_in_box
from pseudolidar.training import WHOLE_BATCH, BatchShard, track_once

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class FrustumSample:
    """One labelled object and the points around it.

    Attributes:
        frame_id: where it comes from.
        class_name: of the object.
        calibration: the frame's.
        cloud: points that a jittered version of the 2D box can hold.
        inside: (N,) bool, points inside the 3D box.
        box2d: (4,) px.
        box3d: (7,) x y z h w l ry, rectified camera frame, y at the bottom face.
    """

    frame_id: str
    class_name: str
    calibration: Calibration
    cloud: ProjectedCloud
    inside: NDArray[np.bool_]
    box2d: NDArray[np.float64]
    box3d: NDArray[np.float64]


@dataclass(frozen=True)
class FrustumBatch:
    """B frusta with N points each, in the frustum's frame; see `FrustumPointNet.forward` and `FrustumTargets`."""

    frame_ids: Sequence[str]
    points: Tensor
    one_hot: Tensor
    keys: Tensor
    inside: Tensor
    centre: Tensor
    size: Tensor
    heading: Tensor
    cluster: Tensor

    @property
    def targets(self) -> FrustumTargets:
        """The truth that the loss compares with."""
        return FrustumTargets(self.inside, self.centre, self.size, self.heading, self.cluster)


@dataclass(frozen=True)
class Selection:
    """Which labelled objects are trained on.

    Attributes:
        min_box_height_px: 2D boxes lower than this are left out (25 published, for images of 375 rows).
        min_points: the fewest points in the frustum, one of which must lie inside the 3D box.
        max_occlusion: KITTI's occlusion level.
        max_truncation: share outside of the image.
        max_depth: m, z of the object and x_velo of the points (near-only detectors); None for all.
    """

    min_box_height_px: float = 25.0
    min_points: int = 5
    max_occlusion: int = 2
    max_truncation: float = 0.5
    max_depth: float | None = None


def collect_samples(
    dataset: ObjectDataset,
    clouds_dir: str | Path,
    class_names: Sequence[str],
    selection: Selection,
    jitter: float,
    max_stored_points: int,
    seed: int,
) -> list[FrustumSample]:
    """All labelled objects of some classes that can be trained on; how many were left out, and why, goes to the log.

    Args:
        dataset: frames with labels and calibration.
        clouds_dir: ID.bin of every frame, velodyne frame.
        class_names: exactly these classes; Van is no Car.
        selection: which objects.
        jitter: share by which 2D boxes will be jittered; the points of all jittered boxes are kept.
        max_stored_points: the most points kept of a frustum, chosen at random, to bound the memory.
        seed: of that choice.

    Raises:
        FormatError: a cloud, label or calibration file is missing or broken.
    """
    samples: list[FrustumSample] = []
    left_out: Counter[str] = Counter()
    names = ", ".join(class_names)
    for number, frame in enumerate(track_once(dataset, f"frusta ({names})", len(dataset))):
        labels = frame.objects()
        labels = labels[np.isin(labels.class_name, class_names)]
        labels = labels[_selected(labels, selection, left_out)]
        if not len(labels):
            continue
        calibration = frame.calibration
        points_velo = read_points(Path(clouds_dir) / f"{frame.frame_id}.bin")
        reach = np.array([jitter_reach(box2d, jitter) for box2d in labels.box2d])
        clouds = extract_frusta(points_velo, calibration, reach, selection.max_depth)
        generator = np.random.default_rng([seed, 0, number])
        for name, box2d, box3d, cloud in zip(labels.class_name, labels.box2d, labels.box3d, clouds, strict=True):
            if len(cloud) > max_stored_points:
                cloud = cloud[sample_indices(len(cloud), max_stored_points, generator)]
            inside = points_in_box(cloud.points, box3d)
            if len(cloud.in_box(box2d)) < selection.min_points or not inside.any():
                left_out[f"frusta under {selection.min_points} points, or none of the object's"] += 1
                continue
            samples.append(FrustumSample(frame.frame_id, str(name), calibration, cloud, inside, box2d, box3d))
    reasons = "".join(f"; left out {count}: {reason}" for reason, count in sorted(left_out.items()))
    logger.info("%s: %d frusta of %d frames%s", names, len(samples), len(dataset), reasons)
    return samples


def _selected(labels: Objects, selection: Selection, left_out: Counter[str]) -> NDArray[np.bool_]:
    """Which labels (N,) are trained on as far as the labels tell; the others are counted, each for the first reason."""
    selected = np.ones(len(labels), np.bool_)
    deepest = np.inf if selection.max_depth is None else selection.max_depth
    for reason, applies in (
        (
            f"2D boxes under {selection.min_box_height_px:g} px",
            labels.box2d[:, 3] - labels.box2d[:, 1] < selection.min_box_height_px,
        ),
        (
            "occluded or truncated too much",
            (labels.occlusion > selection.max_occlusion) | (labels.truncation > selection.max_truncation),
        ),
        (f"beyond {deepest:g} m", labels.box3d[:, 2] > deepest),
    ):
        if (selected & applies).any():
            left_out[reason] += int((selected & applies).sum())
        selected &= ~applies
    return selected


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training samples.

    Attributes:
        jitter: share by which 2D boxes are moved and resized (`jittered_box`); 0.1 published.
        flip: mirror every second sample, left for right.
        depth_shift: standard deviation of a shift along the ray, as a share of the object's distance; 0.05 published.
    """

    jitter: float = 0.1
    flip: bool = True
    depth_shift: float = 0.05


class BatchSource:
    """Batches drawn from samples, the batch of a step depending on the seed and the step alone.

    Args:
        samples: not empty.
        batch_size: frusta a batch.
        points: points a frustum.
        augmentation: what is changed at random.
        min_points: a jittered box with fewer points is taken unjittered.
        seed: of order, augmentation and point sampling.
    """

    def __init__(
        self,
        samples: Sequence[FrustumSample],
        batch_size: int,
        points: int,
        augmentation: Augmentation,
        min_points: int,
        seed: int,
    ) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.points = points
        self.augmentation = augmentation
        self.min_points = min_points
        self.seed = seed
        # Each epoch goes through all samples in its own order.
        self._order = functools.lru_cache(maxsize=4)(self._order_of_epoch)

    def batch_at(self, step: int, shard: BatchShard = WHOLE_BATCH) -> FrustumBatch:
        """The batch of a step, or a shard of it."""
        generator = np.random.default_rng([self.seed, 1, step])
        first = step * self.batch_size
        chosen = []
        for position in range(first, first + self.batch_size):
            epoch, place = divmod(position, len(self.samples))
            chosen.append(self.samples[self._order(epoch)[place]])
        # All are made for a shard of them too: they are in memory, and one generator runs through the batch.
        rows = [self._augmented(sample, generator) for sample in chosen]
        keys = generator.random((self.batch_size, self.points), dtype=np.float32)
        wanted = shard.of(self.batch_size)
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

    def _order_of_epoch(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, 2, epoch]).permutation(len(self.samples))

    def _augmented(
        self, sample: FrustumSample, generator: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Points (N, 4), inside (N,), centre (3,), size l w h (3,), heading () of one sample, augmented."""
        box2d = jittered_box(sample.box2d, generator, self.augmentation.jitter)
        index = sample.cloud.in_box(box2d)
        if len(index) < self.min_points:
            box2d = sample.box2d
            index = sample.cloud.in_box(box2d)
        index = index[sample_indices(len(index), self.points, generator)]
        angle = frustum_angle(box2d, sample.calibration)
        points = to_frustum_frame(sample.cloud.points[index], angle)

        x, bottom, z, height, width, length, ry = sample.box3d
        cos, sin = np.cos(angle), np.sin(angle)
        centre = np.array([cos * x - sin * z, bottom - height / 2, sin * x + cos * z])
        heading = ry - angle
        if self.augmentation.flip and generator.random() < 0.5:
            points[:, 0] *= -1
            centre[0] *= -1
            heading = np.pi - heading
        distance = np.hypot(centre[0], centre[2])
        # As published, at most a fifth of the distance.
        shift = distance * np.clip(generator.normal() * self.augmentation.depth_shift, -0.2, 0.2)
        points[:, 2] += np.float32(shift)
        centre[2] += shift
        return points, sample.inside[index], centre, np.array([length, width, height]), np.array(heading)


def one_hot(class_names: Sequence[str]) -> Tensor:
    """The one-hot vectors of N classes, float32 (N, 3)."""
    index = [ONE_HOT_CLASSES.index(name) for name in class_names]
    return torch.eye(len(ONE_HOT_CLASSES))[index]
