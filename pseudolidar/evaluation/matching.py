"""Kernels that match detections with objects, frame by frame, in the official tool's order.

All arrays are flat over the frames: the objects of frame f are the rows label_start[f] to label_start[f + 1], its
detections detection_start[f] to detection_start[f + 1], and their IoU (objects x detections, row-major) begin at
pair_start[f].

States of objects and detections: COUNTS takes part; IGNORED may be matched, but is neither right nor wrong; ABSENT is
of another class.
"""

import numpy as np

from pseudolidar.kernels import cpu_kernel

COUNTS, IGNORED, ABSENT = 0, 1, -1


@cpu_kernel
def _match(
    first_label: int,
    end_label: int,
    first: int,
    end: int,
    row: int,
    iou: np.ndarray,
    detection_state: np.ndarray,
    score: np.ndarray,
    candidate: np.ndarray,
    candidate_end: np.ndarray,
    threshold: float,
    partner: np.ndarray,
    taken: np.ndarray,
) -> None:
    """Give each object of a frame its detection, of those with at least a score; -1 where it has none."""
    for j in range(first, end):
        taken[j] = False
    listed = 0
    for i in range(first_label, end_label):
        best, best_iou, best_is_ignored = -1, 0.0, False
        while listed < candidate_end[i - first_label]:
            j = candidate[listed]
            listed += 1
            if taken[j] or score[j] < threshold:
                continue
            found_iou = iou[row + j - first]
            counts = detection_state[j] == COUNTS
            if counts and (found_iou > best_iou or best_is_ignored):
                best, best_iou, best_is_ignored = j, found_iou, False
            elif not counts and best < 0:
                best, best_is_ignored = j, True
        partner[i] = best
        if best >= 0:
            taken[best] = True
        row += end - first


@cpu_kernel
def tally_frames(
    label_start: np.ndarray,
    detection_start: np.ndarray,
    pair_start: np.ndarray,
    iou: np.ndarray,
    by_score: np.ndarray,
    label_state: np.ndarray,
    detection_state: np.ndarray,
    score: np.ndarray,
    in_region: np.ndarray,
    label_alpha: np.ndarray,
    detection_alpha: np.ndarray,
    min_overlap: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """How true and false in each frame change with the least score of the detections that are kept.

    Args:
        by_score: int64 (D,), each frame's detections by falling score.
        in_region: bool (D,), detections in a DontCare region, which are not false.

    Returns:
        found: float64 (G,), the score with which each object is found when every detection is kept, NaN where it is
            missed. Only here an object takes the free candidate of the highest score. These scores place the recall
            grid.
        true, false: int64 (D,), and similarity: float64 (D,): changes of true positives, false positives and
            orientation similarity (the sum of (1 + cos(alpha - alpha')) / 2 over the true positives) once detections of
            this score are kept; where several of a frame have one score, one of them has the change.
        partner: int64 (G,), the row of each object's detection when all are kept, -1 where it has none.
    """
    found, partner = np.full(len(label_state), np.nan), np.full(len(label_state), -1)
    true, false = np.zeros(len(score), np.int64), np.zeros(len(score), np.int64)
    similarity = np.zeros(len(score))
    taken, touched = np.zeros(len(score), np.bool_), np.zeros(len(score), np.bool_)
    most_pairs, most_labels = 0, 0
    for frame in range(len(label_start) - 1):
        most_pairs = max(most_pairs, pair_start[frame + 1] - pair_start[frame])
        most_labels = max(most_labels, label_start[frame + 1] - label_start[frame])
    candidate = np.zeros(most_pairs, np.int64)
    candidate_end = np.zeros(most_labels, np.int64)
    for frame in range(len(label_start) - 1):
        first_label, end_label = label_start[frame], label_start[frame + 1]
        first, end, row = detection_start[frame], detection_start[frame + 1], pair_start[frame]
        # Detections whose IoU with each object is large enough, in the order of the file.
        listed = 0
        for i in range(first_label, end_label):
            pair = row + (i - first_label) * (end - first) - first
            if label_state[i] != ABSENT:
                for j in range(first, end):
                    if detection_state[j] != ABSENT and iou[pair + j] > min_overlap:
                        candidate[listed] = j
                        listed += 1
            candidate_end[i - first_label] = listed
        listed = 0
        for i in range(first_label, end_label):
            best = -1
            while listed < candidate_end[i - first_label]:
                j = candidate[listed]
                listed += 1
                touched[j] = True
                if not taken[j] and (best < 0 or score[j] > score[best]):
                    best = j
            if best >= 0:
                taken[best] = True
                if label_state[i] == COUNTS and detection_state[best] == COUNTS:
                    found[i] = score[best]
        # Of the kept detections, those that are false unless an object takes them, and those that one takes.
        liable, excused, hits, alike = 0, 0, 0, 0.0
        last_hits, last_false, last_alike = 0, 0, 0.0
        k = first
        while k < end:
            last, level, anew = -1, score[by_score[k]], False
            while k < end and score[by_score[k]] == level:
                j = by_score[k]
                k += 1
                if detection_state[j] != ABSENT:
                    last = j
                    liable += detection_state[j] == COUNTS and not in_region[j]
                    anew |= touched[j]
            if last < 0:
                continue
            if anew:
                _match(
                    first_label, end_label, first, end, row, iou, detection_state, score, candidate, candidate_end,
                    level, partner, taken,
                )  # fmt: skip
                excused, hits, alike = 0, 0, 0.0
                for i in range(first_label, end_label):
                    j = partner[i]
                    if j < 0 or detection_state[j] != COUNTS:
                        continue
                    excused += not in_region[j]
                    if label_state[i] == COUNTS:
                        hits += 1
                        alike += (1.0 + np.cos(label_alpha[i] - detection_alpha[j])) / 2.0
            true[last] = hits - last_hits
            false[last] = liable - excused - last_false
            similarity[last] = alike - last_alike
            last_hits, last_false, last_alike = hits, liable - excused, alike
    return found, true, false, similarity, partner


@cpu_kernel
def largest_iou(
    label_start: np.ndarray,
    detection_start: np.ndarray,
    pair_start: np.ndarray,
    iou: np.ndarray,
    label_state: np.ndarray,
    detection_state: np.ndarray,
    partner: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """IoU of objects, float64 (G,), and detections, float64 (D,), with the one they are matched to, or nearest to.

    An object without a partner (`tally_frames`) has its largest IoU with a detection that counts; a detection has its
    largest with an object that is not absent.
    """
    label_iou, detection_iou = np.zeros(len(label_state)), np.zeros(len(detection_state))
    for frame in range(len(label_start) - 1):
        pair = pair_start[frame]
        for i in range(label_start[frame], label_start[frame + 1]):
            for j in range(detection_start[frame], detection_start[frame + 1]):
                if label_state[i] != ABSENT:
                    detection_iou[j] = max(detection_iou[j], iou[pair])
                    if partner[i] == j:
                        label_iou[i] = iou[pair]
                    elif partner[i] < 0 and detection_state[j] == COUNTS:
                        label_iou[i] = max(label_iou[i], iou[pair])
                pair += 1
    return label_iou, detection_iou
