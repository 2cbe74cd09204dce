"""The rules of KITTI's object benchmark: classes and their neighbours, views, difficulties, least IoU, recall grid."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pseudolidar.evaluation.iou import BBOX, BEV, BOX_3D
from pseudolidar.files import InputError
from pseudolidar.kitti import Objects

CLASSES = ("Car", "Pedestrian", "Cyclist")
"""The classes that KITTI scores."""

NEUTRAL = {"Car": "Van", "Pedestrian": "Person_sitting"}
"""To find an object of the neighbouring class is neither right nor wrong."""

VIEWS = {"bbox": "2D", "aos": "AOS", "bev": "BEV", "3d": "3D"}
"""2D box, 2D box weighted with the orientation (average orientation similarity), bird's eye view, 3D box: the names in
files and settings, and those in tables."""

GEOMETRY = {"bbox": BBOX, "bev": BEV, "3d": BOX_3D}
"""Which IoU decides whether a detection matches in a view; `aos` weights the matches of `bbox`."""

RECALL_POINTS = 41
"""Recall 0, 1/40, ..., 1."""


@dataclass(frozen=True)
class Difficulty:
    """The objects that count; others are ignored: to find them is neither right nor wrong.

    `min_height_px` is the least height in the image, of detections, too. `max_occlusion` is a level, `max_truncation` a
    fraction (see `kitti.Objects`).
    """

    min_height_px: float
    max_occlusion: float
    max_truncation: float

    def counted(self, labels: Objects) -> NDArray[np.bool_]:
        """Which of N labels, of whatever class, count: bool (N,)."""
        height = labels.box2d[:, 3] - labels.box2d[:, 1]
        seen = (labels.occlusion <= self.max_occlusion) & (labels.truncation <= self.max_truncation)
        return seen & (height >= self.min_height_px)


DIFFICULTIES = {
    "easy": Difficulty(40.0, 0, 0.15),
    "moderate": Difficulty(25.0, 1, 0.30),
    "hard": Difficulty(25.0, 2, 0.50),
    "all": Difficulty(-float("inf"), float("inf"), float("inf")),
}
"""KITTI's three difficulties, and `all` without any limit."""

STANDARD_OVERLAP = {
    "Car": {"bbox": 0.7, "bev": 0.7, "3d": 0.7},
    "Pedestrian": {"bbox": 0.5, "bev": 0.5, "3d": 0.5},
    "Cyclist": {"bbox": 0.5, "bev": 0.5, "3d": 0.5},
}
"""IoU that a match must exceed, as the benchmark has it (MIN_OVERLAP in the official tool)."""

LOOSE_OVERLAP = {
    "Car": {"bbox": 0.7, "bev": 0.5, "3d": 0.5},
    "Pedestrian": {"bbox": 0.5, "bev": 0.25, "3d": 0.25},
    "Cyclist": {"bbox": 0.5, "bev": 0.25, "3d": 0.25},
}
"""The second, looser set that KITTI tools print beside the benchmark's."""

_OVERLAP_SETS = {"standard": STANDARD_OVERLAP, "loose": LOOSE_OVERLAP}


def resolve_overlap(
    classes: tuple[str, ...], min_overlap: str | Mapping[str, Mapping[str, float]] | None
) -> dict[str, dict[str, float]]:
    """Fill what `min_overlap`, IoUs or the name of a set, leaves out from `STANDARD_OVERLAP`.

    Raises:
        InputError: an unknown name, class or view, or a number outside of [0, 1).
    """
    if isinstance(min_overlap, str):
        if min_overlap not in _OVERLAP_SETS:
            expected = f"{', '.join(_OVERLAP_SETS)} or IoUs by class and view"
            raise InputError(f"min_overlap: found {min_overlap!r}, expected {expected}")
        min_overlap = _OVERLAP_SETS[min_overlap]
    given = min_overlap or {}
    if not isinstance(given, Mapping):
        raise InputError(f"min_overlap: found {min_overlap!r}, expected IoUs by class and view")
    resolved = {name: dict(STANDARD_OVERLAP[name]) for name in classes}
    for class_name, by_view in given.items():
        if class_name not in CLASSES:
            raise InputError(f"min_overlap: found class {class_name!r}, expected one of {', '.join(CLASSES)}")
        place = f"min_overlap of {class_name}"
        if not isinstance(by_view, Mapping):
            raise InputError(f"{place}: found {by_view!r}, expected IoUs by view (bbox, bev, 3d)")
        for view, value in by_view.items():
            if view not in GEOMETRY:
                raise InputError(f"{place}: found view {view!r}, expected bbox, bev or 3d")
            if not (isinstance(value, int | float) and 0.0 <= value < 1.0):
                raise InputError(f"{place}, {view}: found {value!r}, expected a number in [0, 1)")
            if class_name in resolved:
                resolved[class_name][view] = float(value)
    return resolved
