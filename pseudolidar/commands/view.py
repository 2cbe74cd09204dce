"""Frames as a page of scenes to turn, a Rerun recording, or a picture.

pseudolidar view data=DIR frame=000012 [results=DIR] [clouds=DIR] [disparity=PATH]
"""

import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pseudolidar.cloud import disparity_to_points
from pseudolidar.files import FormatError, InputError, require_output_file
from pseudolidar.kitti import Frame, Objects, disparity_path, find_frame, read_disparity, read_objects, read_points
from pseudolidar.viewing import (
    FIGURE_SUFFIXES,
    Report,
    Scene,
    Scenes,
    Section,
    frame_figure,
    load_rerun,
    save_figure,
    write_recording,
    write_report,
)

Folders = Path | Mapping[str, Path] | None
"""A folder, or several by names of the user's, or none."""

_DETECTOR = "results"


def main(
    *,
    data: Path,
    frame: str | Sequence[str | int],
    results: Folders,
    min_score: float | None,
    clouds: Folders,
    disparity: Folders,
    max_height: float,
    max_depth: float,
    output: Path,
    show: bool,
) -> None:
    """Draw the frames, say where the page, recording or picture is."""
    require_output_file(output, (*FIGURE_SUFFIXES, ".html", ".rrd"), "a figure, a page or a recording")
    names = [frame] if isinstance(frame, str) else [str(name) for name in frame]
    is_figure = output.suffix in FIGURE_SUFFIXES
    given = {"frame": len(names), "results": len(_named(results, "")), "disparity": len(_named(disparity, ""))}
    for setting, count in given.items():
        if is_figure and count > 1:
            raise InputError(f"{setting}: found {count}, expected one for a picture; an .html page or .rrd shows all")
    if output.suffix == ".rrd":
        load_rerun()
    scenes = tuple(
        _scene(
            find_frame(data, name),
            _named(results, "found"),
            min_score,
            _named(clouds, "cloud"),
            _named(disparity, "disparity"),
            max_height,
        )
        for name in names
    )
    if is_figure:
        save_figure(_figure(scenes[0], max_depth), output)
    elif without := [scene.name for scene in scenes if not scene.clouds]:
        raise InputError(f"frame {without[0]}: found no cloud, expected clouds=DIR, disparity=PATH, or LiDAR in {data}")
    elif output.suffix == ".rrd":
        write_recording(scenes, output)
    else:
        block = Scenes(scenes, "Points that the left camera sees, with the labels and what was found.")
        write_report(Report(f"Frames of {data}", "", (Section("Scenes to turn", (block,)),)), output)
    print(f"written to {output}")
    if show and not webbrowser.open(output.resolve().as_uri()):
        raise InputError("show: found no program that opens it, expected a web browser")


def _named(folders: Folders, name: str) -> Mapping[str, Path]:
    """Folders by name; `name` is that of one that has none."""
    return {} if folders is None else {name: folders} if isinstance(folders, Path) else folders


def _scene(
    frame: Frame,
    results: Mapping[str, Path],
    min_score: float | None,
    clouds: Mapping[str, Path],
    disparity: Mapping[str, Path],
    max_height: float,
) -> Scene:
    image = frame.left_image()
    maps: dict[str, NDArray[np.floating]] = {}
    shown: dict[str, NDArray[np.floating]] = {}
    for name, folder in disparity.items():
        path = disparity_path(folder, frame.frame_id) if folder.is_dir() else folder
        maps[name] = read_disparity(path)
        if maps[name].shape != image.shape[:2]:
            height, width = maps[name].shape
            expected = f"{image.shape[1]} x {image.shape[0]} px, the size of the left image"
            raise FormatError(path, "map size", f"{width} x {height} px", expected)
        shown[name] = disparity_to_points(maps[name], frame.calibration, max_height=max_height)
    shown |= {name: read_points(folder / f"{frame.frame_id}.bin") for name, folder in clouds.items()}
    if frame.path("velodyne").is_file():
        shown["LiDAR"] = frame.velodyne()
    truth = frame.objects() if frame.path("label_2").is_file() else Objects.empty()
    found = {name: _detections(folder / f"{frame.frame_id}.txt", min_score) for name, folder in results.items()}
    return Scene(frame.frame_id, image, frame.calibration, truth, shown, maps, {_DETECTOR: found} if found else {})


def _detections(path: Path, min_score: float | None) -> Objects:
    detections = read_objects(path, scored=True)
    assert detections.score is not None
    return detections if min_score is None else detections[detections.score >= min_score]


def _figure(scene: Scene, max_depth: float) -> Figure:
    found = scene.found.get(_DETECTOR, {})
    return frame_figure(
        f"frame {scene.name}, left image",
        scene.image,
        scene.calibration,
        scene.truth,
        next(iter(found.values()), None),
        next(iter(scene.disparities.values()), None),
        scene.clouds,
        max_depth,
    )
