"""Augmentation of scenes: ground-truth sampling (objects of other scenes put in), rotation, scaling, mirroring."""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from pseudolidar.ops import bev_iou, points_in_boxes

_MIN_POINTS = 5
_MAX_STORED_POINTS = 2048
# Points of the scene this close to an object that is put in go.
_CLEARED_MARGIN_M = 0.2


@dataclass
class ObjectDatabase:
    """The ground-truth database: boxes (7,) and points (N, 3) of all training objects, rectified camera frame."""

    boxes: list[NDArray[np.float64]] = field(default_factory=list)
    points: list[NDArray[np.float32]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.boxes)

    def add(self, points: NDArray[np.float32], boxes: NDArray[np.float64]) -> None:
        """Add the objects of a scene, points (N, 3) and boxes (M, 7), except those with under 5 points."""
        holder = inside(points, boxes)
        for i, box in enumerate(boxes):
            own = points[holder == i]
            if len(own) >= _MIN_POINTS:
                # A stride rather than a choice: a denser object than this differs from itself in nothing.
                self.boxes.append(box)
                self.points.append(own[:: -(-len(own) // _MAX_STORED_POINTS)].copy())


@dataclass(frozen=True)
class SceneAugmentation:
    """Random changes of a scene.

    Attributes:
        extra_objects: at most this many of the database are put in (gt sampling), each in its own place if it is free.
        rotation_deg, scaling: the most about the camera's y axis, and as a fraction of the size, either way.
        flip: mirror left and right at random, half of the scenes.
    """

    extra_objects: int
    rotation_deg: float
    scaling: float
    flip: bool

    def apply(
        self,
        points: NDArray[np.float32],
        boxes: NDArray[np.float64],
        database: ObjectDatabase,
        generator: np.random.Generator,
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """A changed scene: points (N, 3) and boxes (M, 7), rectified camera frame."""
        if self.extra_objects and len(database):
            points, boxes = self._with_extra_objects(points, boxes, database, generator)
        angle = np.deg2rad(generator.uniform(-self.rotation_deg, self.rotation_deg))
        scale = generator.uniform(1 - self.scaling, 1 + self.scaling)
        mirror = -1.0 if self.flip and generator.random() < 0.5 else 1.0
        cos, sin = np.cos(angle), np.sin(angle)
        # Turned as a heading ry is turned by `angle`, scaled, mirrored.
        transform = np.array([[mirror * cos, 0, mirror * sin], [0, 1, 0], [-sin, 0, cos]]) * scale
        points = points @ transform.T.astype(np.float32)
        boxes = boxes.copy()
        boxes[:, :3] = boxes[:, :3] @ transform.T
        boxes[:, 3:6] *= scale
        boxes[:, 6] += angle
        if mirror < 0:
            boxes[:, 6] = np.pi - boxes[:, 6]
        return points, boxes

    def _with_extra_objects(
        self,
        points: NDArray[np.float32],
        boxes: NDArray[np.float64],
        database: ObjectDatabase,
        generator: np.random.Generator,
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        chosen = generator.choice(len(database), min(self.extra_objects, len(database)), replace=False)
        candidates = np.stack([database.boxes[i] for i in chosen])
        everything = torch.from_numpy(np.concatenate([boxes, candidates]).astype(np.float32))
        overlaps = bev_iou(everything, everything).numpy() > 0
        placed = list(range(len(boxes)))
        for row in range(len(boxes), len(everything)):
            if not overlaps[row, placed].any():
                placed.append(row)
        added = np.array(placed[len(boxes) :], dtype=np.int64) - len(boxes)
        if not len(added):
            return points, boxes
        cleared = candidates[added].copy()
        cleared[:, 1] += _CLEARED_MARGIN_M
        cleared[:, 3:6] += 2 * _CLEARED_MARGIN_M
        free = np.flatnonzero(inside(points, cleared) < 0)
        parts = [points.take(free, axis=0), *(database.points[chosen[i]] for i in added)]
        return np.concatenate(parts), np.concatenate([boxes, candidates[added]])


def inside(points: NDArray[np.float32], boxes: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which of the boxes (M, 7) holds each point (N, 3): int64 (N,), -1 for none."""
    tensors = torch.from_numpy(np.ascontiguousarray(points))[None], torch.from_numpy(boxes.astype(np.float32))[None]
    index: NDArray[np.int64] = points_in_boxes(*tensors)[0].numpy()
    return index
