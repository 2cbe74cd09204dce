"""The 3D scene holds the cloud and the boxes; without Open3D one error says what to install."""

import sys

import numpy as np
import pytest

from pseudolidar.kitti import Calibration, box3d_corners
from pseudolidar.viewing import SceneError, show_scene
from pseudolidar.viewing.scene import scene_geometries
from tests.viewing.conftest import make_objects

CLOUD = np.array([[10, 0, -1, 1], [12, 1, 0, 1]], np.float32)


def test_without_open3d_the_error_names_the_packages(calibration: Calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(SceneError, match=r"libusb-1\.0-0 libgl1 libgomp1"):
        show_scene("frame", CLOUD, make_objects([]), None, calibration)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there is always a display")
def test_without_a_display_the_error_says_so(calibration: Calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(SceneError, match=r"needs a display|libusb"):
        show_scene("frame", CLOUD, make_objects([]), None, calibration)


def test_importing_the_room_does_not_import_open3d() -> None:
    import subprocess

    code = "import sys, pseudolidar.viewing; sys.exit('open3d' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_geometries_lie_in_the_velodyne_frame(calibration: Calibration) -> None:
    truth = make_objects([[2.0, 1.6, 20.0, 1.5, 1.6, 3.9, 0.2], [-1000.0, -1000, -1000, -1, -1, -1, -10]])
    try:
        cloud, box, _axes = scene_geometries(CLOUD, truth, None, calibration)
    except SceneError as error:
        pytest.skip(str(error))
    np.testing.assert_allclose(np.asarray(cloud.points), CLOUD[:, :3])
    corners = calibration.rect_to_velodyne(box3d_corners(truth.box3d)[0])
    np.testing.assert_allclose(np.asarray(box.points), corners)
    assert np.asarray(box.points)[:, 0].mean() == pytest.approx(20.0), "x ahead"
