"""2D boxes of images: from labels and files, clipped, jittered, written."""

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import FormatError, InputError, read_lines, require_suffix, write_file
from pseudolidar.kitti import ObjectDataset, Objects, read_objects

logger = logging.getLogger(__name__)

DETECTION_CLASSES = {1: "Pedestrian", 2: "Car", 3: "Cyclist"}
"""Class numbers of Frustum PointNets' published detections files (rgb_detections)."""

ScoreKind = Literal["probability", "logit"]
"""Kinds of scores in a file: probabilities, 0 to 1; or logits, which a sigmoid turns into probabilities."""

# Kept above 0, since the frustum's score takes the logarithm.
_SMALLEST = 1e-300


@dataclass(frozen=True, eq=False)
class Boxes2d:
    """N boxes in one left colour image.

    Attributes:
        class_name, box2d: (N,) str, and float64 (N, 4) left, top, right, bottom, px.
        score: float64 (N,), a probability in (0, 1]; None for boxes that are certain (labels).
    """

    class_name: NDArray[np.str_]
    box2d: NDArray[np.float64]
    score: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.class_name)

    def __getitem__(self, mask: NDArray[np.bool_]) -> "Boxes2d":
        return Boxes2d(self.class_name[mask], self.box2d[mask], None if self.score is None else self.score[mask])

    @classmethod
    def empty(cls) -> "Boxes2d":
        """Boxes of a frame in which nothing was found: N = 0, without scores."""
        return cls(np.zeros(0, dtype=np.str_), np.zeros((0, 4)))

    @classmethod
    def from_objects(cls, objects: Objects) -> "Boxes2d":
        """The 2D boxes of labels (certain) or results (with scores)."""
        return cls(objects.class_name, objects.box2d, objects.score)

    def to_objects(self) -> Objects:
        """The objects of a KITTI result file: 2D boxes and scores (1 if certain), all else marked as not given."""
        count = len(self)
        not_given = np.tile([-1000.0, -1000.0, -1000.0, -1.0, -1.0, -1.0, -10.0], (count, 1))
        score = np.ones(count) if self.score is None else self.score
        unknown = np.full(count, -1)
        return Objects(self.class_name, unknown, unknown, np.full(count, -10.0), self.box2d, not_given, score)

    def of_classes(self, class_names: Sequence[str]) -> "Boxes2d":
        """The boxes of some classes, in the same order."""
        return self[np.isin(self.class_name, class_names)]


def ground_truth_boxes(dataset: ObjectDataset, class_names: Sequence[str]) -> dict[str, Boxes2d]:
    """The labels' 2D boxes of some classes, for every frame, empty ones included."""
    return {frame.frame_id: Boxes2d.from_objects(frame.objects()).of_classes(class_names) for frame in dataset}


def boxes_of_frames(boxes: Mapping[str, Boxes2d], dataset: ObjectDataset) -> dict[str, Boxes2d]:
    """Boxes clipped to the left images of a data set's frames, for every frame; the log counts what was changed.

    Boxes outside of their image and boxes of other frames are left out; a frame without an entry has no boxes.
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
    """Boxes (N, 4) px clipped to the centres of the outermost pixels of an image of (height, width) px.

    Also which of them (N,) still have an area, and how many of those were changed.
    """
    height, width = image_size
    clipped = np.clip(box2d, 0, [width - 1, height - 1, width - 1, height - 1])
    inside = (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    return clipped, inside, int((clipped != box2d)[inside].any(axis=1).sum())


def jittered_box(box2d: NDArray[np.float64], generator: np.random.Generator, fraction: float) -> NDArray[np.float64]:
    """Move and resize a box (4,) at random, as in the published training.

    The centre moves by up to `fraction` of width and height, and these change by up to `fraction`, all uniformly.
    """
    left, top, right, bottom = box2d
    width, height = right - left, bottom - top
    move_x, move_y, grow_x, grow_y = generator.uniform(-fraction, fraction, 4)
    centre_x, centre_y = (left + right) / 2 + move_x * width, (top + bottom) / 2 + move_y * height
    half_width, half_height = width * (1 + grow_x) / 2, height * (1 + grow_y) / 2
    return np.array([centre_x - half_width, centre_y - half_height, centre_x + half_width, centre_y + half_height])


def jitter_reach(box2d: NDArray[np.float64], fraction: float) -> NDArray[np.float64]:
    """The smallest box (4,) that holds every jittered version of a box."""
    left, top, right, bottom = box2d
    reach_x, reach_y = 1.5 * fraction * (right - left), 1.5 * fraction * (bottom - top)
    return np.array([left - reach_x, top - reach_y, right + reach_x, bottom + reach_y])


def read_boxes(path: str | Path, frame_ids: Sequence[str], scores: ScoreKind = "probability") -> dict[str, Boxes2d]:
    """2D boxes from a folder of KITTI results (`read_result_boxes`) or from one file (`read_detections_file`)."""
    return read_result_boxes(path, frame_ids, scores) if Path(path).is_dir() else read_detections_file(path, scores)


def read_result_boxes(
    results_dir: str | Path, frame_ids: Sequence[str], scores: ScoreKind = "probability"
) -> dict[str, Boxes2d]:
    """2D boxes of KITTI result files ID.txt, all classes.

    KITTI allows any number as a score, so the kind of scores has to be given.

    Raises:
        FormatError: a frame without a result file, a broken file, or a score that is not a probability.
        InputError: an unknown kind of scores.
    """
    boxes = {}
    for frame_id in frame_ids:
        path = Path(results_dir) / f"{frame_id}.txt"
        found = read_objects(path, scored=True)
        assert found.score is not None
        boxes[frame_id] = Boxes2d(found.class_name, found.box2d, _probabilities(found.score, scores, path))
    return boxes


def _probabilities(values: NDArray[np.float64], scores: ScoreKind, path: Path) -> NDArray[np.float64]:
    if scores not in get_args(ScoreKind):
        raise InputError(f"scores: found {scores!r}, expected {' or '.join(get_args(ScoreKind))}")
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
    """2D boxes by frame from Frustum PointNets' published format: `image_path class_id score x1 y1 x2 y2` on each line.

    Class numbers are `DETECTION_CLASSES`; lines of others are skipped and counted in the log. A frame's name is the
    image's without its suffix; every frame that the file names has an entry.

    Raises:
        FormatError: names the line: too few or many fields, a word for a number, a score that is not a probability, a
            box without an area; or all lines are of other classes.
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
    """Write boxes to a .txt file in the format that `read_detections_file` reads; frames without boxes leave no line.

    Boxes of classes without a number are left out and counted in the log. Certain boxes get the score 1.
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
    write_file(path, "".join(lines))
