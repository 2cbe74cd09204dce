"""2D boxes of an image: what they hold, those of the labels, fitted to a data set, clipped, jittered."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kitti import ObjectDataset, Objects

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Boxes2d:
    """N boxes in one left colour image.

    Attributes:
        class_name: (N,) str.
        box2d: float64 (N, 4), left, top, right, bottom, px.
        score: float64 (N,), a probability in (0, 1]; None for boxes that are certain (labels).
    """

    class_name: NDArray[np.str_]
    box2d: NDArray[np.float64]
    score: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.class_name)

    def __getitem__(self, mask: NDArray[np.bool_]) -> "Boxes2d":
        """The boxes that a mask picks."""
        return Boxes2d(self.class_name[mask], self.box2d[mask], None if self.score is None else self.score[mask])

    @classmethod
    def empty(cls) -> "Boxes2d":
        """Zero boxes, without scores: what an image in which nothing was found has."""
        return cls(np.zeros(0, dtype=np.str_), np.zeros((0, 4)))

    @classmethod
    def from_objects(cls, objects: Objects) -> "Boxes2d":
        """The 2D boxes of labels (certain) or results (with their scores)."""
        return cls(objects.class_name, objects.box2d, objects.score)

    def to_objects(self) -> Objects:
        """The objects of a KITTI result file, in which the 3D box and all else is not given."""
        count = len(self)
        not_given = np.tile([-1000.0, -1000.0, -1000.0, -1.0, -1.0, -1.0, -10.0], (count, 1))
        score = np.ones(count) if self.score is None else self.score
        unknown = np.full(count, -1)
        return Objects(self.class_name, unknown, unknown, np.full(count, -10.0), self.box2d, not_given, score)

    def of_classes(self, class_names: Sequence[str]) -> "Boxes2d":
        """The boxes of some classes, in the same order."""
        return self[np.isin(self.class_name, class_names)]


def ground_truth_boxes(dataset: ObjectDataset, class_names: Sequence[str]) -> dict[str, Boxes2d]:
    """The labels' 2D boxes of some classes, for every frame of the data set (none in an empty scene)."""
    return {frame.frame_id: Boxes2d.from_objects(frame.objects()).of_classes(class_names) for frame in dataset}


def boxes_of_frames(boxes: Mapping[str, Boxes2d], dataset: ObjectDataset) -> dict[str, Boxes2d]:
    """Boxes from anywhere, fitted to the frames of a data set; the log counts what was changed.

    Boxes are clipped to their image, and those that lie outside of it are skipped. A frame without an entry has no
    boxes. Boxes of frames that the data set lacks are left out.

    Args:
        boxes: by frame.
        dataset: with left images.

    Raises:
        FormatError: a missing or broken image.
    """
    fitted = {}
    clipped = outside = 0
    for frame in dataset:
        own = boxes.get(frame.frame_id)
        if own is None:
            fitted[frame.frame_id] = Boxes2d.empty()
            continue
        box2d, inside, changed = clipped_to_image(own.box2d, frame.image_size())
        fitted[frame.frame_id] = Boxes2d(own.class_name, box2d, own.score)[inside]
        clipped += changed
        outside += int((~inside).sum())
    logger.info(
        "2D boxes: %d in %d frames; clipped to the image: %d; skipped, outside of it: %d; frames without an entry: %d; "
        "entries of other frames, left out: %d",
        sum(len(own) for own in fitted.values()), len(fitted), clipped, outside,
        sum(frame_id not in boxes for frame_id in fitted), sum(frame_id not in fitted for frame_id in boxes),
    )  # fmt: skip
    return fitted


def clipped_to_image(
    box2d: NDArray[np.float64], image_size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], int]:
    """Clip boxes to an image.

    Args:
        box2d: (N, 4) px.
        image_size: (height, width) px.

    Returns:
        the boxes (N, 4), clipped to the centres of the outermost pixels; which of them (N,) still have an area; and how
        many of those were changed.
    """
    height, width = image_size
    clipped = np.clip(box2d, 0, [width - 1, height - 1, width - 1, height - 1])
    inside = (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    return clipped, inside, int((clipped != box2d)[inside].any(axis=1).sum())


def jittered_box(box2d: NDArray[np.float64], generator: np.random.Generator, share: float = 0.1) -> NDArray[np.float64]:
    """Move and resize a box (4,) at random, as in the published training.

    The centre moves by up to `share` of the width and height, width and height change by up to `share` of themselves,
    all uniformly.
    """
    left, top, right, bottom = box2d
    width, height = right - left, bottom - top
    move_x, move_y, grow_x, grow_y = generator.uniform(-share, share, 4)
    centre_x, centre_y = (left + right) / 2 + move_x * width, (top + bottom) / 2 + move_y * height
    half_width, half_height = width * (1 + grow_x) / 2, height * (1 + grow_y) / 2
    return np.array([centre_x - half_width, centre_y - half_height, centre_x + half_width, centre_y + half_height])


def jitter_reach(box2d: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """The smallest box (4,) that holds every jittered version of a box."""
    left, top, right, bottom = box2d
    reach_x, reach_y = 1.5 * share * (right - left), 1.5 * share * (bottom - top)
    return np.array([left - reach_x, top - reach_y, right + reach_x, bottom + reach_y])
