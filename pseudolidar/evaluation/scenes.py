"""Labels and detections of many frames in flat arrays, with every overlap computed once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pseudolidar.evaluation.matching import ABSENT, COUNTS, IGNORED
from pseudolidar.evaluation.overlap import BBOX, BEV, BOX_3D, paired_overlaps
from pseudolidar.evaluation.protocol import NEUTRAL, Difficulty
from pseudolidar.kitti import Objects

NO_ANGLE = -10.0
"""KITTI's mark for an observation angle that is not given."""

NO_PLACE = -1000.0
"""KITTI's mark, in x, for a 3D box that is not given."""


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Overlaps of one geometry.

    Attributes:
        pair_start: int64 (F + 1,), where each frame's matrix begins.
        pairs: float64, flat: intersection over union of each object with each detection of its frame.
        region_cover: float64 (D,), the largest share of each detection that one DontCare region covers.
    """

    pair_start: NDArray[np.int64]
    pairs: NDArray[np.float64]
    region_cover: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scenes:
    """F frames: objects (without DontCare regions), detections, and their overlaps.

    Attributes:
        labels: G objects of all frames; frame f's are label_start[f] to label_start[f + 1].
        detections: D detections of all frames; frame f's are detection_start[f] to detection_start[f + 1].
        overlaps: by geometry (BBOX, BEV, BOX_3D).
    """

    labels: Objects
    label_start: NDArray[np.int64]
    detections: Objects
    detection_start: NDArray[np.int64]
    overlaps: dict[int, Overlaps]

    def __len__(self) -> int:
        return len(self.label_start) - 1

    def label_states(self, class_name: str, difficulty: Difficulty) -> NDArray[np.int8]:
        """COUNTS, IGNORED (too hard, or of the neighbouring class) or ABSENT for each object, int8 (G,)."""
        labels = self.labels
        too_hard = (
            (labels.occlusion > difficulty.max_occlusion)
            | (labels.truncation > difficulty.max_truncation)
            | (labels.box2d[:, 3] - labels.box2d[:, 1] < difficulty.min_height_px)
        )
        states = np.full(len(labels), ABSENT, np.int8)
        of_class = labels.class_name == class_name
        states[of_class & ~too_hard] = COUNTS
        states[of_class & too_hard] = IGNORED
        states[labels.class_name == NEUTRAL.get(class_name)] = IGNORED
        return states

    def detection_states(self, class_name: str, difficulty: Difficulty) -> NDArray[np.int8]:
        """COUNTS, IGNORED (too small, of any class, as in the official tool) or ABSENT, int8 (D,)."""
        box2d = self.detections.box2d
        states = np.where(self.detections.class_name == class_name, COUNTS, ABSENT)
        states[np.abs(box2d[:, 3] - box2d[:, 1]) < difficulty.min_height_px] = IGNORED
        return states.astype(np.int8)

    def lacks_angles(self, class_name: str) -> bool:
        """Whether a detection of a class comes without its observation angle: no orientation similarity then."""
        of_class = self.detections.class_name == class_name
        return bool((self.detections.alpha[of_class] == NO_ANGLE).any())

    def lacks_boxes_3d(self, class_name: str) -> bool:
        """Whether there are detections of a class, and none of them has a 3D box."""
        of_class = self.detections.class_name == class_name
        return bool(of_class.any() and (self.detections.box3d[of_class, 0] == NO_PLACE).all())


def build_scenes(
    labels: Sequence[Objects], results: Sequence[Objects], depth_range: tuple[float, float] | None
) -> Scenes:
    """Lay out frames and compute their overlaps.

    Args:
        labels: ground truth by frame.
        results: detections by frame, in the same order.
        depth_range: (near, far] in m: only objects and detections with near < z <= far take part. DontCare regions
            carry z = -1 or -1000 for a depth and drop out, which is how the reference numbers came about.

    Raises:
        ValueError: unequal numbers of frames, detections without scores, NaN in a box or score.
    """
    if len(labels) != len(results):
        raise ValueError(f"results: found {len(results)} frames, expected {len(labels)}, as many as labels")
    kept_labels, kept_regions, kept_results = [], [], []
    for frame, (truth, found) in enumerate(zip(labels, results, strict=True)):
        if found.score is None:
            if len(found):
                raise ValueError(f"results of frame {frame}: found no scores, expected one for each detection")
            found = Objects.empty(scored=True)
        in_range = _within(truth, depth_range)
        is_region = in_range.class_name == "DontCare"
        kept_regions.append(in_range[is_region])
        kept_labels.append(in_range[~is_region])
        kept_results.append(_within(found, depth_range))
    all_labels, label_start = _stack(kept_labels, scored=False)
    regions, region_start = _stack(kept_regions, scored=False)
    detections, detection_start = _stack(kept_results, scored=True)
    for what, objects in (("labels", all_labels), ("results", detections)):
        for name in ("box2d", "box3d", "alpha", "score"):
            column = getattr(objects, name)
            if column is not None and not np.isfinite(column).all():
                raise ValueError(f"{what}: found NaN or infinity in {name}, expected finite numbers")
    overlaps = {}
    for geometry in (BBOX, BEV, BOX_3D):
        detection_boxes = (detection_start, detections.box2d, detections.box3d)
        region_boxes = (region_start, regions.box2d, regions.box3d)
        label_boxes = (label_start, all_labels.box2d, all_labels.box3d)
        pair_start, pairs = paired_overlaps(geometry, False, *label_boxes, *detection_boxes)
        _, cover = paired_overlaps(geometry, True, *detection_boxes, *region_boxes)
        overlaps[geometry] = Overlaps(pair_start, pairs, _largest(cover, detection_start, region_start))
    return Scenes(all_labels, label_start, detections, detection_start, overlaps)


def _within(objects: Objects, depth_range: tuple[float, float] | None) -> Objects:
    if depth_range is None:
        return objects
    near, far = depth_range
    z = objects.box3d[:, 2]
    return objects[(near < z) & (z <= far)]


def _stack(parts: list[Objects], scored: bool) -> tuple[Objects, NDArray[np.int64]]:
    start = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=start[1:])
    return Objects.concatenate([Objects.empty(scored), *parts]), start


def _largest(
    cover: NDArray[np.float64], detection_start: NDArray[np.int64], region_start: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The largest value of each detection's row of region covers, 0 where its frame has no region."""
    detections_in, regions_in = np.diff(detection_start), np.diff(region_start)
    largest = np.zeros(detection_start[-1])
    width = np.repeat(regions_in, detections_in)
    row_start = np.cumsum(width) - width
    # reduceat reduces from each given start to the next one: rows without any region are left out.
    has_regions = width > 0
    if has_regions.any():
        largest[has_regions] = np.maximum.reduceat(cover, row_start[has_regions])
    return largest
