"""All data of one frame on one sheet: image with boxes, disparity, clouds from above."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pseudolidar.kitti import Calibration, Objects
from pseudolidar.viewing.birds_eye import birds_eye_figure
from pseudolidar.viewing.boxes import draw_boxes3d, enlarge
from pseudolidar.viewing.canvas import PAGE_WIDTH_IN, axes_at, drawing_style, figure_to_rgb, new_figure, show_picture
from pseudolidar.viewing.colours import DETECTION, TRUTH
from pseudolidar.viewing.disparity import colourise_disparity, disparity_bar, shown_disparity

_TITLE_IN = 0.3
_BAR_IN = 0.72


def boxes_on_image(
    image: NDArray[np.uint8], truth: Objects, detections: Objects | None, calibration: Calibration
) -> NDArray[np.uint8]:
    """The left image with ground truth and, over them, detected 3D boxes (rectified camera frame).

    Image and result are uint8 (H, W, 3) RGB; small images are enlarged by a whole factor to at least 1200 px wide.
    """
    large, scaled = enlarge(image, calibration)
    drawn = draw_boxes3d(large, truth, scaled, TRUTH)
    return drawn if detections is None else draw_boxes3d(drawn, detections, scaled, DETECTION)


def frame_figure(
    title: str,
    image: NDArray[np.uint8],
    calibration: Calibration,
    truth: Objects,
    detections: Objects | None,
    disparity: NDArray[np.floating] | None,
    clouds: Mapping[str, NDArray[np.floating]],
    max_depth: float,
) -> Figure:
    """The left image with boxes, the disparity map if there is one, the clouds from above; 10 inches wide.

    Args:
        image: uint8 (H, W, 3) RGB.
        truth: labels; `Objects.empty()` where there are none.
        detections: results with scores, drawn into every panel; None where there are none.
        disparity: (H, W) px, 0 where unknown.
        clouds: source -> points (N, >= 3) in the velodyne frame, m.
        max_depth: how far the clouds are shown, m.
    """
    picture_in = PAGE_WIDTH_IN * image.shape[0] / image.shape[1]
    height = _TITLE_IN + picture_in
    if disparity is not None:
        height += _TITLE_IN + picture_in + _BAR_IN
    above: Figure | None = None
    if clouds:
        found = {} if detections is None else dict.fromkeys(clouds, detections)
        above = birds_eye_figure(clouds, truth, found, calibration, (image.shape[0], image.shape[1]), max_depth)
        height += above.get_figheight() + 0.1
    with drawing_style():
        figure = new_figure(height)
        axes = axes_at(figure, 0.0, _TITLE_IN, PAGE_WIDTH_IN, picture_in)
        show_picture(axes, boxes_on_image(image, truth, detections, calibration), title)
        top = _TITLE_IN + picture_in
        if disparity is not None:
            end = shown_disparity([disparity])
            axes = axes_at(figure, 0.0, top + _TITLE_IN, PAGE_WIDTH_IN, picture_in)
            show_picture(axes, colourise_disparity(disparity, end), "disparity")
            top += _TITLE_IN + picture_in
            disparity_bar(axes_at(figure, 0.15, top + 0.28, 5.0, 0.13), calibration, end)
            top += _BAR_IN
        if above is not None:
            show_picture(axes_at(figure, 0.0, top + 0.1, PAGE_WIDTH_IN, above.get_figheight()), figure_to_rgb(above))
    return figure
