"""Operations on point sets and rotated boxes: one function each, for every device; nothing to compile."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pseudolidar.ops.box_geometry import points_in_box

if TYPE_CHECKING:
    from pseudolidar.ops.boxes import (
        bev_iou,
        bev_iou_axis_aligned,
        iou_3d,
        nms,
        nms_best_first,
        points_in_boxes,
        roi_pool_points,
    )  # fmt: skip
    from pseudolidar.ops.point_sets import (
        ball_query,
        furthest_point_sample,
        group,
        interpolate,
        segment_max,
        three_nearest,
    )  # fmt: skip

__all__ = [
    "ball_query", "bev_iou", "bev_iou_axis_aligned", "furthest_point_sample", "group", "interpolate", "iou_3d", "nms",
    "nms_best_first", "points_in_box", "points_in_boxes", "roi_pool_points", "segment_max", "three_nearest",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # Imported when they are asked for: `ops.box_geometry` serves programs that do without PyTorch, slow to import.
    if name in __all__:
        for module in ("boxes", "point_sets"):
            found = getattr(import_module(f"{__name__}.{module}"), name, None)
            if found is not None:
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
