"""KITTI's stereo benchmarks in their own layouts, with and without calibration."""

from pathlib import Path

import numpy as np
import pytest
import torchvision
from numpy.typing import NDArray

from pseudolidar.files import FormatError
from pseudolidar.kitti import write_disparity, write_image
from pseudolidar.stereo import Crops, KittiStereoPairs, StereoBatches

# Projections of a KITTI drive; other lines of the file are left out.
P2 = "7.215377e+02 0 6.095593e+02 4.485728e+01 0 7.215377e+02 1.728540e+02 2.163791e-01 0 0 1 2.745884e-03"
P3 = "7.215377e+02 0 6.095593e+02 -3.395242e+02 0 7.215377e+02 1.728540e+02 2.199936e+00 0 0 1 2.729905e-03"
CONSTANT = 44.85728 + 339.5242


def disparity_of(frame: int) -> NDArray[np.float32]:
    values = np.random.default_rng(frame).integers(256, 90 * 256, (20, 48)).astype(np.float32) / np.float32(256)
    values[:8] = 0
    return values


def write_benchmark(root: Path, year: int, frames: int, calibrated: bool = True) -> Path:
    """The training folder as the archives unpack: two moments of images, disparity of the first."""
    random = np.random.default_rng(0)
    left, right, maps, calib, names = {
        2015: ("image_2", "image_3", "disp_occ_0", "calib_cam_to_cam", ("P_rect_02", "P_rect_03")),
        2012: ("colored_0", "colored_1", "disp_occ", "calib", ("P2", "P3")),
    }[year]
    folder = root / "training"
    for frame in range(frames):
        for moment in (10, 11):
            for side in (left, right):
                image = random.integers(0, 256, (20, 48, 3), dtype=np.uint8)
                write_image(folder / side / f"{frame:06d}_{moment}.png", image)
        for kind in (maps, maps.replace("occ_0", "occ_1")):
            write_disparity(folder / kind / f"{frame:06d}_10.png", disparity_of(frame))
        if calibrated:
            (folder / calib).mkdir(exist_ok=True)
            text = f"calib_time: 09-Jan-2012 13:57:47\n{names[0]}: {P2}\n{names[1]}: {P3}\n"
            (folder / calib / f"{frame:06d}.txt").write_text(text)
    return root


@pytest.mark.parametrize("year", [2015, 2012])
def test_pairs_with_their_disparity_and_camera(tmp_path: Path, year: int) -> None:
    pairs = KittiStereoPairs(write_benchmark(tmp_path, year, 3), year, "all")  # type: ignore[arg-type]
    assert list(pairs.names) == ["000000_10", "000001_10", "000002_10"]
    for index in range(3):
        pair = pairs.read(index)
        assert pair.source.name == f"{index:06d}_10.png"
        assert np.array_equal(pair.disparity, disparity_of(index))
        assert pair.camera_constant_px_m == pytest.approx(CONSTANT)
        assert not np.array_equal(pair.left, pair.right)
        assert len(pair.boxes) == 0


def test_where_torchvision_pairs_maps_with_other_images(tmp_path: Path) -> None:
    write_benchmark(tmp_path / "Kitti2015", 2015, 3)
    ours = KittiStereoPairs(tmp_path / "Kitti2015", 2015, "all")
    theirs = torchvision.datasets.Kitti2015Stereo(tmp_path)
    assert np.array_equal(np.asarray(theirs[2][0]), ours.read(1).left)
    # Why ours is there; when this fails, torchvision's class may do.
    assert np.array_equal(theirs[2][2][0], ours.read(2).disparity)


def test_splits(tmp_path: Path) -> None:
    maps = tmp_path / "training" / "disp_occ_0"
    maps.mkdir(parents=True)
    for frame in range(200):
        (maps / f"{frame:06d}_10.png").touch()
    train, val = (KittiStereoPairs(tmp_path, 2015, split).names for split in ("train", "val"))
    assert (len(train), len(val)) == (160, 40)
    assert [*train, *val] == list(KittiStereoPairs(tmp_path, 2015, "all").names)


def test_without_calibration_depths_are_refused(tmp_path: Path) -> None:
    pairs = KittiStereoPairs(write_benchmark(tmp_path, 2015, 2, calibrated=False), 2015, "train")
    assert pairs.read(0).camera_constant_px_m is None
    crops = Crops(16, 32)
    assert StereoBatches(pairs, 2, crops, 0)(0).camera_constant.isnan().all()
    for options in ({"metric": True}, {"max_depth_m": 80.0}):
        with pytest.raises(FormatError, match=r"00000\d_10\.png: calibration: found none"):
            StereoBatches(pairs, 2, crops, 0, **options)(0)


@pytest.mark.parametrize("year", [2015, 2012])
def test_jpegs_and_calibrations_of_other_editors(tmp_path: Path, year: int) -> None:
    root = write_benchmark(tmp_path, year, 1)
    for path in (*root.rglob("image_?/*_10.png"), *root.rglob("colored_?/*_10.png")):
        write_image(path.with_suffix(".jpg"), np.full((20, 48, 3), 90, np.uint8))
        path.unlink()
    for path in root.rglob("calib*/*.txt"):
        path.write_bytes(path.read_text().replace("\n", " \r\n\r\n").encode("utf-16"))
    pair = KittiStereoPairs(root, year, "train").read(0)  # type: ignore[arg-type]
    assert pair.source.name == "000000_10.jpg" and (abs(pair.left.astype(int) - 90) < 3).all()
    assert pair.camera_constant_px_m == pytest.approx(CONSTANT)


def test_a_farthest_depth(tmp_path: Path) -> None:
    pairs = KittiStereoPairs(write_benchmark(tmp_path, 2015, 1), 2015, "train")
    target = StereoBatches(pairs, 1, Crops(20, 48), 0, max_depth_m=10.0)(0).target[0].numpy()
    truth = disparity_of(0)
    near = truth >= CONSTANT / 10
    assert 0 < near.sum() < (truth > 0).sum()
    assert np.array_equal(target, np.where(near, truth, 0))


def test_bad_folders_files_and_arguments(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"disp_occ_0: split train: found 0 in all"):
        KittiStereoPairs(tmp_path, 2015, "train")
    root = write_benchmark(tmp_path, 2015, 2)
    with pytest.raises(FormatError, match=r"split val: found 2 in all.*more than 160"):
        KittiStereoPairs(root, 2015, "val")
    with pytest.raises(ValueError, match="year: found 2013"):
        KittiStereoPairs(root, 2013, "train")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="split: found 'test'"):
        KittiStereoPairs(root, 2015, "test")  # type: ignore[arg-type]
    pairs = KittiStereoPairs(root, 2015, "train")
    calibration = root / "training" / "calib_cam_to_cam" / "000000.txt"
    calibration.write_text(f"P_rect_02: {P2}\nP_rect_03: 1 2 3\n")
    with pytest.raises(FormatError, match=r"000000\.txt: line 2 \(P_rect_03\): found 3 finite numbers"):
        pairs.read(0)
    calibration.write_text(f"P_rect_02: {P3}\nP_rect_03: {P2}\n")
    with pytest.raises(FormatError, match="baseline"):
        pairs.read(0)
    write_image(root / "training" / "image_3" / "000001_10.png", np.zeros((20, 50, 3), np.uint8))
    with pytest.raises(FormatError, match=r"000001_10\.png: right image: found 50 x 20 px"):
        pairs.read(1)
