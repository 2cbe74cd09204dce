"""KITTI average precision of one set of results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pseudolidar.evaluation.protocol import CLASSES, DIFFICULTIES, VIEWS, resolve_overlap
from pseudolidar.evaluation.scenes import Scenes, build_scenes
from pseudolidar.evaluation.tally import Tally, tally_scenes
from pseudolidar.files import InputError
from pseudolidar.kernels import in_chunks
from pseudolidar.kitti import Objects

METRICS = ("AP11", "AP40")
"""Mean precision, in percent, at recall 0, 0.1, ..., 1 (AP11) and at recall 1/40, 2/40, ..., 1 (AP40)."""


@dataclass(frozen=True, eq=False)
class PrecisionCurve:
    """Precision of one class at one difficulty in one view.

    Attributes:
        precision: float64 (41,), the best precision at recall i/40 or more, 0 where that recall is not reached; for
            `aos` the orientation similarity instead.
        object_count: how many objects count.
    """

    precision: NDArray[np.float64]
    object_count: int

    @property
    def ap11(self) -> float:
        """Mean over recall 0, 0.1, ..., 1, percent; NaN where there is no object."""
        return float(self.precision[::4].mean()) * 100.0 if self.object_count else float("nan")

    @property
    def ap40(self) -> float:
        """Mean over recall 1/40, 2/40, ..., 1, percent; NaN where there is no object."""
        return float(self.precision[1:].mean()) * 100.0 if self.object_count else float("nan")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Average precision of one set of results.

    A class that has no object at a difficulty has no average precision there: NaN here, null in JSON, never 0. The
    same goes for `aos` where a detection of the class gives no angle (alpha -10), and for `bev` and `3d` where all
    detections of the class are 2D boxes only (x -1000): the official tool leaves these out, too.

    Attributes:
        classes, difficulties: names, in the order of the tables.
        depth_range: (near, far] in m, None for any depth.
        min_overlap: by class and view (bbox, bev, 3d).
        official_grid: see `recall_thresholds`.
        frame_ids: of the frames that were evaluated.
        scenes: these frames.
        curves: by (class, view, difficulty); what the official tool leaves out has no curve.
        tallies: by (class, view, difficulty), the view being bbox, bev or 3d: the same for any choice of the frames.
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

    def ap(self, class_name: str, view: str, difficulty: str, metric: str = "AP40") -> float:
        """Average precision, percent, or NaN; `metric` is AP40 or AP11."""
        if metric not in METRICS:
            raise InputError(f"metric: found {metric!r}, expected one of {', '.join(METRICS)}")
        curve = self.curves.get((class_name, view, difficulty))
        if curve is None:
            return float("nan")
        return curve.ap40 if metric == "AP40" else curve.ap11

    def average_precisions(
        self, weights: NDArray[np.int64], class_name: str, view: str, difficulty: str, metric: str = "AP40"
    ) -> NDArray[np.float64]:
        """Average precision of many choices of the frames.

        Args:
            weights: int64 (R, F), how often each frame is taken in each choice.
            class_name, view, difficulty, metric: as for `ap`.

        Returns:
            float64 (R,), percent; NaN where a choice holds no object, everywhere where `ap` is NaN.
        """
        if metric not in METRICS:
            raise InputError(f"metric: found {metric!r}, expected one of {', '.join(METRICS)}")
        if weights.ndim != 2 or weights.shape[1] != self.frame_count:
            raise ValueError(f"weights: found shape {weights.shape}, expected (R, {self.frame_count})")
        if (class_name, view, difficulty) not in self.curves:
            return np.full(len(weights), np.nan)
        is_similarity = view == "aos"
        tally = self.tallies[class_name, "bbox" if is_similarity else view, difficulty]
        return tally.average_precisions(weights, self.official_grid)[:, int(is_similarity), METRICS.index(metric)]

    def to_dict(self) -> dict[str, dict[str, dict[str, list[float | None]]]]:
        """{class: {view: {"AP11": [one number a difficulty], "AP40": [...]}}}, None where there is no number."""
        return {
            class_name: {
                view: {
                    metric: [
                        None if np.isnan(value) else value
                        for value in (self.ap(class_name, view, name, metric) for name in self.difficulties)
                    ]
                    for metric in METRICS
                }
                for view in VIEWS
            }
            for class_name in self.classes
        }


def precision_curves(
    scenes: Scenes,
    class_name: str,
    difficulty: str,
    view: str,
    min_overlap: float,
    frames: NDArray[np.int64] | None = None,
    official_grid: bool = False,
) -> tuple[PrecisionCurve, PrecisionCurve]:
    """Curves of precision and of orientation similarity.

    Args:
        scenes: frames with their overlaps.
        class_name, difficulty, view: what is scored.
        min_overlap: intersection over union that a match must exceed.
        frames: int64, the frames to score, a frame as often as it is named; None for each frame once.
        official_grid: see `recall_thresholds`.
    """
    weights = None if frames is None else np.bincount(frames, minlength=len(scenes))
    tally = tally_scenes(scenes, class_name, difficulty, view, min_overlap)
    (precision, similarity), object_count = tally.curves(weights, official_grid)
    return PrecisionCurve(precision, object_count), PrecisionCurve(similarity, object_count)


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
        labels: ground truth, one per frame.
        results: detections with scores, one per frame in the same order.
        classes: of Car, Pedestrian, Cyclist.
        difficulties: of easy, moderate, hard, all.
        depth_range: (near, far] in m; only objects and detections with near < z <= far take part.
        min_overlap: by class and view (bbox, bev, 3d), intersection over union that a match must exceed; what is left
            out is as in the benchmark. Or "loose", the second set that KITTI tools print.
        official_grid: also with fewer than 41 objects the official tool's recall grid (see `recall_thresholds`).
        frame_ids: by which the frames are known, for instance in `object_outcomes`; None numbers them from 0.

    Raises:
        ValueError: an unknown class or difficulty, a range or overlap that makes no sense, unequal numbers of frames.
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
    """`evaluate` for frames whose overlaps are there already, as `build_scenes` makes them."""
    chosen = _names_of("classes", classes, CLASSES)
    levels = _names_of("difficulties", difficulties, tuple(DIFFICULTIES))
    limits = resolve_overlap(chosen, min_overlap)
    wanted = [
        (class_name, view, level)
        for class_name in chosen
        for level in levels
        for view in ("bbox", "bev", "3d")
        if view == "bbox" or not scenes.lacks_boxes_3d(class_name)
    ]

    def tally(chunk: int, chunks: int) -> list[Tally]:
        mine = wanted[chunk::chunks]
        return [tally_scenes(scenes, name, level, view, limits[name][view]) for name, view, level in mine]

    by_chunk = in_chunks(tally, len(wanted), None)
    tallies, curves = {}, {}
    for i, (class_name, view, level) in enumerate(wanted):
        found = by_chunk[i % len(by_chunk)][i // len(by_chunk)]
        (precision, similarity), count = found.curves(official_grid=official_grid)
        tallies[class_name, view, level] = found
        curves[class_name, view, level] = PrecisionCurve(precision, count)
        if view == "bbox" and not scenes.lacks_angles(class_name):
            curves[class_name, "aos", level] = PrecisionCurve(similarity, count)
    ids = tuple(frame_ids) if frame_ids is not None else tuple(str(i) for i in range(len(scenes)))
    return Evaluation(chosen, levels, scenes.depth_range, limits, official_grid, ids, scenes, curves, tallies)


def _names_of(what: str, names: Sequence[str], known: tuple[str, ...]) -> tuple[str, ...]:
    is_list = isinstance(names, Sequence) and not isinstance(names, str)
    if not is_list or not names or len(set(names)) < len(names) or not set(names) <= set(known):
        raise InputError(f"{what}: found {names}, expected a list of some of {', '.join(known)}, each once")
    return tuple(names)
