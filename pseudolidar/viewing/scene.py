"""An interactive 3D scene of a frame: its cloud and boxes, drawn by Open3D."""

import importlib
import os
import sys
from types import ModuleType
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from pseudolidar.files import UserError
from pseudolidar.kitti import Calibration, Objects, box3d_corners
from pseudolidar.viewing.birds_eye import height_scale
from pseudolidar.viewing.boxes import EDGES, solid_objects
from pseudolidar.viewing.colours import DETECTION, HEIGHTS, TRUTH

# The cross on the front face says where the object heads.
_FRONT_CROSS = ((0, 5), (1, 4))


class SceneError(UserError):
    """The 3D scene can't be drawn on this machine; the message says what is missing."""


def load_open3d() -> ModuleType:
    """Import Open3D, which only the scene needs; SceneError if it or one of its system libraries is missing."""
    try:
        return importlib.import_module("open3d")
    except (ImportError, OSError) as error:
        raise SceneError(
            f"the 3D scene needs Open3D, which does not load here ({error}). On Debian and Ubuntu: "
            "apt-get install libusb-1.0-0 libgl1 libgomp1; if Open3D itself is missing: pip install open3d"
        ) from error


def scene_geometries(
    points: NDArray[np.floating], truth: Objects, detections: Objects | None, calibration: Calibration
) -> list[Any]:
    """The parts of the scene, in the velodyne frame: the cloud, a line set for each box, the sensor's axes.

    The points (N, >= 3) are in the velodyne frame, m, coloured by height; the boxes in the rectified camera frame, a
    cross marks their front. SceneError where Open3D can't be loaded.
    """
    open3d = load_open3d()
    to_vectors = open3d.utility.Vector3dVector
    cloud = open3d.geometry.PointCloud(to_vectors(points[:, :3].astype(np.float64)))
    heights = points[:, 2].astype(np.float64)
    cloud.colors = to_vectors(HEIGHTS(height_scale([heights])(heights, clip=True))[:, :3])
    geometries = [cloud]
    edges = open3d.utility.Vector2iVector(np.concatenate([EDGES, _FRONT_CROSS]))
    for objects, colour in ((truth, TRUTH), (detections, DETECTION)):
        for corners in [] if objects is None else box3d_corners(solid_objects(objects).box3d):
            lines = open3d.geometry.LineSet(to_vectors(calibration.rect_to_velodyne(corners)), edges)
            lines.paint_uniform_color(to_rgb(colour))
            geometries.append(lines)
    geometries.append(open3d.geometry.TriangleMesh.create_coordinate_frame(size=1.0))
    return geometries


def show_scene(
    title: str, points: NDArray[np.floating], truth: Objects, detections: Objects | None, calibration: Calibration
) -> None:
    """Open a window with `scene_geometries`, seen from behind the sensor; returns when it is closed.

    SceneError where Open3D can't be loaded or there is no display.
    """
    open3d = load_open3d()
    # Without a display some versions of Open3D draw off screen, into a window that nobody sees or can close.
    no_display = sys.platform.startswith("linux") and not ({"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ))
    geometries = scene_geometries(points, truth, detections, calibration)
    window = open3d.visualization.Visualizer()
    if no_display or not window.create_window(window_name=title, width=1400, height=900):
        raise SceneError(
            "the 3D scene needs a display, and there is none; a picture of the frame can be written instead"
        )
    for geometry in geometries:
        window.add_geometry(geometry)
    options = window.get_render_option()
    options.background_color = np.array([0.06, 0.075, 0.095])
    options.point_size = 2.0
    view = window.get_view_control()
    view.set_lookat([15.0, 0.0, -1.0])
    view.set_front([-0.9, 0.0, 0.45])
    view.set_up([0.0, 0.0, 1.0])
    view.set_zoom(0.15)
    window.run()
    window.destroy_window()
