"""Files of 2D boxes: detections in the one-file format of Frustum PointNets, and KITTI result files."""

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pseudolidar.detectors.boxes2d.boxes import Boxes2d
from pseudolidar.files import FormatError, InputError, read_lines, replacing, require_suffix
from pseudolidar.kitti import read_objects

logger = logging.getLogger(__name__)

DETECTION_CLASSES = {1: "Pedestrian", 2: "Car", 3: "Cyclist"}
"""The class numbers of the published detections files (Frustum PointNets, rgb_detections)."""


ScoreKind = Literal["probability", "logit"]
"""What the scores of a file are: probabilities, 0 to 1; or any numbers, of which a sigmoid makes probabilities."""

# Kept above 0, since the frustum's score takes the logarithm.
_SMALLEST = 1e-300


def read_boxes(path: str | Path, frame_ids: Sequence[str], scores: ScoreKind = "probability") -> dict[str, Boxes2d]:
    """2D boxes from a folder of KITTI results (`read_result_boxes`) or from one file (`read_detections_file`)."""
    return read_result_boxes(path, frame_ids, scores) if Path(path).is_dir() else read_detections_file(path, scores)


def read_result_boxes(
    results_dir: str | Path, frame_ids: Sequence[str], scores: ScoreKind = "probability"
) -> dict[str, Boxes2d]:
    """2D boxes of KITTI result files ID.txt, all classes.

    Args:
        results_dir: folder of the files.
        frame_ids: of the frames.
        scores: what they are; KITTI allows any number, and none shows by itself what it is.

    Raises:
        FormatError: a frame without a result file, a broken one, or a score that is no probability.
        InputError: another kind of scores.
    """
    _require_kind(scores)
    boxes = {}
    for frame_id in frame_ids:
        path = Path(results_dir) / f"{frame_id}.txt"
        found = read_objects(path, scored=True)
        assert found.score is not None
        boxes[frame_id] = Boxes2d(found.class_name, found.box2d, _probabilities(found.score, scores, path))
    return boxes


def _require_kind(scores: ScoreKind) -> None:
    if scores not in get_args(ScoreKind):
        raise InputError(f"scores: found {scores!r}, expected {' or '.join(get_args(ScoreKind))}")


def _probabilities(values: NDArray[np.float64], scores: ScoreKind, path: Path) -> NDArray[np.float64]:
    if scores == "logit":
        values = 1 / (1 + np.exp(-np.clip(values, -500, 500)))
    outside = (values < 0) | (values > 1)
    if outside.any():
        number, _ = [*read_lines(path, "KITTI results")][int(outside.argmax())]
        place = f"line {number}, field 16 (score)"
        expected = "a probability, 0 to 1; boxes_scores=logit takes the scores of all files through a sigmoid"
        raise FormatError(path, place, f"{values[outside][0]:g}", expected)
    return np.maximum(values, _SMALLEST)


def read_detections_file(path: str | Path, scores: ScoreKind = "probability") -> dict[str, Boxes2d]:
    """Read detections as Frustum PointNets publishes them: `image_path class_id score x1 y1 x2 y2` a line.

    Class numbers: 1 pedestrian, 2 car, 3 cyclist; lines of other numbers, which detectors of more classes write, are
    skipped and counted in the log. The frame is the image's name without its suffix.

    Returns:
        boxes of every frame that the file names.

    Raises:
        FormatError: with the line, for a wrong number of fields, a class that is no whole number, a word for a number,
            a score that is no probability, or a box whose right or bottom doesn't lie beyond its left or top; a file
            whose lines are all of other classes.
    """
    path = Path(path)
    _require_kind(scores)
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
        if scores == "probability" and not 0 <= score <= 1:
            expected = "a probability, 0 to 1; boxes_scores=logit takes all scores through a sigmoid"
            raise FormatError(path, f"line {number}, field 3 (score)", words[2], expected)
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
            _probabilities(np.array([score for _, score, _ in found], dtype=np.float64), scores, path),
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
