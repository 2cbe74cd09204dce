"""Frames of a data set in KITTI's object layout, read on demand."""

import copy
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import FormatError, files_digest, read_lines
from pseudolidar.kitti.arrays import read_disparity, read_points
from pseudolidar.kitti.calibration import Calibration
from pseudolidar.kitti.images import image_names, image_path, read_image, read_image_size
from pseudolidar.kitti.objects import Objects, read_objects

TRAINING, TESTING = "training", "testing"
TEST_SPLIT = "test"
"""KITTI's split without labels, of testing/."""
_TRAINING_SPLITS = ("train", "val", "trainval")

_SUFFIXES = {"calib": ".txt", "label_2": ".txt", "velodyne": ".bin", "disparity": ".png"}
_IMAGE_KINDS = ("image_2", "image_3")


@dataclass(frozen=True)
class Frame:
    """One frame of the object layout: `folder`/{calib, image_2, image_3, label_2, velodyne, disparity}/`frame_id`.*

    Every method reads its file anew.
    """

    folder: Path
    frame_id: str

    def path(self, kind: str) -> Path:
        """The file of one kind: calib, image_2, image_3, label_2, velodyne or disparity; it need not exist.

        Two images, for instance a PNG and a JPEG, are a FormatError.
        """
        if kind in _IMAGE_KINDS:
            return image_path(self.folder / kind, self.frame_id)
        return self.folder / kind / f"{self.frame_id}{_SUFFIXES[kind]}"

    @property
    def calibration_files(self) -> Sequence[Path]:
        """The files that `calibration` is read from."""
        return [self.path("calib")]

    @property
    def calibration(self) -> Calibration:
        """Camera and LiDAR geometry, read from the frame's calib file."""
        return Calibration.from_file(self.path("calib"))

    def left_image(self) -> NDArray[np.uint8]:
        """The left colour image, uint8 (H, W, 3) RGB."""
        return read_image(self.path("image_2"))

    def image_size(self) -> tuple[int, int]:
        """(height, width) of the left colour image, px, from the file's header alone."""
        return read_image_size(self.path("image_2"))

    def right_image(self) -> NDArray[np.uint8]:
        """The right colour image, uint8 (H, W, 3) RGB."""
        return read_image(self.path("image_3"))

    def stereo_pair(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Left and right image, uint8 (H, W, 3) RGB; FormatError where their sizes differ."""
        left, right = self.left_image(), self.right_image()
        if left.shape != right.shape:
            found, expected = (f"{image.shape[1]} x {image.shape[0]} px" for image in (right, left))
            raise FormatError(self.path("image_3"), "image size", found, f"{expected}, the size of the left image")
        return left, right

    def objects(self) -> Objects:
        """The labels; FormatError where they are missing, as in testing/, or broken."""
        path = self.path("label_2")
        if self.folder.name == TESTING and not path.is_file():
            expected = "labels: the frames of testing/ have none, they can't be trained on or evaluated here"
            raise FormatError(path, "file", "nothing there", expected)
        return read_objects(path, scored=False)

    def velodyne(self) -> NDArray[np.float32]:
        """The LiDAR sweep, float32 (N, 4) in the velodyne frame."""
        return read_points(self.path("velodyne"))

    def has_exact_disparity(self) -> bool:
        """Whether the frame has a dense disparity map (synthetic data)."""
        return self.path("disparity").is_file()

    def disparity(self) -> NDArray[np.float32]:
        """The exact dense disparity of the left image, float32 (H, W) px, 0 where unknown (synthetic data)."""
        return read_disparity(self.path("disparity"))


def read_split(path: str | Path) -> list[str]:
    """Read frame ids, one per line, from ImageSets/<split>.txt: names of files without suffix and without spaces.

    Raises:
        FormatError: a line that is not one id, an id twice, or no id at all.
    """
    path = Path(path)
    ids: dict[str, int] = {}
    for number, word in read_lines(path, "a split: one frame id a line"):
        _require_id(word, path, f"line {number}")
        if word in ids:
            found = f"{word}, which stands on line {ids[word]} too"
            raise FormatError(path, f"line {number}", found, "each frame once")
        ids[word] = number
    if not ids:
        raise FormatError(path, "file", "no frame ids", "one frame id such as 000012 a line")
    return list(ids)


def _require_id(word: str, path: Path, place: str) -> None:
    # Ids become names of files, and words of lines.
    if len(word.split()) != 1 or word.startswith(".") or "/" in word or "\\" in word:
        raise FormatError(path, place, repr(word), "a frame id such as 000012: a file's name without its suffix")


class ObjectDataset:
    """A data set in KITTI's object layout.

    Args:
        root: the folder that holds `training/` or `testing/`, and `ImageSets/`; or `training/` or `testing/` itself.
        split: the name of a file in `ImageSets/` without its suffix; None for every frame that has a calibration. The
            split `test` is KITTI's: frames of `testing/`, all of them without `ImageSets/test.txt`. Other splits belong
            to `training/`, unless `root` is `testing/` itself.

    Raises:
        FormatError: no such folder or split, no frames, or a frame without calibration or left image.
    """

    def __init__(self, root: str | Path, split: str | None = None) -> None:
        self.split = split
        self.folder = _frames_folder(Path(root), split)
        self.root = self.folder.parent
        if not (self.folder / "calib").is_dir():
            found, expected = f"no {self.folder.name}/calib in it", "a data set in KITTI's object layout"
            raise FormatError(self.root, "folder", found, expected)
        path = self.root / "ImageSets" / f"{split}.txt"
        if split is None or (split == TEST_SPLIT and not path.exists()):
            path = self.folder / "calib"
            self.frame_ids = _ids_in(path)
        else:
            self.frame_ids = read_split(path)
        # Folders are listed once: on a network's file system a question for each file takes minutes.
        calibrated, pictured = set(_ids_in(self.folder / "calib")), set(image_names(self.folder / "image_2"))
        for number, frame_id in enumerate(self.frame_ids, start=1):
            if frame_id not in calibrated or frame_id not in pictured:
                kind, more = ("image_2", " (or .jpg)") if frame_id in calibrated else ("calib", "")
                expected = f"a frame with the file {self.frame(frame_id).path(kind)}{more}"
                raise FormatError(path, f"entry {number}", f"{frame_id}, a missing frame", expected)

    def only(self, frame_ids: Sequence[str]) -> "ObjectDataset":
        """The same data set with only these frames, in this order."""
        part = copy.copy(self)
        part.frame_ids = list(frame_ids)
        return part

    def __len__(self) -> int:
        return len(self.frame_ids)

    def __getitem__(self, index: int) -> Frame:
        return self.frame(self.frame_ids[index])

    def __iter__(self) -> Iterator[Frame]:
        return (self.frame(frame_id) for frame_id in self.frame_ids)

    def frame(self, frame_id: str) -> Frame:
        """The frame of an id, even one outside of the split."""
        return Frame(self.folder, frame_id)

    def digests(self, kinds: Sequence[str]) -> dict[str, str]:
        """A digest of each frame's files of these kinds (`Frame.path`), by frame id, see `files.files_digest`."""
        return {frame.frame_id: files_digest(frame.path(kind) for kind in kinds) for frame in self}


def find_frame(root: str | Path, frame: str) -> Frame:
    """One frame of the data set at `root` (see `ObjectDataset`, its errors too); the id may lack leading zeros."""
    folder = _frames_folder(Path(root), None)
    for name in (frame, frame.zfill(6), frame.zfill(10)) if frame.isdecimal() else (frame,):
        if (folder / "calib" / f"{name}.txt").is_file():
            return Frame(folder, name)
    there = _ids_in(folder / "calib") if (folder / "calib").is_dir() else []
    found = f"no {frame}.txt" + (f" among {len(there)}, {there[0]} to {there[-1]}" if there else "")
    raise FormatError(folder / "calib", "folder", found, "the calibration of the frame that is asked for")


def _frames_folder(root: Path, split: str | None) -> Path:
    if root.name in (TRAINING, TESTING) and (root / "calib").is_dir():
        if root.name == TRAINING and split == TEST_SPLIT:
            raise FormatError(root, "split", f"split={split}", f"{root.parent}: the split is of {TESTING}/")
        if root.name == TESTING and split in _TRAINING_SPLITS:
            # Its frames have numbers that frames of training/ have, too.
            raise FormatError(root, "split", f"split={split}, which is of {TRAINING}/", f"split={TEST_SPLIT} or null")
        return root
    return root / (TESTING if split == TEST_SPLIT else TRAINING)


def _ids_in(calib: Path) -> list[str]:
    ids = sorted(name[:-4] for name in os.listdir(calib) if name.endswith(".txt") and not name.startswith("."))
    if not ids:
        raise FormatError(calib, "folder", "no frames (no .txt files)", "a calibration for each frame")
    for frame_id in ids:
        _require_id(frame_id, calib / f"{frame_id}.txt", "name")
    return ids
