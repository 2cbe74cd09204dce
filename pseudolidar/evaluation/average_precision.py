"""KITTI's average precision (AP): from matched frames to a number.

For one class, difficulty and view (`protocol`), with the official tool's rules (KITTI's object development kit,
`evaluate_object.cpp`; Geiger et al., "Are we ready for Autonomous Driving?", CVPR 2012):

1. *Who takes part.* Objects of the class count, or are ignored where they are too low in the image, too occluded or
   too truncated for the difficulty. Objects of the neighbouring class (Van, Person_sitting) are ignored, too.
   Detections of the class count; those lower than the difficulty's least height, of any class, are ignored. To find an
   ignored object, or to be an ignored detection, is neither right nor wrong. (`scenes`)
2. *Matching.* In each frame, in the order of the label file, an object takes the free detection of the largest IoU
   among those above the class's least IoU, an ignored one only where there is no other. A detection that counts and is
   left over is false, unless a DontCare region covers more of it than that least IoU. (`matching`)
3. *Recall grid.* All detections kept, each object takes the free detection of the highest score. These scores, falling,
   give up to 41 thresholds at which the recall comes closest to 0, 1/40, 2/40, ..., 1. The official tool gives one
   recall point at most to each found object, so that with fewer than 41 objects not even a perfect detector reaches
   recall 1 (ten objects, all found: AP40 22.5). There, unless `official_grid` asks for the tool's grid, each recall
   point takes the highest score that reaches it, and a perfect detector has 100.
4. *Precision.* At each threshold all frames are matched anew with the detections of at least that score; precision is
   true / (true + false). A recall point gets the best precision at this recall or beyond; 0 beyond the recall that is
   reached. For `aos`, the sum of (1 + cos(alpha - alpha')) / 2 over the true positives takes the place of their
   number.
5. *AP11* is the mean at recall 0, 0.1, ..., 1, *AP40* that at 1/40, 2/40, ..., 1 (Simonelli et al., "Disentangling
   Monocular 3D Object Detection", ICCV 2019), in percent.

The official tool matches every frame 41 times, at thresholds that depend on all frames. But what is true or false in a
frame changes only at the scores of its own detections: matched once at each of these (`Tally`), it is known for every
threshold, and for every choice of frames, as a bootstrap draws them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pseudolidar.evaluation.matching import COUNTS, tally_frames
from pseudolidar.evaluation.protocol import DIFFICULTIES, GEOMETRY, RECALL_POINTS
from pseudolidar.evaluation.reading import starts_of
from pseudolidar.evaluation.scenes import Scenes
from pseudolidar.files import InputError
from pseudolidar.kernels import cpu_kernel, in_chunks

METRICS = ("AP11", "AP40")

_SMALLEST_CHUNK = 8
"""Choices of frames for which a thread is worth its start."""


def average_precision(
    precision: NDArray[np.float64], object_count: int | NDArray[np.int64], metric: str
) -> NDArray[np.float64]:
    """AP11 or AP40, percent, from precision (..., 41) at recall 0, 1/40, ..., 1: float64 (...), NaN without objects."""
    if metric not in METRICS:
        raise InputError(f"metric: found {metric!r}, expected one of {', '.join(METRICS)}")
    sampled = precision[..., ::4] if metric == "AP11" else precision[..., 1:]
    return np.where(np.asarray(object_count) > 0, 100.0 * sampled.mean(axis=-1), np.nan)


@dataclass(frozen=True, eq=False)
class PrecisionCurve:
    """Precision of one class at one difficulty in one view.

    `precision`, float64 (41,), is the best at recall i/40 or more, 0 where that recall is not reached; for `aos` it is
    the orientation similarity instead. `object_count` is the number of objects that count.
    """

    precision: NDArray[np.float64]
    object_count: int

    def ap(self, metric: str) -> float:
        """AP11 or AP40, percent; NaN where there is no object."""
        return float(average_precision(self.precision, self.object_count, metric))

    @property
    def ap40(self) -> float:
        """AP40, percent; NaN where there is no object."""
        return self.ap("AP40")


@dataclass(frozen=True, eq=False)
class Tally:
    """All that average precision needs of F frames, for any thresholds and any choice of the frames.

    Attributes:
        object_count: int64 (F,), objects that count.
        found_score, found_frame: float64, int64 (N,), of each found object, by falling score.
        score, frame: float64, int64 (E,), by falling score: where true and false change in one frame.
        change: float64 (E, 3), by how much: true positives, false positives, orientation similarity.
        partner: int64 (G,), the row of each object's detection when all are kept, -1 where it has none.
    """

    object_count: NDArray[np.int64]
    found_score: NDArray[np.float64]
    found_frame: NDArray[np.int64]
    score: NDArray[np.float64]
    frame: NDArray[np.int64]
    change: NDArray[np.float64]
    partner: NDArray[np.int64]

    def curves(
        self, weights: NDArray[np.int64], official_grid: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Precision (R, 41) and orientation similarity (R, 41) at recall i/40 or more, and numbers of objects (R,).

        `weights`, int64 (R, F): how often each of R choices takes each frame. Recall that is not reached has 0.
        """
        curves = np.zeros((2, RECALL_POINTS, len(weights)))
        object_count = weights @ self.object_count
        columns = (self.found_score, self.found_frame, self.score, self.frame, self.change)

        def fill(chunk: int, chunks: int) -> None:
            first, end = len(weights) * chunk // chunks, len(weights) * (chunk + 1) // chunks
            _fill_curves(first, end, weights, official_grid, curves, object_count, *columns)

        in_chunks(fill, len(weights) // _SMALLEST_CHUNK, None)
        return curves[0].T, curves[1].T, object_count


def tally_scenes(scenes: Scenes, class_name: str, difficulty: str, view: str, min_overlap: float) -> Tally:
    """Match every frame at each of its own scores; a match must exceed the IoU `min_overlap`."""
    label_state = scenes.label_states(class_name, DIFFICULTIES[difficulty])
    detection_state = scenes.detection_states(class_name, DIFFICULTIES[difficulty])
    labels, detections, geometry = scenes.labels, scenes.detections, GEOMETRY[view]
    score = detections.objects.score
    assert score is not None
    found, true, false, similarity, partner = tally_frames(
        labels.start, detections.start, scenes.pair_start, scenes.iou[geometry], scenes.by_score,
        label_state, detection_state, score, scenes.region_cover[geometry] > min_overlap,
        labels.objects.alpha, detections.objects.alpha, min_overlap,
    )  # fmt: skip
    is_found = np.flatnonzero(~np.isnan(found))
    is_found = is_found[np.argsort(-found[is_found], kind="stable")]
    changes = np.flatnonzero((true != 0) | (false != 0) | (similarity != 0.0))
    changes = changes[np.argsort(-score[changes], kind="stable")]
    return Tally(
        np.diff(starts_of(label_state == COUNTS)[labels.start]),
        found[is_found],
        labels.frame[is_found],
        score[changes],
        detections.frame[changes],
        np.stack([true[changes], false[changes], similarity[changes]], axis=1).astype(np.float64),
        partner,
    )


@cpu_kernel
def _pick_thresholds(
    weights: np.ndarray,
    found_score: np.ndarray,
    found_frame: np.ndarray,
    object_count: int,
    official_grid: bool,
    thresholds: np.ndarray,
) -> int:
    """Fill the scores of the recall grid, falling, and return their number; a score counts as often as its frame."""
    count = 0
    for frame in found_frame:
        count += weights[frame]
    picked, passed = 0, 0
    if object_count < RECALL_POINTS and not official_grid:
        for i in range(len(found_score)):
            passed += weights[found_frame[i]]
            # Whole numbers: found / object_count >= point / 40.
            while passed > 0 and picked < RECALL_POINTS and passed * (RECALL_POINTS - 1) >= picked * object_count:
                thresholds[picked] = found_score[i]
                picked += 1
        return picked
    recall = 0.0
    for i in range(len(found_score)):
        for _ in range(weights[found_frame[i]]):
            passed += 1
            is_last = passed == count
            left = passed / object_count
            right = left if is_last else (passed + 1) / object_count
            if (is_last or right - recall >= recall - left) and picked < RECALL_POINTS:
                thresholds[picked] = found_score[i]
                picked += 1
                recall += 1.0 / (RECALL_POINTS - 1.0)
    return picked


@cpu_kernel
def _fill_curves(
    first: int,
    end: int,
    weights: np.ndarray,
    official_grid: bool,
    curves: np.ndarray,
    object_count: np.ndarray,
    found_score: np.ndarray,
    found_frame: np.ndarray,
    score: np.ndarray,
    frame: np.ndarray,
    change: np.ndarray,
) -> None:
    """Fill curves[:, :, r], precision and similarity, for the choices of frames first <= r < end."""
    thresholds = np.zeros(RECALL_POINTS)
    for r in range(first, end):
        picked = _pick_thresholds(weights[r], found_score, found_frame, object_count[r], official_grid, thresholds)
        true, false, similarity = 0.0, 0.0, 0.0
        i = 0
        for t in range(picked):
            while i < len(score) and score[i] >= thresholds[t]:
                weight = weights[r, frame[i]]
                true += weight * change[i, 0]
                false += weight * change[i, 1]
                similarity += weight * change[i, 2]
                i += 1
            kept = max(true + false, 1.0)
            curves[0, t, r] = true / kept
            curves[1, t, r] = similarity / kept
        # The best value at this recall or beyond.
        for t in range(picked - 2, -1, -1):
            curves[0, t, r] = max(curves[0, t, r], curves[0, t + 1, r])
            curves[1, t, r] = max(curves[1, t, r], curves[1, t + 1, r])
