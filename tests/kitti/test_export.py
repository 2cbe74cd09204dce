"""A data set for other programs: what they read by place and by letter, links, lists, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from pseudolidar.files import FormatError, InputError
from pseudolidar.kitti import (
    ObjectDataset,
    Objects,
    export_dataset,
    read_image,
    read_objects,
    read_points,
    write_image,
    write_objects,
    write_points,
)
from tests.conftest import RunHere
from tests.kitti.scenery import P2, P3, write_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> ObjectDataset:
    """Frames 000000 to 000002 of the split train, with clouds; a region before a car; a .jpg image; no label."""
    dataset = write_dataset(tmp_path / "data")
    zeros = np.zeros(2)
    objects = Objects(
        np.array(["DontCare", "Car"]), zeros, zeros.astype(int), zeros, np.array([[1.0, 1, 9, 9]] * 2), np.ones((2, 7))
    )
    write_objects(dataset[0].path("label_2"), objects)
    image = dataset[1].path("image_2")
    write_image(image.with_suffix(".jpg"), read_image(image))
    image.unlink()
    for frame in dataset:
        write_points(tmp_path / "clouds" / f"{frame.frame_id}.bin", np.full((3, 4), int(frame.frame_id) + 0.5, "f4"))
    return dataset


def test_a_split(dataset: ObjectDataset, tmp_path: Path) -> None:
    output = tmp_path / "out"
    for _ in range(2):
        export_dataset(dataset, tmp_path / "clouds", output)
    assert (output / "ImageSets/train.txt").read_text() == "000000\n000001\n000002\n"
    assert (output / "ImageSets/val.txt").read_text() == (output / "ImageSets/test.txt").read_text() == "000000\n"
    for frame in ObjectDataset(output, "train"):
        # As those programs read them.
        rows = [line.strip().split(" ") for line in frame.path("calib").read_text().splitlines()]
        assert [row[0] for row in rows] == [
            "P0:",
            "P1:",
            "P2:",
            "P3:",
            "R0_rect:",
            "Tr_velo_to_cam:",
            "Tr_imu_to_velo:",
        ]
        np.testing.assert_allclose(np.array([row[1:] for row in rows[2:4]], float), [P2.ravel(), P3.ravel()])
        labels = [line.split(" ") for line in frame.path("label_2").read_text().splitlines()]
        assert labels and {len(label) for label in labels} == {15} and labels[-1][0] == "DontCare"
        own = dataset.frame(frame.frame_id)
        assert [label[0] for label in labels if label[0] != "DontCare"] == [
            name for name in own.objects().class_name if name != "DontCare"
        ]
        assert frame.path("image_2").suffix == ".png"
        np.testing.assert_array_equal(frame.left_image(), own.left_image())
        np.testing.assert_array_equal(frame.velodyne(), np.full((3, 4), int(frame.frame_id) + 0.5))
    assert (output / "training/image_2/000000.png").is_symlink() and (
        output / "training/velodyne/000000.bin"
    ).is_symlink()
    # A frame to test, until there are some.
    test = ObjectDataset(output, "test")
    assert test.frame_ids == ["000000"] and len(test[0].velodyne()) == 3


def test_the_frames_of_testing_take_the_place_of_the_one_that_stands_there(
    dataset: ObjectDataset, tmp_path: Path
) -> None:
    root, output = dataset.root, tmp_path / "out"
    shutil.copytree(root / "training", root / "testing", ignore=shutil.ignore_patterns("label_2"))
    write_points(tmp_path / "more" / "000000.bin", np.ones((5, 4), np.float32))
    export_dataset(dataset, tmp_path / "clouds", output)
    export_dataset(ObjectDataset(root, "test").only(["000000"]), tmp_path / "more", output)
    assert len(read_points(output / "training/velodyne/000000.bin")) == 3
    assert len(read_points(output / "testing/velodyne/000000.bin")) == 5
    assert not (output / "testing/label_2").exists() and not (output / "testing").is_symlink()
    export_dataset(dataset, tmp_path / "clouds", output)
    assert (
        ObjectDataset(output, "test").frame_ids == ["000000"] and len(ObjectDataset(output, "test")[0].velodyne()) == 5
    )


def test_what_is_refused(dataset: ObjectDataset, tmp_path: Path) -> None:
    clouds, output = tmp_path / "clouds", tmp_path / "out"
    for place in (dataset.root, tmp_path / "link"):
        if place.name == "link":
            place.symlink_to(dataset.root)
        with pytest.raises(InputError, match="which is read here, expected a folder of its own"):
            export_dataset(dataset, clouds, place, overwrite=True)
    export_dataset(dataset, clouds, output)
    write_points(clouds / "000001.bin", np.zeros((7, 4), np.float32))
    with pytest.raises(FormatError, match=r"input files of 000001.*overwrite=true"):
        export_dataset(dataset, clouds, output)
    export_dataset(dataset, clouds, output, overwrite=True)
    write_objects(dataset[2].path("label_2"), read_objects(dataset[0].path("label_2"), scored=False))
    export_dataset(dataset, clouds, output, overwrite=True)
    assert len(read_objects(output / "training/label_2/000002.txt", scored=False)) == 2
    (clouds / "000002.bin").unlink()
    with pytest.raises(FormatError, match=r"000002.bin: file: found nothing there, expected a cloud"):
        export_dataset(dataset, clouds, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_command(dataset: ObjectDataset, tmp_path: Path, run_here: RunHere) -> None:
    data, clouds, output = f"data={dataset.root}", f"clouds={tmp_path}/clouds", f"output={tmp_path}/out"
    assert run_here("export_kitti", data, clouds, output, "splits=[train]")[:2] == (0, f"data set: {tmp_path}/out\n")
    assert run_here("export_kitti", data, clouds, output)[0] == 2
