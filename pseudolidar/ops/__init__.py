"""Operations on point sets and rotated boxes: one function each, for every device; nothing to compile."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pseudolidar.ops.box_geometry import points_in_box
    from pseudolidar.ops.grouping import group, interpolate, segment_max
    from pseudolidar.ops.neighbours import ball_query, three_nearest
    from pseudolidar.ops.overlap import bev_iou, bev_iou_axis_aligned, iou_3d
    from pseudolidar.ops.regions import points_in_boxes, roi_pool_points
    from pseudolidar.ops.sampling import furthest_point_sample
    from pseudolidar.ops.suppression import nms

__all__ = [
    "ball_query",
    "bev_iou",
    "bev_iou_axis_aligned",
    "furthest_point_sample",
    "group",
    "interpolate",
    "iou_3d",
    "nms",
    "points_in_box",
    "points_in_boxes",
    "roi_pool_points",
    "segment_max",
    "three_nearest",
]

# Imported when they are asked for: `ops.box_geometry` serves programs that do without PyTorch, slow to import.
_MODULE_OF = {
    "ball_query": "neighbours",
    "bev_iou": "overlap",
    "bev_iou_axis_aligned": "overlap",
    "furthest_point_sample": "sampling",
    "group": "grouping",
    "interpolate": "grouping",
    "iou_3d": "overlap",
    "nms": "suppression",
    "points_in_box": "box_geometry",
    "points_in_boxes": "regions",
    "roi_pool_points": "regions",
    "segment_max": "grouping",
    "three_nearest": "neighbours",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
