"""Drives of the raw data: read as pykitti reads them, and broken ones."""

from pathlib import Path

import numpy as np
import pytest

from pseudolidar.files import FormatError, Record
from pseudolidar.inference.pairs import PairsToObjectsJob
from pseudolidar.kitti import ObjectDataset, RawDrive, write_image
from pseudolidar.pipeline import Drawing, Models
from pseudolidar.synthetic import PRESETS, write_town
from tests.kitti.raw_drives import write_raw_drive
from tests.kitti.scenery import write_dataset

DATE, DRIVE = "2011_09_26", "0001"


@pytest.fixture
def drive(tmp_path: Path) -> RawDrive:
    return write_raw_drive(list(write_dataset(tmp_path / "object")), tmp_path / "raw", DATE, DRIVE)


def test_frames_come_back(drive: RawDrive, tmp_path: Path) -> None:
    originals = write_dataset(tmp_path / "same")
    assert drive.frame_ids == ["0000000000", "0000000001", "0000000002"]
    for frame, original in zip(drive, originals, strict=True):
        for ours, theirs in zip(frame.stereo_pair(), original.stereo_pair(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(frame.velodyne(), original.velodyne())
        for name in ("P2", "P3", "R0_rect", "Tr_velo_to_cam"):
            np.testing.assert_allclose(
                getattr(frame.calibration, name), getattr(original.calibration, name), rtol=1e-11, atol=1e-15
            )
        assert not frame.has_exact_disparity()
        with pytest.raises(FormatError, match="label_2"):
            frame.objects()


def test_a_drive_through_the_town(tmp_path: Path) -> None:
    write_town(tmp_path / "town", PRESETS["mini"], {"train": 2}, seed=5, workers=1)
    town = ObjectDataset(tmp_path / "town", "train")
    drive = write_raw_drive(list(town), tmp_path / "raw", DATE, DRIVE)
    assert len(drive) == 2
    for frame, original in zip(drive, town, strict=True):
        for ours, theirs in zip(frame.stereo_pair(), original.stereo_pair(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        # The sweep, seen through the drive's own calibration, falls onto the surfaces of the exact disparity map.
        pixels, depth = frame.calibration.rect_to_image(frame.calibration.velodyne_to_rect(frame.velodyne()))
        exact = original.disparity()
        u, v = np.rint(pixels).astype(int).T
        seen = (depth > 2) & (u >= 0) & (u < exact.shape[1]) & (v >= 0) & (v < exact.shape[0])
        disparity = frame.calibration.camera_constant_px_m / depth[seen]
        assert seen.sum() > 500
        assert np.median(abs(exact[v[seen], u[seen]] - disparity)) < 0.1


def test_layout_is_kittis(drive: RawDrive) -> None:
    folder = drive.root / DATE / f"{DATE}_drive_{DRIVE}_sync"
    assert sorted(path.name for path in folder.iterdir()) == ["image_02", "image_03", "oxts", "velodyne_points"]
    times = (folder / "image_02" / "timestamps.txt").read_text().splitlines()
    assert times[1] == "2011-09-26 12:00:00.100000000"
    import pykitti

    data = pykitti.raw(str(drive.root), DATE, DRIVE)
    assert data.calib.b_rgb == pytest.approx(26 / 50)
    assert len(data) == len(data.velo_files) == 3


def test_a_missing_sweep_does_not_shift_the_others(drive: RawDrive) -> None:
    drive[1].path("velodyne").unlink()
    again = RawDrive(drive.root, DATE, DRIVE)
    assert [len(again[i].velodyne()) for i in (0, 2)] == [10, 12]
    with pytest.raises(FormatError, match="0000000001"):
        again[1].velodyne()


def test_as_pykitti_reads_it(drive: RawDrive) -> None:
    import pykitti

    theirs = pykitti.raw(str(drive.root), DATE, DRIVE).calib
    np.testing.assert_array_equal(drive.calibration.P2, theirs.P_rect_20)
    np.testing.assert_array_equal(drive.calibration.P3, theirs.P_rect_30)
    np.testing.assert_array_equal(drive.calibration.R0_rect, theirs.R_rect_00[:3, :3])
    np.testing.assert_array_equal(drive.calibration.Tr_velo_to_cam, theirs.T_cam0_velo_unrect[:3])


def test_what_nothing_uses_may_be_missing(drive: RawDrive) -> None:
    (drive.root / DATE / "calib_imu_to_velo.txt").unlink()
    for times in drive.folder.glob("*/timestamps.txt"):
        times.unlink()
    assert len(RawDrive(drive.root, DATE, DRIVE)) == 3


def test_both_calibrations_belong_to_a_result(drive: RawDrive, tmp_path: Path) -> None:
    def digest() -> str:
        frames = list(RawDrive(drive.root, DATE, DRIVE))
        nothing = Record("detections", {}, {})
        job = PairsToObjectsJob(Models, nothing, frames, tmp_path / "out", Drawing(-2.5, 0.0, 0.5, 60.0))  # type: ignore[arg-type]
        return job.digest(frames[0].frame_id)

    before = digest()
    for name in ("calib_cam_to_cam.txt", "calib_velo_to_cam.txt"):
        path = drive.root / DATE / name
        text = path.read_text()
        path.write_text(f"{text}\n")
        assert digest() != before
        path.write_text(text)
    assert digest() == before


def test_a_drive_of_jpegs_and_of_another_editor(drive: RawDrive) -> None:
    for path in drive.folder.glob("image_0?/data/*.png"):
        write_image(path.with_suffix(".JPEG"), np.full((20, 60, 3), 90, np.uint8))
        path.unlink()
    for path in (drive.root / DATE).glob("calib_*.txt"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\t\r\r"))
    again = RawDrive(drive.root, DATE, DRIVE)
    assert again.frame_ids == drive.frame_ids
    assert again[1].path("image_3").name == "0000000001.JPEG"
    assert all((abs(image.astype(int) - 90) < 3).all() for image in again[1].stereo_pair())
    np.testing.assert_array_equal(again.calibration.Tr_velo_to_cam, drive.calibration.Tr_velo_to_cam)
    # Written again, the images stay as they are.
    copied = write_raw_drive(list(again), drive.root / "again", DATE, DRIVE)
    assert copied[2].path("image_2").read_bytes() == again[2].path("image_2").read_bytes()


@pytest.mark.parametrize("name", ["calib_cam_to_cam.txt", "calib_velo_to_cam.txt"])
def test_missing_calibration_file(drive: RawDrive, name: str) -> None:
    (drive.root / DATE / name).unlink()
    with pytest.raises(FormatError, match=name):
        RawDrive(drive.root, DATE, DRIVE)


def test_broken_drives(drive: RawDrive) -> None:
    with pytest.raises(FormatError, match="drive_0002"):
        RawDrive(drive.root, DATE, "0002")
    cameras = drive.root / DATE / "calib_cam_to_cam.txt"
    text = cameras.read_text()
    cameras.write_text("".join(line for line in text.splitlines(True) if not line.startswith("P_rect_03")))
    with pytest.raises(FormatError, match="P_rect_03"):
        RawDrive(drive.root, DATE, DRIVE)
    cameras.write_text(text.replace("P_rect_03: ", "P_rect_03: 1.0 "))
    with pytest.raises(FormatError, match="13"):
        RawDrive(drive.root, DATE, DRIVE)
    cameras.write_text(text)
    velodyne = drive.root / DATE / "calib_velo_to_cam.txt"
    velodyne.write_text("R: 1 0 0 0 1 0 0 0 1\nT: 0 0 0\n")
    with pytest.raises(FormatError, match="the identity"):
        RawDrive(drive.root, DATE, DRIVE)
    velodyne.write_text("R: 0 -1 0 0 0 -1 1 0 0\n")
    with pytest.raises(FormatError, match=r"calib_velo_to_cam\.txt: matrix T"):
        RawDrive(drive.root, DATE, DRIVE)
