"""Which detection finds which object, frame by frame, in the official tool's order: the kernels.

All arrays are flat over the frames: the objects of frame f are the rows label_start[f] to label_start[f + 1], its
detections detection_start[f] to detection_start[f + 1], and its overlaps (objects x detections, row-major) begin at
pair_start[f]. `frames` may name a frame several times or not at all, so that average precision can be had for
resampled frames without any overlap computed anew.

States, of objects and detections alike: COUNTS takes part; IGNORED may be matched, but is neither right nor wrong;
ABSENT is of another class.
"""

import numpy as np
from numba import njit

COUNTS, IGNORED, ABSENT = 0, 1, -1


@njit(cache=True)
def matched_scores(
    label_start: np.ndarray,
    detection_start: np.ndarray,
    pair_start: np.ndarray,
    overlaps: np.ndarray,
    label_state: np.ndarray,
    detection_state: np.ndarray,
    score: np.ndarray,
    min_overlap: float,
) -> np.ndarray:
    """The score with which each object is found when every detection is kept: float64 (G,), NaN where it is missed.

    Here, and only here, an object takes the free candidate of the highest score. These scores place the recall grid.
    """
    found = np.full(len(label_state), np.nan)
    taken = np.zeros(len(detection_state), np.bool_)
    for frame in range(len(label_start) - 1):
        first, last = detection_start[frame], detection_start[frame + 1]
        for i in range(label_start[frame], label_start[frame + 1]):
            if label_state[i] == ABSENT:
                continue
            row = pair_start[frame] + (i - label_start[frame]) * (last - first)
            best = -1
            for j in range(first, last):
                if detection_state[j] == ABSENT or taken[j] or not overlaps[row + j - first] > min_overlap:
                    continue
                if best < 0 or score[j] > score[best]:
                    best = j
            if best < 0:
                continue
            taken[best] = True
            if label_state[i] == COUNTS and detection_state[best] == COUNTS:
                found[i] = score[best]
    return found


@njit(cache=True)
def count_outcomes(
    frames: np.ndarray,
    thresholds: np.ndarray,
    label_start: np.ndarray,
    detection_start: np.ndarray,
    pair_start: np.ndarray,
    overlaps: np.ndarray,
    label_state: np.ndarray,
    detection_state: np.ndarray,
    score: np.ndarray,
    in_region: np.ndarray,
    label_alpha: np.ndarray,
    detection_alpha: np.ndarray,
    min_overlap: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcomes over `frames` when only detections of at least a threshold are kept.

    An object takes the free candidate of the largest overlap; a detection that is ignored only where there is no
    other. Detections left over are false, unless they are ignored or lie in a DontCare region (`in_region`).

    Returns:
        true positives int64 (T,), false positives int64 (T,), orientation similarity float64 (T,): the sum of
        (1 + cos(alpha - alpha')) / 2 over the true positives.
    """
    true_positives = np.zeros(len(thresholds), np.int64)
    false_positives = np.zeros(len(thresholds), np.int64)
    similarity = np.zeros(len(thresholds))
    most = 0
    for frame in range(len(detection_start) - 1):
        most = max(most, detection_start[frame + 1] - detection_start[frame])
    taken = np.zeros(most, np.bool_)
    for frame in frames:
        first = detection_start[frame]
        count = detection_start[frame + 1] - first
        if count == 0:
            continue
        for t in range(len(thresholds)):
            taken[:count] = False
            for i in range(label_start[frame], label_start[frame + 1]):
                if label_state[i] == ABSENT:
                    continue
                row = pair_start[frame] + (i - label_start[frame]) * count
                best, best_overlap, best_is_ignored = -1, 0.0, False
                for j in range(count):
                    state = detection_state[first + j]
                    overlap = overlaps[row + j]
                    if state == ABSENT or taken[j] or score[first + j] < thresholds[t] or not overlap > min_overlap:
                        continue
                    if state == COUNTS and (overlap > best_overlap or best_is_ignored):
                        best, best_overlap, best_is_ignored = j, overlap, False
                    elif state == IGNORED and best < 0:
                        best, best_is_ignored = j, True
                if best < 0:
                    continue
                taken[best] = True
                if label_state[i] == COUNTS and not best_is_ignored:
                    true_positives[t] += 1
                    similarity[t] += (1.0 + np.cos(label_alpha[i] - detection_alpha[first + best])) / 2.0
            for j in range(count):
                k = first + j
                if not taken[j] and detection_state[k] == COUNTS and score[k] >= thresholds[t] and not in_region[k]:
                    false_positives[t] += 1
    return true_positives, false_positives, similarity
