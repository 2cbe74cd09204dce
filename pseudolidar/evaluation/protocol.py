"""The rules of KITTI's object benchmark: classes and their neighbours, views, difficulties, overlaps, recall grid."""

from collections.abc import Mapping
from dataclasses import dataclass

from pseudolidar.evaluation.overlap import BBOX, BEV, BOX_3D
from pseudolidar.files import InputError

CLASSES = ("Car", "Pedestrian", "Cyclist")
"""The classes that KITTI scores."""

NEUTRAL = {"Car": "Van", "Pedestrian": "Person_sitting"}
"""To find an object of the neighbouring class is neither right nor wrong."""

VIEWS = ("bbox", "aos", "bev", "3d")
"""2D box, 2D box weighted with the orientation (average orientation similarity), bird's eye view, 3D box."""

GEOMETRY = {"bbox": BBOX, "aos": BBOX, "bev": BEV, "3d": BOX_3D}
"""Which overlap decides whether a detection matches in a view."""

RECALL_POINTS = 41
"""Recall 0, 1/40, ..., 1."""


@dataclass(frozen=True)
class Difficulty:
    """Which objects of a class count; the others are ignored: to find them is neither right nor wrong.

    Attributes:
        min_height_px: objects, and detections, of less height in the image are ignored.
        max_occlusion: objects of a higher occlusion level are ignored.
        max_truncation: objects of which a larger share lies outside of the image are ignored.
    """

    min_height_px: float
    max_occlusion: float
    max_truncation: float


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
"""Intersection over union that a match must exceed, as the benchmark has it."""

LOOSE_OVERLAP = {
    "Car": {"bbox": 0.7, "bev": 0.5, "3d": 0.5},
    "Pedestrian": {"bbox": 0.5, "bev": 0.25, "3d": 0.25},
    "Cyclist": {"bbox": 0.5, "bev": 0.25, "3d": 0.25},
}
"""The second, looser set that KITTI tools print beside the benchmark's."""

OVERLAP_SETS = {"standard": STANDARD_OVERLAP, "loose": LOOSE_OVERLAP}
"""Both by name."""


def resolve_overlap(
    classes: tuple[str, ...], min_overlap: str | Mapping[str, Mapping[str, float]] | None
) -> dict[str, dict[str, float]]:
    """Fill what `min_overlap`, IoUs or the name of a set, leaves out from `STANDARD_OVERLAP`; `aos` goes with `bbox`.

    Raises:
        InputError: an unknown name, an unknown class, an unknown view, a number outside of [0, 1).
    """
    if isinstance(min_overlap, str):
        if min_overlap not in OVERLAP_SETS:
            expected = f"{', '.join(OVERLAP_SETS)} or IoUs by class and view"
            raise InputError(f"min_overlap: found {min_overlap!r}, expected {expected}")
        min_overlap = OVERLAP_SETS[min_overlap]
    resolved = {name: dict(STANDARD_OVERLAP[name]) for name in classes}
    if not isinstance(min_overlap or {}, Mapping):
        raise InputError(f"min_overlap: found {min_overlap!r}, expected IoUs by class and view")
    for class_name, by_view in (min_overlap or {}).items():
        if class_name not in CLASSES:
            raise InputError(f"min_overlap: found class {class_name!r}, expected one of {', '.join(CLASSES)}")
        if not isinstance(by_view, Mapping):
            raise InputError(f"min_overlap of {class_name}: found {by_view!r}, expected IoUs by view (bbox, bev, 3d)")
        for view, value in by_view.items():
            if view not in STANDARD_OVERLAP[class_name]:
                raise InputError(f"min_overlap of {class_name}: found view {view!r}, expected bbox, bev or 3d")
            if not (isinstance(value, int | float) and 0.0 <= value < 1.0):
                raise InputError(f"min_overlap of {class_name}, {view}: found {value!r}, expected a number in [0, 1)")
            if class_name in resolved:
                resolved[class_name][view] = float(value)
    return resolved
