"""Calibration: real files, the way between frames there and back, canonical axes, what is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pseudolidar.files import FormatError
from pseudolidar.kitti import CANONICAL_VELO_TO_CAM, Calibration, ObjectDataset, read_points

P2 = [721.5377, 0, 609.5593, 44.85728, 0, 721.5377, 172.854, 0.2163791, 0, 0, 1, 0.002745884]
P3 = [721.5377, 0, 609.5593, -339.5242, 0, 721.5377, 172.854, 2.199936, 0, 0, 1, 0.002729905]
ANGLE = 0.02
R0 = [np.cos(ANGLE), np.sin(ANGLE), 0, -np.sin(ANGLE), np.cos(ANGLE), 0, 0, 0, 1]
TR = [0, -1, 0, 0.05, 0, 0, -1, -0.08, 1, 0, 0, -0.27]
LINES = {"P0": P2, "P2": P2, "P3": P3, "R0_rect": R0, "Tr_velo_to_cam": TR}


def write(path: Path, **changes: object) -> Path:
    """A calibration file; a change of None leaves the line out, a string stands as it is."""
    text = ""
    for key, value in {**LINES, **changes}.items():
        if value is not None:
            words = value if isinstance(value, str) else " ".join(str(number) for number in np.ravel(value))  # type: ignore[call-overload]
            text += f"{key}: {words}\n"
    path.write_text(text)
    return path


@pytest.fixture
def calibration(tmp_path: Path) -> Calibration:
    return Calibration.from_file(write(tmp_path / "calib.txt"))


points = arrays(np.float64, (5, 3), elements=st.floats(0.5, 80))


@settings(deadline=None, max_examples=50)
@given(points)
def test_there_and_back(there: np.ndarray) -> None:
    calibration = Calibration(*(np.reshape(LINES[k], (3, -1)) for k in ("P2", "P3", "R0_rect", "Tr_velo_to_cam")))
    np.testing.assert_allclose(calibration.rect_to_velodyne(calibration.velodyne_to_rect(there)), there, atol=1e-10)
    pixels, depth = calibration.rect_to_image(there)
    np.testing.assert_array_equal(depth, there[:, 2])
    # P2[2, 3], 3 mm between the cameras along the axis, is left out of the way back.
    flat = Calibration(calibration.P2 * [1, 1, 1, 1], calibration.P3, calibration.R0_rect, calibration.Tr_velo_to_cam)
    flat.P2[2, 3] = 0.0
    pixels, depth = flat.rect_to_image(there)
    np.testing.assert_allclose(flat.image_to_rect(pixels, depth), there, atol=1e-9)


def test_figures(calibration: Calibration) -> None:
    assert calibration.focal_px == 721.5377
    assert calibration.baseline_m == pytest.approx(0.5327, abs=1e-4)
    assert calibration.camera_constant_px_m == pytest.approx(44.85728 + 339.5242)


def test_file_round_trip(calibration: Calibration, tmp_path: Path) -> None:
    calibration.to_file(tmp_path / "again.txt")
    again = Calibration.from_file(tmp_path / "again.txt")
    for name in ("P2", "P3", "R0_rect", "Tr_velo_to_cam"):
        np.testing.assert_allclose(getattr(again, name), getattr(calibration, name), rtol=1e-11, atol=1e-15)


def test_without_lidar_the_axes_are_canonical(tmp_path: Path) -> None:
    calibration = Calibration.from_file(write(tmp_path / "calib.txt", Tr_velo_to_cam=None, R0_rect=None))
    np.testing.assert_array_equal(calibration.Tr_velo_to_cam, CANONICAL_VELO_TO_CAM)
    # x = z_cam, y = -x_cam, z = -y_cam.
    np.testing.assert_array_equal(calibration.rect_to_velodyne([[1.0, 2.0, 3.0]]), [[3.0, -1.0, -2.0]])
    np.testing.assert_array_equal(calibration.velodyne_to_rect([[3.0, -1.0, -2.0]]), [[1.0, 2.0, 3.0]])


def test_tracking_files(tmp_path: Path) -> None:
    path = tmp_path / "0000.txt"
    rows = {"P2:": P2, "P3:": P3, "R_rect": R0, "Tr_velo_cam": TR}
    path.write_text("".join(f"{key} {' '.join(map(str, row))}\n" for key, row in rows.items()))
    np.testing.assert_allclose(Calibration.from_file(path).Tr_velo_to_cam, np.reshape(TR, (3, 4)))


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"P3": None}, "matrix P3"),
        ({"P2": P2[:-1]}, "line 2 (P2)"),
        ({"P2": "1 2 3 four 5 6 7 8 9 10 11 12"}, "line 2 (P2)"),
        ({"P2": "nan " * 12}, "line 2 (P2)"),
        ({"P2": P3, "P3": P2}, "P2 and P3"),
        ({"P2": P2, "P3": P2}, "P2 and P3"),
        ({"P3": np.array(P3) * 2}, "P3"),
        ({"R0_rect": np.zeros(9)}, "R0_rect"),
        ({"R0_rect": np.diag([1, 1, -1])}, "R0_rect"),
        ({"Tr_velo_to_cam": np.zeros(12)}, "Tr_velo_to_cam"),
        ({"R_rect": R0}, "line 6 (R_rect)"),
        ({"Tr": TR}, "line 6 (Tr)"),
        # Baselines in mm, in km, and of an unlikely rig.
        ({"P3": [*P3[:3], P2[3] - 532.7 * P2[0], *P3[4:]]}, "P2 and P3"),
        ({"P3": [*P3[:3], P2[3] - 0.00053 * P2[0], *P3[4:]]}, "P2 and P3"),
        # A LiDAR that looks to the right (the identity, turned or not), back, and down.
        ({"Tr_velo_to_cam": np.eye(3, 4)}, "Tr_velo_to_cam"),
        ({"Tr_velo_to_cam": [0, 0, 1, 0, -1, 0, 0, 0, 0, -1, 0, 0]}, "Tr_velo_to_cam"),
        ({"Tr_velo_to_cam": [0, 1, 0, 0, 0, 0, -1, 0, -1, 0, 0, 0]}, "Tr_velo_to_cam"),
        ({"Tr_velo_to_cam": [0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0]}, "Tr_velo_to_cam"),
    ],
)
def test_refused(tmp_path: Path, changes: dict, place: str) -> None:
    path = write(tmp_path / "calib.txt", **changes)
    with pytest.raises(FormatError) as caught:
        Calibration.from_file(path)
    assert caught.value.path == path
    assert caught.value.place == place


@pytest.mark.parametrize("name", ["Tr", "Tr_velo_cam", "Tr_velo_to_cam"])
def test_every_name_of_the_lidars_matrix(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "calib.txt", **{"Tr_velo_to_cam": None, name: TR})
    np.testing.assert_array_equal(Calibration.from_file(path).Tr_velo_to_cam, np.reshape(TR, (3, 4)))


@pytest.mark.parametrize("name", ["Tr_lidar_to_cam", "velo2cam", "LiDAR", "tr_velo_to_cam", "T_cam_lidar", "R"])
@pytest.mark.parametrize("numbers", [TR, [*TR, 0, 0, 0, 1], R0])
def test_no_default_for_a_matrix_of_another_name(tmp_path: Path, name: str, numbers: list[float]) -> None:
    with pytest.raises(FormatError, match=rf"line 5 \({name}\).*Tr_velo_to_cam"):
        Calibration.from_file(write(tmp_path / "calib.txt", **{"Tr_velo_to_cam": None, name: numbers}))
    # Where nothing is missing no default is taken.
    Calibration.from_file(write(tmp_path / "calib.txt", **{name: numbers}))


def test_no_default_for_a_rectification_of_another_name(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"line 5 \(R1\).*R0_rect"):
        Calibration.from_file(write(tmp_path / "calib.txt", R0_rect=None, R1=R0))


def test_lines_that_nobody_needs(tmp_path: Path) -> None:
    names = ["P1", "P4", "Tr_imu_to_velo", "Tr_imu_velo", "S_02", "K_02", "D_02", "R_02", "T_02", "S_rect_02", "K"]
    names += ["R_rect_02", "P_rect_00"]
    others = {name: TR[:9] if name[0] in "RK" else TR for name in names}
    text = {"calib_time": "09-Jan-2012 13:57:47", "corner_dist": "9.95e-02", "comment": "from a car", "exposure": "3 4"}
    path = write(tmp_path / "calib.txt", Tr_velo_to_cam=None, R0_rect=None, **others, **text)
    np.testing.assert_array_equal(Calibration.from_file(path).Tr_velo_to_cam, CANONICAL_VELO_TO_CAM)


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({"P3": [*P3[:3], P2[3] - 532.7 * P2[0], *P3[4:]]}, ["a baseline of 532.7 m", "0.01 to 10 m", "unit"]),
        ({"Tr_velo_to_cam": np.eye(3, 4)}, ["the identity", "leave the line Tr_velo_to_cam out"]),
        ({"Tr_velo_to_cam": [0, 1, 0, 0, 0, 0, -1, 0, -1, 0, 0, 0]}, ["x axis along [", "-1.0]", "ahead"]),
    ],
)
def test_errors_say_what_to_do(tmp_path: Path, changes: dict, messages: list[str]) -> None:
    with pytest.raises(FormatError) as caught:
        Calibration.from_file(write(tmp_path / "calib.txt", **changes))
    assert all(message in str(caught.value) for message in messages), caught.value


def test_real_sweeps_fall_onto_the_image(kitti_sample: Path) -> None:
    for frame in ObjectDataset(kitti_sample / "object"):
        calibration = frame.calibration
        assert 0.53 < calibration.baseline_m < 0.54
        height, width = frame.left_image().shape[:2]
        sweep = frame.velodyne()
        rect = calibration.velodyne_to_rect(sweep[:, :3])
        pixels, depth = calibration.rect_to_image(rect)
        inside = (depth > 2) & (pixels >= 0).all(axis=1) & (pixels < [width, height]).all(axis=1)
        # A camera of 80 degrees sees more than a tenth of a sweep; with wrong axes or matrices next to nothing.
        assert 0.12 < inside.mean() < 0.25
        # Labelled objects stand on points: the boxes' own points lie in their 2D boxes.
        objects = frame.objects()
        for i in np.flatnonzero(objects.class_name != "DontCare"):
            x, y, z, h, w, length, ry = objects.box3d[i]
            offset = rect - [x, y, z]
            along = np.cos(ry) * offset[:, 0] - np.sin(ry) * offset[:, 2]
            across = np.sin(ry) * offset[:, 0] + np.cos(ry) * offset[:, 2]
            in_box = (abs(along) < length / 2) & (abs(across) < w / 2) & (-h < offset[:, 1]) & (offset[:, 1] < 0)
            left, top, right, bottom = objects.box2d[i]
            u, v = pixels[in_box].T
            assert in_box.sum() >= 5
            assert ((u > left - 3) & (u < right + 3) & (v > top - 3) & (v < bottom + 3)).mean() > 0.95


def test_the_real_pair(kitti_sample: Path) -> None:
    folder = kitti_sample / "stereo_demo"
    calibration = Calibration.from_file(folder / "calib.txt")
    assert calibration.baseline_m == pytest.approx(0.5327, abs=1e-3)
    assert read_points(folder / "velodyne.bin").shape[1] == 4
