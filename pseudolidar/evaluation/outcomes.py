"""What became of every object and every detection: matched, missed, false."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pseudolidar.evaluation.average_precision import Evaluation
from pseudolidar.evaluation.matching import COUNTS, match_frames
from pseudolidar.evaluation.protocol import DIFFICULTIES, GEOMETRY


class Outcome(NamedTuple):
    """One object or one false detection, in one view and difficulty.

    Attributes:
        frame: its id.
        class_name, view, difficulty: what was scored; the views are bbox, bev and 3d.
        outcome: matched, missed or false.
        label_line: of the object in its label file, from 1; None for a false detection.
        result_line: of the detection in its result file, from 1; None for a missed object.
        overlap: intersection over union of the two; for a missed object the largest with a detection of its class, for
            a false detection the largest with an object of its class.
        score: of the detection, None for a missed object.
    """

    frame: str
    class_name: str
    view: str
    difficulty: str
    outcome: str
    label_line: int | None
    result_line: int | None
    overlap: float
    score: float | None


def object_outcomes(evaluation: Evaluation) -> Iterator[Outcome]:
    """Outcomes when all detections are kept, whatever their score.

    Objects and detections that are neither right nor wrong (too hard for the difficulty, of a neighbouring class, in a
    DontCare region) are left out: per class, view and difficulty there are as many matched and missed as objects count.
    An object that counts, but whose best match is ignored for its height, is missed.
    """
    scenes = evaluation.scenes
    labels, detections, ids = scenes.labels, scenes.detections, evaluation.frame_ids
    score = detections.objects.score
    assert score is not None
    label_frame, detection_frame = labels.frame, detections.frame
    for class_name, view, level in evaluation.tallies:
        label_state = scenes.label_states(class_name, DIFFICULTIES[level])
        detection_state = scenes.detection_states(class_name, DIFFICULTIES[level])
        least = evaluation.min_overlap[class_name][view]
        partner, label_overlap, detection_overlap = match_frames(
            labels.start,
            detections.start,
            scenes.pair_start,
            scenes.overlaps[GEOMETRY[view]],
            label_state,
            detection_state,
            score,
            least,
        )
        is_false = (detection_state == COUNTS) & (scenes.region_cover[GEOMETRY[view]] <= least)
        is_false[partner[partner >= 0]] = False
        what = class_name, view, level
        for i in np.flatnonzero(label_state == COUNTS).tolist():
            j = int(partner[i])
            place, overlap = (ids[label_frame[i]], *what), float(label_overlap[i])
            line = int(labels.line[i])
            if j >= 0 and detection_state[j] == COUNTS:
                yield Outcome(*place, "matched", line, int(detections.line[j]), overlap, float(score[j]))
            else:
                yield Outcome(*place, "missed", line, None, overlap, None)
        for j in np.flatnonzero(is_false).tolist():
            place, overlap = (ids[detection_frame[j]], *what), float(detection_overlap[j])
            yield Outcome(*place, "false", None, int(detections.line[j]), overlap, float(score[j]))
