"""KITTI's evaluation of one set of results: every class, view and difficulty (`average_precision` has the metric)."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pseudolidar.evaluation.average_precision import METRICS, PrecisionCurve, Tally, average_precision, tally_scenes
from pseudolidar.evaluation.matching import COUNTS, largest_iou
from pseudolidar.evaluation.protocol import CLASSES, DIFFICULTIES, GEOMETRY, VIEWS, resolve_overlap
from pseudolidar.evaluation.reading import read_folders
from pseudolidar.evaluation.scenes import Scenes, build_scenes
from pseudolidar.files import InputError
from pseudolidar.kernels import in_chunks
from pseudolidar.kitti import Objects

logger = logging.getLogger(__name__)

# A detector's weak detections are mostly far and low; a third of them below the limit is nothing unusual.
_NEARLY_ALL = 0.9


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Average precision of one set of results.

    A class that has no object at a difficulty has no average precision there: NaN here, null in JSON, never 0. The same
    goes for `aos` where a detection of the class gives no angle (alpha -10), and for `bev` and `3d` where all
    detections of the class are 2D boxes only (x -1000): the official tool leaves these out, too.

    Attributes:
        depth_range: (near, far] in m, None for any depth.
        min_overlap: IoU that a match must exceed, by class and view (bbox, bev, 3d).
        official_grid: see `evaluate`.
        curves: by (class, view, difficulty); no curve where there is no average precision.
        tallies: by (class, view, difficulty), the view being bbox, bev or 3d.
    """

    classes: tuple[str, ...]
    difficulties: tuple[str, ...]
    depth_range: tuple[float, float] | None
    min_overlap: dict[str, dict[str, float]]
    official_grid: bool
    frame_ids: tuple[str, ...]
    scenes: Scenes
    curves: dict[tuple[str, str, str], PrecisionCurve]
    tallies: dict[tuple[str, str, str], Tally]

    @property
    def frame_count(self) -> int:
        """Number of frames that were evaluated."""
        return len(self.frame_ids)

    def least_overlap(self, class_name: str, view: str) -> float:
        """The IoU that a match must exceed in a view; `aos` has that of `bbox`."""
        return self.min_overlap[class_name]["bbox" if view == "aos" else view]

    def ap(self, class_name: str, view: str, difficulty: str, metric: str = "AP40") -> float:
        """Average precision, percent, or NaN; `metric` is AP40 or AP11."""
        curve = self.curves.get((class_name, view, difficulty))
        return float("nan") if curve is None else curve.ap(metric)

    def average_precisions(
        self, weights: NDArray[np.int64], class_name: str, view: str, difficulty: str, metric: str = "AP40"
    ) -> NDArray[np.float64]:
        """Average precision, percent, of R choices of the frames: float64 (R,).

        `weights`, int64 (R, F), says how often each frame is taken. NaN where a choice holds no object, or `ap` is NaN.
        """
        if weights.ndim != 2 or weights.shape[1] != self.frame_count:
            raise ValueError(f"weights: found shape {weights.shape}, expected (R, {self.frame_count})")
        if (class_name, view, difficulty) not in self.curves:
            return np.full(len(weights), np.nan)
        tally = self.tallies[class_name, "bbox" if view == "aos" else view, difficulty]
        precision, similarity, object_count = tally.curves(weights, self.official_grid)
        return average_precision(similarity if view == "aos" else precision, object_count, metric)

    def to_dict(self) -> dict[str, dict[str, dict[str, list[float | None]]]]:
        """{class: {view: {"AP11": [a number for each difficulty], "AP40": [...]}}}, None where there is no number."""

        def numbers(name: str, view: str, metric: str) -> list[float | None]:
            values = (self.ap(name, view, level, metric) for level in self.difficulties)
            return [None if np.isnan(value) else value for value in values]

        return {
            name: {view: {metric: numbers(name, view, metric) for metric in METRICS} for view in VIEWS}
            for name in self.classes
        }


def evaluate(
    labels: Sequence[Objects],
    results: Sequence[Objects],
    classes: Sequence[str] = CLASSES,
    difficulties: Sequence[str] = ("easy", "moderate", "hard"),
    depth_range: tuple[float, float] | None = None,
    min_overlap: str | Mapping[str, Mapping[str, float]] | None = None,
    official_grid: bool = False,
    frame_ids: Sequence[str] | None = None,
) -> Evaluation:
    """Average precision as KITTI's official tool computes it.

    Args:
        labels, results: ground truth and scored detections, one entry per frame in the same order.
        difficulties: of easy, moderate, hard, all.
        depth_range: (near, far] in m; only objects and detections with near < z <= far take part.
        min_overlap: by class and view (bbox, bev, 3d), IoU that a match must exceed; anything left out is the
            benchmark's. Or "loose", the second set that KITTI tools print.
        official_grid: use the official tool's recall grid also with fewer than 41 objects (`average_precision`, 3).
        frame_ids: names of the frames, for `object_outcomes`; None numbers them from 0.

    Raises:
        ValueError: an unknown class or difficulty, an impossible range or IoU, unequal numbers of frames.
    """
    scenes = build_scenes(labels, results, depth_range)
    return evaluate_scenes(scenes, classes, difficulties, min_overlap, official_grid, frame_ids)


def evaluate_scenes(
    scenes: Scenes,
    classes: Sequence[str] = CLASSES,
    difficulties: Sequence[str] = ("easy", "moderate", "hard"),
    min_overlap: str | Mapping[str, Mapping[str, float]] | None = None,
    official_grid: bool = False,
    frame_ids: Sequence[str] | None = None,
) -> Evaluation:
    """`evaluate` for frames whose IoU is already computed (`build_scenes`)."""
    chosen = _names_of("classes", classes, CLASSES)
    levels = _names_of("difficulties", difficulties, tuple(DIFFICULTIES))
    limits = resolve_overlap(chosen, min_overlap)
    wanted = [
        (class_name, view, level)
        for class_name in chosen
        for level in levels
        for view in GEOMETRY
        if view == "bbox" or not scenes.lacks_boxes_3d(class_name)
    ]

    def tally(chunk: int, chunks: int) -> list[Tally]:
        mine = wanted[chunk::chunks]
        return [tally_scenes(scenes, name, level, view, limits[name][view]) for name, view, level in mine]

    by_chunk = in_chunks(tally, len(wanted), None)
    tallies, curves = {}, {}
    once = np.ones((1, len(scenes)), np.int64)
    for i, (class_name, view, level) in enumerate(wanted):
        found = by_chunk[i % len(by_chunk)][i // len(by_chunk)]
        precision, similarity, count = found.curves(once, official_grid)
        tallies[class_name, view, level] = found
        curves[class_name, view, level] = PrecisionCurve(precision[0], int(count[0]))
        if view == "bbox" and not scenes.lacks_angles(class_name):
            curves[class_name, "aos", level] = PrecisionCurve(similarity[0], int(count[0]))
    ids = tuple(frame_ids) if frame_ids is not None else tuple(str(i) for i in range(len(scenes)))
    return Evaluation(chosen, levels, scenes.depth_range, limits, official_grid, ids, scenes, curves, tallies)


def _names_of(what: str, names: Sequence[str], known: tuple[str, ...]) -> tuple[str, ...]:
    is_list = isinstance(names, Sequence) and not isinstance(names, str)
    if not is_list or not names or len(set(names)) < len(names) or not set(names) <= set(known):
        raise InputError(f"{what}: found {names}, expected a list of some of {', '.join(known)}, each once")
    return tuple(names)


def evaluate_folders(
    labels_dir: str | Path,
    results_dir: str | Path,
    classes: Sequence[str] = CLASSES,
    difficulties: Sequence[str] = ("easy", "moderate", "hard"),
    depth_range: tuple[float, float] | None = None,
    min_overlap: str | Mapping[str, Mapping[str, float]] | None = None,
    official_grid: bool = False,
    split_file: str | Path | None = None,
    missing_results: str = "error",
) -> Evaluation:
    """Evaluate a folder of result files: `read_folders`, then `evaluate` with the same arguments.

    Logs a warning where the protocol leaves out nearly all detections, see `left_out`.
    """
    frame_ids, labels, results = read_folders(labels_dir, results_dir, split_file, missing_results)
    evaluation = evaluate(labels, results, classes, difficulties, depth_range, min_overlap, official_grid, frame_ids)
    notice = left_out(results.objects, evaluation.classes, evaluation.difficulties)
    if notice is not None:
        logger.warning("%s: %s", results_dir, notice)
    return evaluation


def left_out(results: Objects, classes: Sequence[str], difficulties: Sequence[str]) -> str | None:
    """A warning if nearly all 2D boxes are too low for the protocol, or some have no height; else None.

    KITTI ignores detections below a difficulty's least height in the image, in bird's eye view and 3D as well: without
    2D boxes, results find nothing in any view.
    """
    box2d = results.box2d[np.isin(results.class_name, classes)]
    height = np.abs(box2d[:, 3] - box2d[:, 1])
    least = min(DIFFICULTIES[name].min_height_px for name in difficulties)
    low, flat = int((height < least).sum()), int((height == 0).sum())
    if not low or (low < _NEARLY_ALL * len(height) and not flat):
        return None
    why = f"{flat} have none (height 0)" if flat else "are these boxes in px of the left image?"
    return (
        f"{low} of {len(height)} detections are left out in every view, as KITTI's protocol has it, since their 2D "
        f"boxes are lower than {least:g} px: {why} (difficulties=[all] has no such limit)"
    )


class Outcome(NamedTuple):
    """One object or one false detection, in one view (bbox, bev or 3d) and difficulty.

    Attributes:
        outcome: matched, missed or false.
        label_line: of the object in its label file, from 1; None for a false detection.
        result_line: of the detection in its result file, from 1; None for a missed object.
        iou: of the two; for a missed object the largest with a detection of its class, for a false detection the
            largest with an object of its class.
        score: of the detection, None for a missed object.
    """

    frame: str
    class_name: str
    view: str
    difficulty: str
    outcome: str
    label_line: int | None
    result_line: int | None
    iou: float
    score: float | None


def object_outcomes(evaluation: Evaluation) -> Iterator[Outcome]:
    """Outcomes when all detections are kept, whatever their score.

    Objects and detections that are neither right nor wrong (too hard for the difficulty, of a neighbouring class, in a
    DontCare region) are left out: matched and missed together are the objects that count. An object that counts, but
    whose best match is ignored for its height, is missed.
    """
    scenes, ids = evaluation.scenes, evaluation.frame_ids
    labels, detections = scenes.labels, scenes.detections
    score = detections.objects.score
    assert score is not None
    label_frame, detection_frame = labels.frame, detections.frame
    for (class_name, view, level), tally in evaluation.tallies.items():
        label_state = scenes.label_states(class_name, DIFFICULTIES[level])
        detection_state = scenes.detection_states(class_name, DIFFICULTIES[level])
        least, geometry = evaluation.min_overlap[class_name][view], GEOMETRY[view]
        partner = tally.partner
        label_iou, detection_iou = largest_iou(
            labels.start, detections.start, scenes.pair_start, scenes.iou[geometry],
            label_state, detection_state, partner,
        )  # fmt: skip
        is_false = (detection_state == COUNTS) & (scenes.region_cover[geometry] <= least)
        is_false[partner[partner >= 0]] = False
        what = class_name, view, level
        for i in np.flatnonzero(label_state == COUNTS).tolist():
            j = int(partner[i])
            place, line, iou = (ids[label_frame[i]], *what), int(labels.line[i]), float(label_iou[i])
            if j >= 0 and detection_state[j] == COUNTS:
                yield Outcome(*place, "matched", line, int(detections.line[j]), iou, float(score[j]))
            else:
                yield Outcome(*place, "missed", line, None, iou, None)
        for j in np.flatnonzero(is_false).tolist():
            line, iou = int(detections.line[j]), float(detection_iou[j])
            yield Outcome(ids[detection_frame[j]], *what, "false", None, line, iou, float(score[j]))
