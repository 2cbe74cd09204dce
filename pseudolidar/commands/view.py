"""One frame as a picture or a 3D scene.

pseudolidar view data=DIR frame=000012 [results=DIR] [disparity=PATH]
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pseudolidar.cloud import disparity_to_points
from pseudolidar.files import FormatError
from pseudolidar.kitti import Frame, Objects, disparity_path, find_frame, read_disparity, read_objects
from pseudolidar.viewing import frame_figure, require_figure_path, save_figure, show_scene


def main(
    *,
    data: Path,
    frame: str,
    results: Path | None,
    min_score: float | None,
    disparity: Path | None,
    max_height: float,
    max_depth: float,
    output: Path,
    interactive: bool,
) -> None:
    """Draw the frame, say where the picture is."""
    if not interactive:
        require_figure_path(output)
    shown = find_frame(data, frame)
    calibration, image = shown.calibration, shown.left_image()
    truth = shown.objects() if shown.path("label_2").is_file() else Objects.empty()
    detections = _detections(results, min_score, shown)
    clouds: dict[str, NDArray[np.floating]] = {}
    if shown.path("velodyne").is_file():
        clouds["LiDAR"] = shown.velodyne()
    disparity_map = None
    if disparity is not None:
        path = disparity_path(disparity, shown.frame_id) if disparity.is_dir() else disparity
        disparity_map = read_disparity(path)
        if disparity_map.shape != image.shape[:2]:
            height, width = disparity_map.shape
            expected = f"{image.shape[1]} x {image.shape[0]} px, the size of the left image"
            raise FormatError(path, "map size", f"{width} x {height} px", expected)
        clouds["disparity"] = disparity_to_points(disparity_map, calibration, max_height=max_height)
    if interactive:
        if not clouds:
            raise FormatError(shown.path("velodyne"), "file", "nothing there", "a cloud to show, or disparity=PATH")
        show_scene(f"frame {shown.frame_id}", list(clouds.values())[-1], truth, detections, calibration)
        return
    title = f"frame {shown.frame_id}, left image"
    figure = frame_figure(title, image, calibration, truth, detections, disparity_map, clouds, max_depth)
    save_figure(figure, output)
    print(f"written to {output}")


def _detections(results: Path | None, min_score: float | None, frame: Frame) -> Objects | None:
    if results is None:
        return None
    detections = read_objects(results / f"{frame.frame_id}.txt", scored=True)
    if min_score is None or detections.score is None:
        return detections
    return detections[np.flatnonzero(detections.score >= min_score)]
