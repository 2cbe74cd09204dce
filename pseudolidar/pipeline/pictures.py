"""What the picture of a frame's detections shows, and says."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pseudolidar.detectors.boxes2d import Boxes2d
from pseudolidar.kitti import Calibration, Frame, Objects
from pseudolidar.pipeline.models import Models
from pseudolidar.viewing import Detections


@dataclass(frozen=True)
class Drawing:
    """Limits of what the pictures show; result files hold everything.

    Attributes:
        frustum_score, pointrcnn_score: lowest score of an object that is drawn, a log probability and a logit.
        box2d_score: lowest score of a 2D box, a probability; objects from weaker boxes are not drawn either.
        max_depth: how far the cloud is shown, m.
    """

    frustum_score: float
    pointrcnn_score: float
    box2d_score: float
    max_depth: float


@dataclass(frozen=True)
class FrameResult:
    """What was found in a frame, and where.

    Attributes:
        left: uint8 (H, W, 3) RGB.
        truth: labels; None where there are none.
        boxes2d: all that there were to start from.
        by_model: the objects that each detector found, by its name.
        points: the dense cloud, float32 (N, 4) in the velodyne frame; None if nothing is drawn.
    """

    left: NDArray[np.uint8]
    calibration: Calibration
    truth: Objects | None
    boxes2d: Boxes2d
    by_model: Mapping[str, Objects]
    points: NDArray[np.float32] | None


def picture_of(
    models: Models, frame: Frame, result: FrameResult, drawing: Drawing, boxes_name: str | None
) -> tuple[str, list[str], Detections, float]:
    """The arguments of `viewing.detections_figure`; `boxes_name` says where 2D boxes came from, if any were used."""
    drawn, drawn_boxes = _drawn(models, result, drawing)
    lines = _header(models, frame, result, drawing, boxes_name, sum(map(len, result.by_model.values())) - len(drawn))
    assert result.points is not None
    sheet = Detections(result.left, result.calibration, drawn, result.truth, drawn_boxes, result.points)
    return frame.frame_id, lines, sheet, drawing.max_depth


def _drawn(models: Models, result: FrameResult, drawing: Drawing) -> tuple[Objects, dict[str, NDArray[np.float64]]]:
    """The objects that reach the scores of the drawing, and the 2D boxes (N, 4) by class that do."""
    boxes2d = result.boxes2d
    strong = boxes2d if boxes2d.score is None else boxes2d[boxes2d.score >= drawing.box2d_score]
    drawn: list[Objects] = []
    drawn_boxes: dict[str, NDArray[np.float64]] = {}
    for name, objects in result.by_model.items():
        detector, lowest = models.detectors[name], drawing.pointrcnn_score
        if detector.starts_from_boxes2d:
            # An object keeps the box that it was found in.
            objects = objects[(objects.box2d[:, None] == strong.box2d[None]).all(axis=2).any(axis=1)]
            lowest = drawing.frustum_score
            drawn_boxes |= {name: strong.of_classes((name,)).box2d for name in detector.class_names}
        drawn.append(objects if objects.score is None else objects[objects.score >= lowest])
    return Objects.concatenate(drawn), drawn_boxes


def _header(
    models: Models, frame: Frame, result: FrameResult, drawing: Drawing, boxes_name: str | None, not_drawn: int
) -> list[str]:
    height, width = result.left.shape[:2]
    limits = []
    if any(not detector.starts_from_boxes2d for detector in models.detectors.values()):
        limits.append(f"PointRCNN {drawing.pointrcnn_score:g} (logit)")
    if boxes_name is not None:
        limits.append(f"Frustum PointNet {drawing.frustum_score:g} (log probability)")
        limits.append(f"2D boxes {drawing.box2d_score:g}")
    rest = f"; {not_drawn} objects below, in the result file alone" if not_drawn else ""
    names = [f"disparity: {models.disparity_name}", f"detectors: {', '.join(models.detectors)}"]
    if boxes_name is not None:
        names.insert(1, f"2D boxes: {boxes_name}")
    return [
        f"{frame.path('image_2').name}, {width} × {height} px, focal length "
        f"{result.calibration.focal_px:.1f} px, baseline {result.calibration.baseline_m:.3f} m",
        "  ·  ".join(names),
        f"lowest score drawn: {', '.join(limits)}{rest}".replace("-", "\N{MINUS SIGN}"),
    ]
