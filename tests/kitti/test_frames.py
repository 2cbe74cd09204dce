"""Frames and splits of the object layout, and real ones."""

from pathlib import Path

import numpy as np
import pytest

from pseudolidar.files import FormatError
from pseudolidar.kitti import Calibration, Frame, ObjectDataset, read_image, read_points, read_split, write_image
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
        ("12\n", "line 1: found '12'"),
        ("000000\n\n000000\n", "line 3: found 000000, which stands on line 1 too"),
        ("\n", "no frame ids"),
    ],
)
def test_bad_splits(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "val.txt").write_text(text)
    with pytest.raises(FormatError, match=message):
        read_split(tmp_path / "val.txt")


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
