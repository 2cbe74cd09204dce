"""One frame as a picture or a 3D scene: python scripts/view.py data=DIR frame=000012 [results=DIR] [disparity=PATH]."""

from pathlib import Path

import hydra
import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from pseudolidar.cloud import disparity_to_points
from pseudolidar.command_line import clear_errors
from pseudolidar.files import FormatError
from pseudolidar.kitti import Frame, ObjectDataset, Objects, disparity_path, read_disparity, read_objects
from pseudolidar.viewing import frame_figure, require_figure_path, save_figure, show_scene


@hydra.main(version_base="1.3", config_path="../configs", config_name="view")
def main(config: DictConfig) -> None:
    """Draw the frame, say where the picture is; the user's mistakes end in one line and exit code 2."""
    with clear_errors():
        _run(config)


def _run(config: DictConfig) -> None:
    if not config.interactive:
        require_figure_path(config.output)
    # A frame id on the command line may arrive as a number: frame=12.
    frame = ObjectDataset(config.data).frame(f"{config.frame:06d}" if isinstance(config.frame, int) else config.frame)
    calibration, image = frame.calibration, frame.left_image()
    truth = frame.objects() if frame.path("label_2").is_file() else Objects.empty()
    detections = _detections(config, frame)
    clouds: dict[str, NDArray[np.floating]] = {}
    if frame.path("velodyne").is_file():
        clouds["LiDAR"] = frame.velodyne()
    disparity = None
    if config.disparity is not None:
        path = Path(config.disparity)
        path = disparity_path(path, frame.frame_id) if path.is_dir() else path
        disparity = read_disparity(path)
        if disparity.shape != image.shape[:2]:
            height, width = disparity.shape
            expected = f"{image.shape[1]} x {image.shape[0]} px, the size of the left image"
            raise FormatError(path, "map size", f"{width} x {height} px", expected)
        clouds["disparity"] = disparity_to_points(disparity, calibration, max_height=config.max_height)
    if config.interactive:
        if not clouds:
            raise FormatError(frame.path("velodyne"), "file", "nothing there", "a cloud to show, or disparity=PATH")
        show_scene(f"frame {frame.frame_id}", list(clouds.values())[-1], truth, detections, calibration)
        return
    title = f"frame {frame.frame_id}, left image"
    figure = frame_figure(title, image, calibration, truth, detections, disparity, clouds, config.max_depth)
    save_figure(figure, config.output)
    print(f"written to {config.output}")


def _detections(config: DictConfig, frame: Frame) -> Objects | None:
    if config.results is None:
        return None
    detections = read_objects(Path(config.results) / f"{frame.frame_id}.txt", scored=True)
    if config.min_score is None or detections.score is None:
        return detections
    return detections[np.flatnonzero(detections.score >= config.min_score)]


if __name__ == "__main__":
    main()
