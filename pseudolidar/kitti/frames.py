"""Frames of a data set in KITTI's object layout, read when asked for."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import FormatError, files_digest, require_file
from pseudolidar.kitti.arrays import read_disparity, read_points
from pseudolidar.kitti.calibration import Calibration
from pseudolidar.kitti.images import read_image, read_image_size
from pseudolidar.kitti.objects import Objects, read_objects

_SUFFIXES = {
    "calib": ".txt",
    "image_2": ".png",
    "image_3": ".png",
    "label_2": ".txt",
    "velodyne": ".bin",
    "disparity": ".png",
}


@dataclass(frozen=True)
class Frame:
    """One frame of the object layout: `folder`/{calib, image_2, image_3, label_2, velodyne, disparity}/`frame_id`.*

    Every method reads its file anew; nothing is kept.
    """

    folder: Path
    frame_id: str

    def path(self, kind: str) -> Path:
        """The file of one kind: calib, image_2, image_3, label_2, velodyne or disparity."""
        return self.folder / kind / f"{self.frame_id}{_SUFFIXES[kind]}"

    @property
    def calibration(self) -> Calibration:
        """The frame's calibration."""
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
        """Both images, uint8 (H, W, 3) RGB; an error where their sizes differ."""
        left, right = self.left_image(), self.right_image()
        if left.shape != right.shape:
            raise FormatError(
                self.path("image_3"),
                "image size",
                f"{right.shape[1]} x {right.shape[0]} px",
                f"{left.shape[1]} x {left.shape[0]} px, the size of the left image",
            )
        return left, right

    def objects(self) -> Objects:
        """The labels."""
        return read_objects(self.path("label_2"), scored=False)

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
    """Read frame ids, one a line, from ImageSets/<split>.txt.

    Raises:
        FormatError: a line that is not one id of six digits or more, an id twice, or no id at all.
    """
    path = require_file(path, "a split: one frame id a line")
    ids: dict[str, int] = {}
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
        word = line.strip()
        if not word:
            continue
        if not (word.isdigit() and len(word) >= 6):
            raise FormatError(path, f"line {number}", repr(word), "a frame id such as 000012")
        if word in ids:
            raise FormatError(
                path, f"line {number}", f"{word}, which stands on line {ids[word]} too", "each frame once"
            )
        ids[word] = number
    if not ids:
        raise FormatError(path, "file", "no frame ids", "one frame id such as 000012 a line")
    return list(ids)


class ObjectDataset:
    """A data set in KITTI's object layout.

    Args:
        root: the folder that holds `training/` and `ImageSets/`.
        split: the name of a file in `ImageSets/` without its suffix; None for every frame that has a calibration.

    Raises:
        FormatError: no such folder or split, or a split that names a frame without calibration or left image.
    """

    def __init__(self, root: str | Path, split: str | None = None) -> None:
        self.root = Path(root)
        self.split = split
        self.folder = self.root / "training"
        if not (self.folder / "calib").is_dir():
            raise FormatError(self.root, "folder", "no training/calib in it", "a data set in KITTI's object layout")
        if split is None:
            files = (self.folder / "calib").glob("*.txt")
            self.frame_ids = sorted(path.stem for path in files if path.stem.isdigit())
            return
        path = self.root / "ImageSets" / f"{split}.txt"
        self.frame_ids = read_split(path)
        for number, frame_id in enumerate(self.frame_ids, start=1):
            frame = self.frame(frame_id)
            for kind in ("calib", "image_2"):
                if not frame.path(kind).is_file():
                    expected = f"a frame with the file {frame.path(kind)}"
                    raise FormatError(path, f"entry {number}", f"{frame_id}, a missing frame", expected)

    def only(self, frame_ids: Sequence[str]) -> "ObjectDataset":
        """The same data set with these of its frames, in this order."""
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
        """The frame of an id, whether the split has it or not."""
        return Frame(self.folder, frame_id)

    def digests(self, kinds: Sequence[str]) -> dict[str, str]:
        """By frame a digest of its files of these kinds (`Frame.path`), as `files.files_digest`."""
        return {frame.frame_id: files_digest(frame.path(kind) for kind in kinds) for frame in self}
