"""Labels and detections of many frames in flat arrays, with every IoU computed once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pseudolidar.evaluation.iou import fill_iou
from pseudolidar.evaluation.matching import ABSENT, COUNTS, IGNORED
from pseudolidar.evaluation.protocol import NEUTRAL, Difficulty
from pseudolidar.evaluation.reading import StackedObjects, starts_of
from pseudolidar.files import InputError
from pseudolidar.kernels import in_chunks
from pseudolidar.kitti import Objects

# KITTI's marks for an observation angle that is not given, and, in x, for a 3D box that is not given.
_NO_ANGLE = -10.0
_NO_PLACE = -1000.0
_SMALLEST_CHUNK = 4096
"""Pairs of boxes for which a thread is worth its start."""


@dataclass(frozen=True, eq=False)
class Scenes:
    """F frames: G objects (without DontCare regions), D detections, and their IoU.

    Attributes:
        by_score: int64 (D,), each frame's detections by falling score.
        pair_start: int64 (F + 1,), where each frame's matrix of IoU, row-major, begins.
        iou: float64 (3, P), by geometry (BBOX, BEV, BOX_3D): of each object with each detection of its frame.
        region_cover: float64 (3, D), the largest part of each detection that one DontCare region covers, 0 to 1.
        depth_range: (near, far] in m; nothing beyond takes part. None for any depth.
    """

    labels: StackedObjects
    detections: StackedObjects
    by_score: NDArray[np.int64]
    pair_start: NDArray[np.int64]
    iou: NDArray[np.float64]
    region_cover: NDArray[np.float64]
    depth_range: tuple[float, float] | None

    def __len__(self) -> int:
        return len(self.labels)

    def label_states(self, class_name: str, difficulty: Difficulty) -> NDArray[np.int8]:
        """COUNTS, IGNORED (too hard, or of the neighbouring class) or ABSENT for each object, int8 (G,)."""
        labels = self.labels.objects
        counted = difficulty.counted(labels)
        states = np.full(len(labels), ABSENT, np.int8)
        of_class = labels.class_name == class_name
        states[of_class & counted] = COUNTS
        states[of_class & ~counted] = IGNORED
        if class_name in NEUTRAL:
            states[labels.class_name == NEUTRAL[class_name]] = IGNORED
        return states

    def detection_states(self, class_name: str, difficulty: Difficulty) -> NDArray[np.int8]:
        """COUNTS, IGNORED (too small, of any class, as in the official tool) or ABSENT, int8 (D,)."""
        detections = self.detections.objects
        states = np.where(detections.class_name == class_name, np.int8(COUNTS), np.int8(ABSENT))
        states[np.abs(detections.box2d[:, 3] - detections.box2d[:, 1]) < difficulty.min_height_px] = IGNORED
        return states

    def lacks_angles(self, class_name: str) -> bool:
        """Whether any detection of a class comes without its observation angle: no orientation similarity then."""
        detections = self.detections.objects
        return bool((detections.alpha[detections.class_name == class_name] == _NO_ANGLE).any())

    def lacks_boxes_3d(self, class_name: str) -> bool:
        """Whether there are detections of a class, and none of them has a 3D box."""
        detections = self.detections.objects
        of_class = detections.class_name == class_name
        return bool(of_class.any() and (detections.box3d[of_class, 0] == _NO_PLACE).all())


def build_scenes(
    labels: Sequence[Objects], results: Sequence[Objects], depth_range: tuple[float, float] | None
) -> Scenes:
    """Lay out frames and compute their IoU.

    Args:
        labels, results: ground truth and scored detections by frame, in the same order.
        depth_range: (near, far] in m: only objects and detections with near < z <= far take part. DontCare regions
            carry z = -1 or -1000 for a depth and drop out, as they did for the reference numbers.

    Raises:
        ValueError: an impossible range, unequal numbers of frames, detections without scores, NaN in a box or score.
    """
    depth_range = _near_far(depth_range)
    if len(labels) != len(results):
        raise ValueError(f"results: found {len(results)} frames, expected {len(labels)}, as many as labels")
    truth = StackedObjects.stack(labels, scored=False)
    if not isinstance(results, StackedObjects):
        for frame, found in enumerate(results):
            if found.score is None and len(found):
                raise ValueError(f"results of frame {frame}: found no scores, expected one for each detection")
        results = [found if len(found) else Objects.empty(scored=True) for found in results]
    detections = StackedObjects.stack(results, scored=True)
    if depth_range is not None:
        truth, detections = _within(truth, depth_range), _within(detections, depth_range)
    is_region = truth.objects.class_name == "DontCare"
    truth, regions = truth.where(~is_region), truth.where(is_region)
    for what, stacked in (("labels", truth), ("results", detections)):
        for name in ("box2d", "box3d", "alpha", "score"):
            column = getattr(stacked.objects, name)
            if column is not None and not np.isfinite(column).all():
                raise ValueError(f"{what}: found NaN or infinity in {name}, expected finite numbers")
    score = detections.objects.score
    assert score is not None
    pair_start, iou = _pairs(truth, detections, over_first=False)
    _, cover = _pairs(detections, regions, over_first=True)
    largest_cover = _largest(cover, detections.start, np.diff(regions.start))
    by_score = np.lexsort((-score, detections.frame))
    return Scenes(truth, detections, by_score, pair_start, iou, largest_cover, depth_range)


def _within(stacked: StackedObjects, depth_range: tuple[float, float]) -> StackedObjects:
    near, far = depth_range
    z = stacked.objects.box3d[:, 2]
    return stacked.where((near < z) & (z <= far))


def _pairs(a: StackedObjects, b: StackedObjects, over_first: bool) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    pair_start = starts_of(np.diff(a.start) * np.diff(b.start))
    pairs = int(pair_start[-1])
    iou = np.empty((3, pairs))
    boxes = (a.start, a.objects.box2d, a.objects.box3d, b.start, b.objects.box2d, b.objects.box3d)

    def fill(chunk: int, chunks: int) -> None:
        first, end = np.searchsorted(pair_start, (pairs * chunk // chunks, pairs * (chunk + 1) // chunks))
        fill_iou(over_first, first, end, *boxes, pair_start, iou)

    in_chunks(fill, pairs // _SMALLEST_CHUNK, None)
    return pair_start, iou


def _largest(
    cover: NDArray[np.float64], detection_start: NDArray[np.int64], regions_in: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The largest of each detection's region covers, 0 where its frame has no region."""
    largest = np.zeros((len(cover), detection_start[-1]))
    width = np.repeat(regions_in, np.diff(detection_start))
    row_start = np.cumsum(width) - width
    # reduceat reduces from each given start to the next one: rows without any region are left out.
    has_regions = width > 0
    if has_regions.any():
        largest[:, has_regions] = np.maximum.reduceat(cover, row_start[has_regions], axis=1)
    return largest


def _near_far(depth_range: tuple[float, float] | None) -> tuple[float, float] | None:
    if depth_range is None:
        return None
    try:
        near, far = (float(limit) for limit in depth_range)
    except (TypeError, ValueError):
        near, far = 0.0, 0.0
    if not near < far:
        raise InputError(f"depth_range: found {depth_range}, expected [near, far] in m with near < far")
    return near, far
