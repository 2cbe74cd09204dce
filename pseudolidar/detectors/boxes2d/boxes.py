"""2D boxes that start a frustum: from labels, from a detections file, from KITTI result files."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kitti import FormatError, ObjectDataset, Objects, read_objects, require_file

DETECTION_CLASSES = {1: "Pedestrian", 2: "Car", 3: "Cyclist"}
"""The class numbers of the published detections files (Frustum PointNets, rgb_detections)."""


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

    def of_classes(self, class_names: Sequence[str]) -> "Boxes2d":
        """The boxes of some classes, in the same order."""
        mask = np.isin(self.class_name, class_names)
        return Boxes2d(self.class_name[mask], self.box2d[mask], None if self.score is None else self.score[mask])


def ground_truth_boxes(dataset: ObjectDataset, class_names: Sequence[str]) -> dict[str, Boxes2d]:
    """The labels' 2D boxes of some classes, for every frame of the data set (none in an empty scene)."""
    return {frame.frame_id: _from_objects(frame.objects()).of_classes(class_names) for frame in dataset}


def read_result_boxes(results_dir: str | Path, frame_ids: Sequence[str]) -> dict[str, Boxes2d]:
    """2D boxes of KITTI result files ID.txt, all classes.

    KITTI's scores may be any number, so they are squashed by a sigmoid where one of them leaves (0, 1].

    Raises:
        FormatError: a frame without a result file, or a broken one.
    """
    results = {frame_id: read_objects(Path(results_dir) / f"{frame_id}.txt", scored=True) for frame_id in frame_ids}
    scores = [objects.score for objects in results.values() if objects.score is not None]
    are_probabilities = all(((score > 0) & (score <= 1)).all() for score in scores)
    boxes = {frame_id: _from_objects(objects) for frame_id, objects in results.items()}
    if are_probabilities:
        return boxes
    return {
        frame_id: Boxes2d(found.class_name, found.box2d, _sigmoid(found.score)) for frame_id, found in boxes.items()
    }


def read_detections_file(path: str | Path) -> dict[str, Boxes2d]:
    """Read detections as Frustum PointNets publishes them: `image_path class_id score x1 y1 x2 y2` a line.

    Class numbers: 1 pedestrian, 2 car, 3 cyclist. The frame is the image's name without its suffix.

    Returns:
        Boxes of every frame that the file names.

    Raises:
        FormatError: with the line, for a wrong number of fields, an unknown class, a word for a number, a score
            outside (0, 1], or a box whose right or bottom doesn't lie beyond its left or top.
    """
    path = require_file(path, "2D detections: image_path class_id score x1 y1 x2 y2 a line")
    rows: dict[str, list[tuple[str, float, list[float]]]] = {}
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 7:
            raise FormatError(
                path, f"line {number}", f"{len(words)} fields", "7: image_path class_id score x1 y1 x2 y2"
            )
        class_id = int(words[1]) if words[1].isdigit() else -1
        if class_id not in DETECTION_CLASSES:
            known = ", ".join(f"{key} ({name})" for key, name in DETECTION_CLASSES.items())
            raise FormatError(path, f"line {number}, field 2 (class_id)", words[1], f"one of {known}")
        values = []
        for column, word in enumerate(words[2:], start=3):
            try:
                value = float(word)
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                raise FormatError(path, f"line {number}, field {column}", word, "a finite number")
            values.append(value)
        score, box = values[0], values[1:]
        if not 0 < score <= 1:
            raise FormatError(path, f"line {number}, field 3 (score)", words[2], "a probability, above 0 and at most 1")
        if box[2] <= box[0] or box[3] <= box[1]:
            found = " ".join(words[3:])
            raise FormatError(path, f"line {number}, fields 4 to 7 (box)", found, "x1 < x2 and y1 < y2")
        rows.setdefault(Path(words[0]).stem, []).append((DETECTION_CLASSES[class_id], score, box))
    return {
        frame_id: Boxes2d(
            np.array([name for name, _, _ in found]),
            np.array([box for _, _, box in found]),
            np.array([score for _, score, _ in found]),
        )
        for frame_id, found in rows.items()
    }


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


def _from_objects(objects: Objects) -> Boxes2d:
    return Boxes2d(objects.class_name, objects.box2d, objects.score)


def _sigmoid(score: NDArray[np.float64] | None) -> NDArray[np.float64]:
    # Kept above 0, since the frustum's score takes the logarithm.
    return np.zeros(0) if score is None else np.maximum(1 / (1 + np.exp(-np.clip(score, -500, 500))), 1e-300)
