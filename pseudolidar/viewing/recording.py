"""Scenes as a recording for Rerun (https://rerun.io), a viewer of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pseudolidar.files import InputError, replacing
from pseudolidar.kitti import Objects
from pseudolidar.viewing.colours import rgb255
from pseudolidar.viewing.disparity import colourise_disparity, shown_disparity
from pseudolidar.viewing.scene import Scene


def load_rerun() -> Any:
    """Rerun's module; InputError where it is not installed."""
    try:
        import rerun
    except ImportError as error:
        raise InputError(f"output: found no {error.name}, expected it: pip install 'pseudolidar[rerun]'") from error
    return rerun


def write_recording(scenes: Sequence[Scene], path: Path) -> None:
    """Write scenes as one .rrd, a step of its timeline "frame" each, whole or not at all.

    Entities: scene/camera (pinhole and image), scene/clouds/SOURCE, scene/labels, scene/DETECTOR/SOURCE, all in the
    rectified camera frame, m; disparity/SOURCE in colour. Clouds are whole as far as the camera sees.
    """
    rerun = load_rerun()
    recording = rerun.RecordingStream("pseudolidar")
    with replacing(path) as temporary:
        recording.save(temporary)
        recording.log("scene", rerun.ViewCoordinates.RDF, static=True)
        for step, scene in enumerate(scenes):
            recording.set_time("frame", sequence=step)
            _log(rerun, recording, scene)
        recording.flush()
        recording.disconnect()


def _log(rerun: Any, recording: Any, scene: Scene) -> None:
    P2 = scene.calibration.P2
    height, width = scene.image.shape[:2]
    place = -np.linalg.solve(P2[:, :3], P2[:, 3])
    recording.log("scene/camera", rerun.Transform3D(translation=place))
    recording.log("scene/camera/image", rerun.Pinhole(image_from_camera=P2[:, :3], width=width, height=height))
    recording.log("scene/camera/image", rerun.Image(scene.image))
    recording.log("name", rerun.TextLog(scene.name))
    for source in scene.clouds:
        points = scene.visible(source)
        pixels = np.rint(scene.calibration.rect_to_image(points)[0]).astype(np.intp)
        colours = scene.image[pixels[:, 1], pixels[:, 0]]
        recording.log(f"scene/clouds/{source}", rerun.Points3D(points, colors=colours))
    for boxes in scene.boxes():
        name = boxes.name if boxes.detector is None else f"{boxes.detector}/{boxes.name}"
        recording.log(f"scene/{name}", _boxes(rerun, boxes.objects, rgb255(boxes.colour)))
    end = shown_disparity(list(scene.disparities.values()))
    for source, disparity in scene.disparities.items():
        recording.log(f"disparity/{source}", rerun.Image(colourise_disparity(disparity, end)))


def _boxes(rerun: Any, objects: Objects, colour: tuple[int, int, int]) -> Any:
    x, y, z, height, width, length, ry = objects.box3d.T
    zeros = np.zeros_like(ry)
    labels = [str(name) for name in objects.class_name]
    if objects.score is not None:
        labels = [f"{name} {score:.2f}" for name, score in zip(labels, objects.score, strict=True)]
    return rerun.Boxes3D(
        centers=np.stack([x, y - height / 2, z], axis=1),
        sizes=np.stack([length, height, width], axis=1),
        quaternions=np.stack([zeros, np.sin(ry / 2), zeros, np.cos(ry / 2)], axis=1),
        colors=colour,
        labels=labels,
    )
