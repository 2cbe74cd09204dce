"""The official tool's protocol, step by step and slowly: one threshold, frame, object and detection after the other."""

import math

import numpy as np
from shapely import affinity, intersection
from shapely.geometry import Polygon, box

from pseudolidar.kitti import Objects

LIMITS = {"easy": (40, 0, 0.15), "moderate": (25, 1, 0.3), "hard": (25, 2, 0.5)}
NEIGHBOUR = {"Car": "Van", "Pedestrian": "Person_sitting"}


def footprint(box3d: np.ndarray) -> Polygon:
    """The rectangle of a box x y z h w l ry on the ground, in x and z."""
    x, _, z, _, width, length, ry = box3d
    # A positive ry turns x towards -z.
    turned = affinity.rotate(box(-length / 2, -width / 2, length / 2, width / 2), -ry, origin=(0, 0), use_radians=True)
    return affinity.translate(turned, x, z)


def common_area(a: Polygon, b: Polygon) -> float:
    """Area of the intersection; on a grid of 1e-10, since GEOS at times finds none where edges coincide."""
    return float(intersection(a, b, grid_size=1e-10).area)


def overlap(view: str, a: Objects, i: int, b: Objects, j: int, over_a: bool = False) -> float:
    """Intersection over union, or over a's size."""
    if view == "bbox":
        shape_a, shape_b = box(*a.box2d[i]), box(*b.box2d[j])
    else:
        shape_a, shape_b = footprint(a.box3d[i]), footprint(b.box3d[j])
    common, size_a, size_b = common_area(shape_a, shape_b), shape_a.area, shape_b.area
    if view == "3d":
        (bottom_a, height_a), (bottom_b, height_b) = a.box3d[i, [1, 3]], b.box3d[j, [1, 3]]
        common *= max(0.0, min(bottom_a, bottom_b) - max(bottom_a - height_a, bottom_b - height_b))
        size_a, size_b = size_a * height_a, size_b * height_b
    return common / (size_a if over_a else size_a + size_b - common)


def curves(
    labels: list[Objects], results: list[Objects], name: str, view: str, difficulty: str, minimum: float
) -> tuple[list[float], list[float], int]:
    """41 precisions, 41 orientation similarities, number of objects."""
    min_height, max_occlusion, max_truncation = LIMITS[difficulty]

    def object_state(truth: Objects, i: int) -> int:
        height = truth.box2d[i, 3] - truth.box2d[i, 1]
        if truth.class_name[i] == NEIGHBOUR.get(name):
            return 1
        if truth.class_name[i] != name:
            return -1
        hidden = truth.occlusion[i] > max_occlusion or truth.truncation[i] > max_truncation
        return int(hidden or height < min_height)

    def detection_state(found: Objects, j: int) -> int:
        if int(abs(found.box2d[j, 1] - found.box2d[j, 3])) < min_height:
            return 1
        return 0 if found.class_name[j] == name else -1

    def frame_outcome(truth: Objects, found: Objects, threshold: float | None) -> tuple[list[float], int, float]:
        scores, similarity = [], 0.0
        assert found.score is not None
        taken = [threshold is not None and found.score[j] < threshold for j in range(len(found))]
        for i in range(len(truth)):
            if object_state(truth, i) == -1:
                continue
            candidates = [
                j
                for j in range(len(found))
                if not taken[j] and detection_state(found, j) != -1 and overlap(view, found, j, truth, i) > minimum
            ]
            if not candidates:
                continue
            if threshold is None:
                best = max(candidates, key=lambda j: found.score[j])  # type: ignore[index]
            else:
                counting = [j for j in candidates if detection_state(found, j) == 0]
                best = max(counting, key=lambda j: overlap(view, found, j, truth, i)) if counting else candidates[0]
            taken[best] = True
            if object_state(truth, i) == 0 and detection_state(found, best) == 0:
                scores.append(float(found.score[best]))
                similarity += (1 + math.cos(truth.alpha[i] - found.alpha[best])) / 2
        false = 0
        for j in range(len(found)):
            if taken[j] or detection_state(found, j) != 0:
                continue
            regions = [i for i in range(len(truth)) if truth.class_name[i] == "DontCare"]
            false += not any(overlap(view, found, j, truth, i, over_a=True) > minimum for i in regions)
        return scores, false, similarity

    count = sum(object_state(truth, i) == 0 for truth in labels for i in range(len(truth)))
    all_scores: list[float] = []
    for truth, found in zip(labels, results, strict=True):
        all_scores += frame_outcome(truth, found, None)[0]
    all_scores.sort(reverse=True)
    thresholds, recall = [], 0.0
    for i, score in enumerate(all_scores):
        here = (i + 1) / count
        if i + 1 < len(all_scores) and (i + 2) / count - recall < recall - here:
            continue
        thresholds.append(score)
        recall += 1 / 40
    precision, orientation = [0.0] * 41, [0.0] * 41
    for t, threshold in enumerate(thresholds):
        outcomes = [frame_outcome(truth, found, threshold) for truth, found in zip(labels, results, strict=True)]
        right, wrong = sum(len(o[0]) for o in outcomes), sum(o[1] for o in outcomes)
        if right + wrong:
            precision[t], orientation[t] = right / (right + wrong), sum(o[2] for o in outcomes) / (right + wrong)
    return (
        [max(precision[i:]) if i < len(thresholds) else 0.0 for i in range(41)],
        [max(orientation[i:]) if i < len(thresholds) else 0.0 for i in range(41)],
        count,
    )
