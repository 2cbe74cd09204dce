"""Frames and splits of the object layout, and real ones."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from pseudolidar.files import FormatError
from pseudolidar.kitti import (
    Calibration,
    Frame,
    ObjectDataset,
    find_frame,
    image_names,
    read_image,
    read_points,
    read_split,
    write_image,
    write_points,
)
from tests.kitti.scenery import HEIGHT, WIDTH, write_dataset


def test_a_frame_reads_its_own_files(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path)
    assert (len(dataset), dataset.frame_ids) == (3, ["000000", "000001", "000002"])
    for i, frame in enumerate(dataset):
        assert frame == dataset[i] == dataset.frame(f"{i:06d}")
        left, right = frame.stereo_pair()
        assert left.shape == right.shape == (HEIGHT, WIDTH, 3) and (left != right).any()
        assert len(frame.velodyne()) == 10 + i
        assert frame.has_exact_disparity() and (frame.disparity() == i + 1).all()
        assert len(frame.objects()) == 0
        assert frame.calibration.baseline_m == pytest.approx(26 / 50)


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    for kind in ("image_3", "label_2", "velodyne", "disparity"):
        for path in (tmp_path / "training" / kind).iterdir():
            path.unlink()
    frame = ObjectDataset(tmp_path, "train")[0]
    assert frame.left_image().shape == (HEIGHT, WIDTH, 3)
    assert not frame.has_exact_disparity()
    for read in (frame.right_image, frame.objects, frame.velodyne, frame.disparity):
        with pytest.raises(FormatError, match="000000"):
            read()


def test_images_of_two_sizes(tmp_path: Path) -> None:
    frame = write_dataset(tmp_path)[1]
    write_image(frame.path("image_3"), np.zeros((HEIGHT, WIDTH - 1, 3), np.uint8))
    with pytest.raises(FormatError, match=r"image_3.000001\.png: image size: found 59 x 20 px, expected 60 x 20 px"):
        frame.stereo_pair()


def test_without_a_split_every_frame_counts(tmp_path: Path) -> None:
    write_dataset(tmp_path, frames=2)
    # What a killed run may leave behind is no frame.
    (tmp_path / "training" / "calib" / ".000007-x.txt").touch()
    assert ObjectDataset(tmp_path).frame_ids == ["000000", "000001"]


def test_split_that_names_a_missing_frame(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    split = tmp_path / "ImageSets" / "train.txt"
    split.write_text("000000\n000005\n")
    with pytest.raises(FormatError, match=r"train\.txt: entry 2: found 000005, a missing frame"):
        ObjectDataset(tmp_path, "train")
    split.write_text("000002\n")
    (tmp_path / "training" / "image_2" / "000002.png").unlink()
    with pytest.raises(FormatError, match=r"image_2.000002\.png"):
        ObjectDataset(tmp_path, "train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("000000\nframe 7\n", "line 2: found 'frame 7'"),
        ("000000\n../12\n", r"line 2: found '\.\./12'"),
        (".000012\n", r"line 1: found '\.000012'"),
        ("a\\\\b\n", "line 1"),
        ("000000\n\n000000\n", "line 3: found 000000, which stands on line 1 too"),
        ("\n", "no frame ids"),
    ],
)
def test_bad_splits(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "val.txt").write_text(text)
    with pytest.raises(FormatError, match=message):
        read_split(tmp_path / "val.txt")


@pytest.mark.parametrize("suffix", [".jpg", ".JPG", ".Jpeg", ".jpeg", ".PNG"])
def test_images_of_any_suffix(tmp_path: Path, suffix: str) -> None:
    dataset = write_dataset(tmp_path)
    written = dataset[1].path("image_2")
    pixels = read_image(written)
    new = written.with_suffix(suffix)
    # Its own content: decoders look at that.
    new.write_bytes(written.read_bytes())
    if not new.samefile(written):
        with pytest.raises(FormatError, match=rf"000001\.png: file: found 000001\{suffix} too"):
            dataset[1].left_image()
    written.unlink()
    frame = ObjectDataset(tmp_path, "train")[1]
    assert frame.path("image_2") == new and frame.image_size() == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(frame.left_image(), pixels)
    assert image_names(new.parent) == ["000000", "000001", "000002"]


def test_both_names_of_one_file(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path)
    path = dataset[0].path("image_3")
    path.with_suffix(".jpg").symlink_to(path)
    assert dataset[0].path("image_3") == path


def rename(root: Path, old: str, new: str) -> None:
    for path in root.rglob(f"{old}.*"):
        path.rename(path.with_name(f"{new}{path.suffix}"))


@pytest.mark.parametrize("name", ["2011_09_26_000000", "left", "12", "a.b", "Straße"])
def test_any_name_is_a_frame(tmp_path: Path, name: str) -> None:
    write_dataset(tmp_path)
    rename(tmp_path, "000001", name)
    assert set(ObjectDataset(tmp_path).frame_ids) == {"000000", "000002", name}
    (tmp_path / "ImageSets" / "odd.txt").write_text(f"{name}\n000000\n")
    frame = ObjectDataset(tmp_path, "odd")[0]
    assert frame.frame_id == name and len(frame.velodyne()) == 11 and (frame.disparity() == 2).all()
    assert find_frame(tmp_path, name) == frame


def test_frames_are_never_left_out(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    (tmp_path / "training" / "calib" / "000007.txt").write_text("P2: 1\n")
    with pytest.raises(FormatError, match=r"000007, a missing frame.*image_2.000007\.png"):
        ObjectDataset(tmp_path)
    rename(tmp_path, "000007", "frame 7")
    with pytest.raises(FormatError, match=r"frame 7\.txt: name: found 'frame 7'"):
        ObjectDataset(tmp_path)
    for path in (tmp_path / "training" / "calib").iterdir():
        path.unlink()
    with pytest.raises(FormatError, match=r"calib: folder: found no frames"):
        ObjectDataset(tmp_path)


def test_a_frame_by_its_number(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    for name in ("2", "02", "000002"):
        assert find_frame(tmp_path, name).frame_id == "000002"
    rename(tmp_path, "000002", "0000000002")
    assert find_frame(tmp_path, "2").frame_id == "0000000002"
    for name in ("7", "left"):
        with pytest.raises(FormatError, match=rf"no {name}\.txt among 3, 000000"):
            find_frame(tmp_path, name)
    with pytest.raises(FormatError, match=r"no 2\.txt"):
        find_frame(tmp_path / "nowhere", "2")


def write_testing(root: Path) -> None:
    """Frames of training/ under the same numbers in testing/, without labels and with other sweeps."""
    write_dataset(root)
    write_dataset(root / "other", 2)
    (root / "other" / "training").rename(root / "testing")
    shutil.rmtree(root / "other")
    shutil.rmtree(root / "testing" / "label_2")
    write_points(root / "testing" / "velodyne" / "000001.bin", np.zeros((5, 4), np.float32))


def test_the_split_test_is_of_testing(tmp_path: Path) -> None:
    write_testing(tmp_path)
    for dataset in (ObjectDataset(tmp_path, "test"), ObjectDataset(tmp_path / "testing"),
                    ObjectDataset(tmp_path / "testing", "test")):  # fmt: skip
        assert dataset.frame_ids == ["000000", "000001"] and len(dataset[1].velodyne()) == 5
    (tmp_path / "ImageSets" / "test.txt").write_text("000001\n")
    assert ObjectDataset(tmp_path, "test").frame_ids == ["000001"]
    (tmp_path / "ImageSets" / "few.txt").write_text("000001\n")
    assert len(ObjectDataset(tmp_path / "testing", "few")[0].velodyne()) == 5
    assert len(ObjectDataset(tmp_path, "few")[0].velodyne()) == 11
    assert find_frame(tmp_path / "testing", "1").folder == tmp_path / "testing"
    # training/ may be named, too.
    assert len(ObjectDataset(tmp_path / "training", "train")) == 3
    (tmp_path / "ImageSets" / "test.txt").write_text("000002\n")
    with pytest.raises(FormatError, match=r"000002, a missing frame.*testing.calib"):
        ObjectDataset(tmp_path, "test")


def test_testing_has_no_labels_and_no_training_splits(tmp_path: Path) -> None:
    write_testing(tmp_path)
    with pytest.raises(FormatError, match=r"label_2.000000\.txt.*testing/ have none"):
        ObjectDataset(tmp_path, "test")[0].objects()
    with pytest.raises(FormatError, match="split=train, which is of training/"):
        ObjectDataset(tmp_path / "testing", "train")
    with pytest.raises(FormatError, match="the split is of testing/"):
        ObjectDataset(tmp_path / "training", "test")
    shutil.rmtree(tmp_path / "testing")
    with pytest.raises(FormatError, match="no testing/calib"):
        ObjectDataset(tmp_path, "test")


def test_a_data_set_of_jpegs(kitti_sample: Path) -> None:
    dataset = ObjectDataset(kitti_sample / "streets", "train")
    assert len(dataset) == 93 and dataset[0].path("image_3").suffix == ".jpg"
    left, right = dataset[0].stereo_pair()
    assert left.shape == right.shape and ObjectDataset(kitti_sample / "streets", "val")[0].path("image_2").is_file()


def test_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="training/calib"):
        ObjectDataset(tmp_path / "nowhere", "train")
    write_dataset(tmp_path)
    with pytest.raises(FormatError, match=r"val\.txt: file: found nothing there"):
        ObjectDataset(tmp_path, "val")


def test_real_frames(kitti_sample: Path) -> None:
    dataset = ObjectDataset(kitti_sample / "object")
    assert dataset.frame_ids == ["000000", "000001", "000002"]
    assert [frame.left_image().shape for frame in dataset] == [(370, 1224, 3), (375, 1242, 3), (375, 1242, 3)]
    assert [len(frame.objects()) for frame in dataset] == [1, 7, 2]
    for frame in dataset:
        points = frame.velodyne()
        assert len(points) > 100_000 and points[:, 3].min() >= 0 and points[:, 3].max() <= 1
        with pytest.raises(FormatError, match="image_3"):
            frame.stereo_pair()


def test_the_real_pair_is_rectified(kitti_sample: Path) -> None:
    folder = kitti_sample / "stereo_demo"
    left, right = read_image(folder / "left.png"), read_image(folder / "right.png")
    assert left.shape == right.shape == (375, 1242, 3)
    # At the disparity of each LiDAR point the right image shows what the left one does, on the same row.
    calibration = Calibration.from_file(folder / "calib.txt")
    pixels, depth = calibration.rect_to_image(calibration.velodyne_to_rect(read_points(folder / "velodyne.bin")))
    u, v = np.rint(pixels).astype(int).T
    disparity = calibration.camera_constant_px_m / np.where(depth > 2, depth, np.inf)
    shifted = np.rint(pixels[:, 0] - disparity).astype(int)
    seen = (depth > 2) & (u >= 0) & (u < 1242) & (v >= 2) & (v < 373) & (shifted >= 0)

    def difference(rows: int, columns: int) -> float:
        ours = left[v[seen], u[seen]].astype(int)
        theirs = right[v[seen] + rows, np.minimum(shifted[seen] + columns, 1241)].astype(int)
        return float(np.abs(ours - theirs).mean())

    here = difference(0, 0)
    assert here < 0.8 * min(difference(0, 4), difference(0, -4), difference(2, 0), difference(-2, 0))


def test_the_image_size_is_read_from_the_header(tmp_path: Path) -> None:
    frame = Frame(tmp_path, "000000")
    write_image(frame.path("image_2"), np.zeros((5, 9, 3), dtype=np.uint8))
    assert frame.image_size() == (5, 9)
    frame.path("image_2").write_bytes(b"no image")
    with pytest.raises(FormatError, match=r"000000\.png: header: found no image"):
        frame.image_size()
