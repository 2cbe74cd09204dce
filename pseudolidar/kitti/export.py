"""A data set as programs expect it that read KITTI to the letter, with clouds in the place of the LiDAR's sweeps."""

import os
from pathlib import Path

import numpy as np

from pseudolidar.files import (
    InputError,
    Record,
    claimed,
    files_digest,
    require_file,
    saying_which_file,
    track,
    write_file,
)
from pseudolidar.kitti.frames import TEST_SPLIT, TESTING, TRAINING, Frame, ObjectDataset
from pseudolidar.kitti.images import read_image, write_image
from pseudolidar.kitti.objects import Objects, write_objects

# The lists that other programs read, whatever they are asked for.
_SPLITS = ("train", "val", TEST_SPLIT)
_KINDS = {"calib": ".txt", "image_2": ".png", "label_2": ".txt", "velodyne": ".bin"}
_NOWHERE = np.array([[-1000.0, -1000.0, -1000.0, -1.0, -1.0, -1.0, -10.0]])
# A region without an area, in the way of KITTI's regions.
_NOTHING = Objects(
    np.array(["DontCare"]), np.array([-1.0]), np.array([-1]), np.array([-10.0]), np.zeros((1, 4)), _NOWHERE
)


def export_dataset(
    dataset: ObjectDataset, clouds_dir: str | Path, output_dir: str | Path, overwrite: bool = False
) -> None:
    """Write the frames of a split, with clouds `clouds_dir`/ID.bin as `velodyne`; other splits may join later.

    What OpenPCDet and mmdetection3d make their `kitti_infos` files from, and the database of objects that they paste
    into other scenes. They read calibrations by the number of the line, images as .png alone, labels between single
    spaces with DontCare at the end and at least a line a frame, and train, val and test with at least a frame each. So
    calibrations and labels are written anew, clouds and .png images are links, and of a split that isn't there the list
    holds one frame of this one, `testing` being `training` by another name until frames of it are written.

    Args:
        dataset: of a split.
        clouds_dir: of float32 x y z intensity in the velodyne frame.
        output_dir: the data set's folder: {training, testing}/{calib, image_2, label_2, velodyne} and ImageSets. Frames
            that are there are kept.
        overwrite: those that were made of other clouds, labels, images or calibrations are replaced.

    Raises:
        FormatError: a frame without a cloud, or with a broken image, calibration or label; frames made of others,
            unless `overwrite`.
        InputError: the output is where the data or the clouds are.
    """
    output, clouds = Path(output_dir), Path(clouds_dir)
    folder = output / dataset.folder.name
    for kind in _KINDS:
        if (folder / kind).resolve() in ((dataset.folder / kind).resolve(), clouds.resolve()):
            raise InputError(f"output: found {folder / kind}, which is read here, expected a folder of its own")
    sources = {frame.frame_id: _sources(frame, clouds) for frame in dataset}
    for files in sources.values():
        require_file(files["velodyne"], "a cloud")
    digests = {frame_id: files_digest(files.values()) for frame_id, files in sources.items()}
    if folder.is_symlink():
        folder.unlink()
    outputs = [f"{kind}/{{}}{suffix}" for kind, suffix in _KINDS.items()]
    with claimed(folder, Record("data set for other programs", {}, {}), digests, outputs, overwrite):
        for frame in track(dataset, "frames", total=len(dataset)):
            # The last of a frame's files.
            if not (cloud := folder / "velodyne" / f"{frame.frame_id}.bin").exists():
                _write_frame(frame, folder)
                _link(cloud, sources[frame.frame_id]["velodyne"])
    lists = output / "ImageSets"
    write_file(lists / f"{dataset.split}.txt", "".join(f"{frame_id}\n" for frame_id in dataset.frame_ids))
    if folder.name == TRAINING:
        for split in _SPLITS:
            if not (lists / f"{split}.txt").exists():
                write_file(lists / f"{split}.txt", f"{dataset.frame_ids[0]}\n")
        if not (output / TESTING).exists():
            os.symlink(TRAINING, output / TESTING)


def _sources(frame: Frame, clouds: Path) -> dict[str, Path]:
    return {kind: frame.path(kind) for kind in _KINDS} | {"velodyne": clouds / f"{frame.frame_id}.bin"}


def _write_frame(frame: Frame, folder: Path) -> None:
    name = frame.frame_id
    frame.calibration.to_file(folder / "calib" / f"{name}.txt")
    image, copy = frame.path("image_2"), folder / "image_2" / f"{name}.png"
    if image.suffix == ".png":
        _link(copy, image)
    else:
        write_image(copy, read_image(image))
    if folder.name != TESTING:
        objects = frame.objects()
        is_region = objects.class_name == "DontCare"
        ordered = objects[np.argsort(is_region, kind="stable")]
        write_objects(folder / "label_2" / f"{name}.txt", ordered if len(ordered) else _NOTHING)


def _link(path: Path, target: Path) -> None:
    with saying_which_file(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        os.symlink(target.resolve(), path)
