"""Outcomes of one class, view and difficulty by score and frame, and average precision of any choice of frames."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pseudolidar.evaluation.matching import COUNTS, tally_frames
from pseudolidar.evaluation.protocol import DIFFICULTIES, GEOMETRY, RECALL_POINTS
from pseudolidar.evaluation.scenes import Scenes
from pseudolidar.evaluation.stacked import starts_of
from pseudolidar.kernels import cpu_kernel, in_chunks

_REPLICATES_A_CHUNK = 8


@dataclass(frozen=True, eq=False)
class Tally:
    """What average precision needs to know of F frames, whatever the thresholds and whichever frames are chosen.

    Attributes:
        object_count: int64 (F,), objects that count.
        found_score: float64 (N,), falling: the score with which each found object is found.
        found_frame: int64 (N,), its frame.
        score: float64 (E,), falling: at each of these scores the outcomes of one frame change.
        frame: int64 (E,), that frame.
        change: float64 (E, 3), by how much: true positives, false positives, orientation similarity.
    """

    object_count: NDArray[np.int64]
    found_score: NDArray[np.float64]
    found_frame: NDArray[np.int64]
    score: NDArray[np.float64]
    frame: NDArray[np.int64]
    change: NDArray[np.float64]

    def curves(
        self, weights: NDArray[np.int64] | None = None, official_grid: bool = False
    ) -> tuple[NDArray[np.float64], int]:
        """Precision and orientation similarity at recall i/40 or more, and how many objects count.

        Args:
            weights: int64 (F,), how often each frame is taken; None: once.
            official_grid: see `recall_thresholds`.

        Returns:
            float64 (2, 41), 0 where a recall is not reached, and the number of objects.
        """
        if weights is None:
            weights = np.ones(len(self.object_count), np.int64)
        curves = np.zeros((2, RECALL_POINTS))
        return curves, _fill_curves(weights, official_grid, curves, *self._arrays())

    def average_precisions(self, weights: NDArray[np.int64], official_grid: bool = False) -> NDArray[np.float64]:
        """Average precision, percent, of many choices of frames.

        Args:
            weights: int64 (R, F), how often each frame is taken in each.
            official_grid: see `recall_thresholds`.

        Returns:
            float64 (R, 2, 2): AP11 and AP40 of precision, then of orientation similarity; NaN without any object.
        """
        averages = np.full((len(weights), 2, 2), np.nan)
        arrays = self._arrays()

        def of_chunk(chunk: int, chunks: int) -> None:
            first, end = len(weights) * chunk // chunks, len(weights) * (chunk + 1) // chunks
            _fill_averages(weights[first:end], official_grid, averages[first:end], *arrays)

        in_chunks(of_chunk, len(weights) // _REPLICATES_A_CHUNK, None)
        return averages

    def _arrays(self) -> tuple[NDArray, ...]:
        return self.object_count, self.found_score, self.found_frame, self.score, self.frame, self.change


def tally_scenes(scenes: Scenes, class_name: str, difficulty: str, view: str, min_overlap: float) -> Tally:
    """Match every frame at each of its own scores.

    Args:
        scenes: frames with their overlaps.
        class_name, difficulty, view: what is scored.
        min_overlap: intersection over union that a match must exceed.
    """
    label_state = scenes.label_states(class_name, DIFFICULTIES[difficulty])
    detection_state = scenes.detection_states(class_name, DIFFICULTIES[difficulty])
    labels, detections, geometry = scenes.labels, scenes.detections, GEOMETRY[view]
    score = detections.objects.score
    assert score is not None
    found, true, false, similarity = tally_frames(
        labels.start,
        detections.start,
        scenes.pair_start,
        scenes.overlaps[geometry],
        scenes.by_score,
        label_state,
        detection_state,
        score,
        scenes.region_cover[geometry] > min_overlap,
        labels.objects.alpha,
        detections.objects.alpha,
        min_overlap,
    )
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
    )


def recall_thresholds(
    scores: NDArray[np.float64], object_count: int, official_grid: bool = False
) -> NDArray[np.float64]:
    """Scores at which the recall comes closest to 0, 1/40, 2/40, ...: float64 (at most 41,), falling.

    From 41 objects on this is the official tool's grid. That tool gives one recall point at most to each found object,
    so that with fewer than 41 objects not even a perfect detector reaches recall 1 (ten objects, all found: AP40
    22.5). There each recall point takes the highest score that reaches it instead, and a perfect detector has 100.

    Args:
        scores: of the objects found, (at most object_count,).
        object_count: how many there are to find.
        official_grid: take the official tool's grid with few objects, too.
    """
    ordered = np.sort(np.asarray(scores, np.float64))[::-1].copy()
    picked = np.zeros(RECALL_POINTS)
    each = np.arange(len(ordered))
    count = _pick_thresholds(np.ones(len(ordered), np.int64), ordered, each, object_count, official_grid, picked)
    return picked[:count]


@cpu_kernel
def _pick_thresholds(
    weights: np.ndarray,
    found_score: np.ndarray,
    found_frame: np.ndarray,
    object_count: int,
    official_grid: bool,
    thresholds: np.ndarray,
) -> int:
    """What `recall_thresholds` gives where each score counts as often as its frame's weight says."""
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
    weights: np.ndarray,
    official_grid: bool,
    curves: np.ndarray,
    objects_in: np.ndarray,
    found_score: np.ndarray,
    found_frame: np.ndarray,
    score: np.ndarray,
    frame: np.ndarray,
    change: np.ndarray,
) -> int:
    object_count = 0
    for i in range(len(objects_in)):
        object_count += weights[i] * objects_in[i]
    thresholds = np.zeros(RECALL_POINTS)
    picked = _pick_thresholds(weights, found_score, found_frame, object_count, official_grid, thresholds)
    true, false, similarity = 0.0, 0.0, 0.0
    i = 0
    for t in range(picked):
        while i < len(score) and score[i] >= thresholds[t]:
            weight = weights[frame[i]]
            true += weight * change[i, 0]
            false += weight * change[i, 1]
            similarity += weight * change[i, 2]
            i += 1
        kept = max(true + false, 1.0)
        curves[0, t] = true / kept
        curves[1, t] = similarity / kept
    # The best value at this recall or beyond.
    for t in range(picked - 2, -1, -1):
        curves[0, t] = max(curves[0, t], curves[0, t + 1])
        curves[1, t] = max(curves[1, t], curves[1, t + 1])
    return object_count


@cpu_kernel
def _fill_averages(
    weights: np.ndarray,
    official_grid: bool,
    averages: np.ndarray,
    objects_in: np.ndarray,
    found_score: np.ndarray,
    found_frame: np.ndarray,
    score: np.ndarray,
    frame: np.ndarray,
    change: np.ndarray,
) -> None:
    curves = np.zeros((2, RECALL_POINTS))
    for r in range(len(weights)):
        curves[:] = 0.0
        if not _fill_curves(
            weights[r], official_grid, curves, objects_in, found_score, found_frame, score, frame, change
        ):
            continue
        for k in range(2):
            averages[r, k, 0] = 100.0 * curves[k, ::4].mean()
            averages[r, k, 1] = 100.0 * curves[k, 1:].mean()
