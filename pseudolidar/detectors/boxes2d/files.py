"""Files of 2D boxes: detections in the one-file format of Frustum PointNets, and KITTI result files."""

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pseudolidar.detectors.boxes2d.boxes import Boxes2d
from pseudolidar.files import FormatError, read_lines, replacing, require_suffix
from pseudolidar.kitti import read_objects

logger = logging.getLogger(__name__)

DETECTION_CLASSES = {1: "Pedestrian", 2: "Car", 3: "Cyclist"}
"""The class numbers of the published detections files (Frustum PointNets, rgb_detections)."""


def read_result_boxes(results_dir: str | Path, frame_ids: Sequence[str]) -> dict[str, Boxes2d]:
    """2D boxes of KITTI result files ID.txt, all classes.

    KITTI's scores may be any number, so they are squashed by a sigmoid where one of them leaves (0, 1].

    Raises:
        FormatError: a frame without a result file, or a broken one.
    """
    results = {frame_id: read_objects(Path(results_dir) / f"{frame_id}.txt", scored=True) for frame_id in frame_ids}
    scores = [objects.score for objects in results.values() if objects.score is not None]
    are_probabilities = all(((score > 0) & (score <= 1)).all() for score in scores)
    boxes = {frame_id: Boxes2d.from_objects(objects) for frame_id, objects in results.items()}
    if are_probabilities:
        return boxes
    return {
        frame_id: Boxes2d(found.class_name, found.box2d, _sigmoid(found.score)) for frame_id, found in boxes.items()
    }


def read_detections_file(path: str | Path) -> dict[str, Boxes2d]:
    """Read detections as Frustum PointNets publishes them: `image_path class_id score x1 y1 x2 y2` a line.

    Class numbers: 1 pedestrian, 2 car, 3 cyclist; lines of other numbers, which detectors of more classes write, are
    skipped and counted in the log. The frame is the image's name without its suffix.

    Returns:
        boxes of every frame that the file names.

    Raises:
        FormatError: with the line, for a wrong number of fields, a class that is no whole number, a word for a number,
            a score outside (0, 1], or a box whose right or bottom doesn't lie beyond its left or top; a file whose
            lines are all of other classes.
    """
    path = Path(path)
    rows: dict[str, list[tuple[str, float, list[float]]]] = {}
    skipped: Counter[str] = Counter()
    known = ", ".join(f"{key} ({name})" for key, name in DETECTION_CLASSES.items())
    for number, line in read_lines(path, "2D detections: image_path class_id score x1 y1 x2 y2 a line"):
        words = line.split()
        if len(words) != 7:
            raise FormatError(
                path, f"line {number}", f"{len(words)} fields", "7: image_path class_id score x1 y1 x2 y2"
            )
        if not (words[1].isascii() and words[1].isdigit()):
            raise FormatError(path, f"line {number}, field 2 (class_id)", words[1], f"a number such as {known}")
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
        found_in_frame = rows.setdefault(Path(words[0]).stem, [])
        if int(words[1]) in DETECTION_CLASSES:
            found_in_frame.append((DETECTION_CLASSES[int(words[1])], score, box))
        else:
            skipped[words[1]] += 1
    if skipped:
        counts = ", ".join(f"{class_id} ({count})" for class_id, count in sorted(skipped.items()))
        if not any(rows.values()):
            raise FormatError(path, "field 2 (class_id)", f"no other classes than {counts}", f"some of {known}")
        logger.info("%s: lines of other classes, skipped: %s", path, counts)
    return {
        frame_id: Boxes2d(
            np.array([name for name, _, _ in found], dtype=np.str_),
            np.array([box for _, _, box in found], dtype=np.float64).reshape(-1, 4),
            np.array([score for _, score, _ in found], dtype=np.float64),
        )
        for frame_id, found in rows.items()
    }


def write_detections_file(path: str | Path, boxes: Mapping[str, Boxes2d]) -> None:
    """Write boxes in the format that `read_detections_file` reads; frames without boxes leave no line.

    Boxes of classes that have no number are left out, and counted in the log. Certain boxes get the score 1.

    Raises:
        FormatError: another suffix than .txt.
    """
    require_suffix(path, (".txt",), "2D detections")
    numbers = {name: number for number, name in DETECTION_CLASSES.items()}
    lines = []
    for frame_id, found in boxes.items():
        for i in np.flatnonzero(np.isin(found.class_name, list(numbers))):
            score = 1.0 if found.score is None else found.score[i]
            sides = " ".join(f"{side:.4f}" for side in found.box2d[i])
            lines.append(f"image_2/{frame_id}.png {numbers[str(found.class_name[i])]} {score:.6g} {sides}\n")
    left_out = sum(len(found) for found in boxes.values()) - len(lines)
    logger.info("%s: %d 2D boxes; left out, of other classes than %s: %d",
                path, len(lines), ", ".join(numbers), left_out)  # fmt: skip
    with replacing(path) as temporary:
        temporary.write_text("".join(lines))


def _sigmoid(score: NDArray[np.float64] | None) -> NDArray[np.float64]:
    # Kept above 0, since the frustum's score takes the logarithm.
    return np.zeros(0) if score is None else np.maximum(1 / (1 + np.exp(-np.clip(score, -500, 500))), 1e-300)
