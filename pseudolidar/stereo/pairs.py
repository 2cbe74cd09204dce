"""Rectified pairs with their disparity, and where they come from: KITTI's objects and stereo benchmarks, Scene Flow.

torchvision's data sets are not used. `Kitti2015Stereo` pairs the images of both moments (_10, _11) with the maps of the
first by their place in two sorted lists, so that nearly every map belongs to another image (pytorch/vision issue 7128),
and reads no calibration; `SceneFlowStereo` mixes the test half of FlyingThings3D into training, pairs in the same way,
and keeps the paths, hence the focal lengths, to itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import FormatError, InputError, files_digest
from pseudolidar.kitti import Calibration, ObjectDataset, image_path, read_disparity, read_image, read_pfm
from pseudolidar.stereo.targets import target_disparity


@dataclass(frozen=True, eq=False)
class StereoPair:
    """A rectified pair with the disparity of its left image; FormatError for other types, sizes or values.

    Attributes:
        source: the left image's file; errors name it.
        left, right: uint8 (H, W, 3) RGB.
        disparity: float32 (H, W) px, 0 where unknown, finite and not negative.
        camera_constant_px_m: focal length x baseline, px m; None where the data set doesn't say.
        boxes: float64 (N, 4) x1 y1 x2 y2 px, of the cars and pedestrians; empty where there are no labels.
    """

    source: Path
    left: NDArray[np.uint8]
    right: NDArray[np.uint8]
    disparity: NDArray[np.float32]
    camera_constant_px_m: float | None
    boxes: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))

    def __post_init__(self) -> None:
        for name, image in (("left image", self.left), ("right image", self.right)):
            # Floats would have to be told apart by their range, 0..1 or 0..255: 8 bits leave no doubt.
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise FormatError(self.source, name, f"{image.dtype} {image.shape}", "uint8 (H, W, 3) RGB")
        for name, array in (("right image", self.right), ("disparity", self.disparity)):
            if array.shape[:2] != self.left.shape[:2]:
                expected = f"{_size(self.left)}, the size of the left image"
                raise FormatError(self.source, name, _size(array), expected)
        bad = ~np.isfinite(self.disparity) | (self.disparity < 0)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            place = f"disparity, row {row}, column {column} ({int(bad.sum())} such pixels)"
            raise FormatError(self.source, place, self.disparity[row, column], "a finite disparity, 0 where unknown")


def _size(array: NDArray[np.generic]) -> str:
    return f"{array.shape[1]} x {array.shape[0]} px" if array.ndim >= 2 else f"shape {array.shape}"


class StereoPairs(Protocol):
    """A data set of rectified pairs."""

    @property
    def names(self) -> Sequence[str]:
        """A name for each pair, each once."""

    def read(self, index: int) -> StereoPair:
        """The pair of a place in `names`, read anew; also in worker processes, which get the data set by pickle."""

    def files(self, index: int) -> Sequence[Path]:
        """The files that `read` reads, those that may be missing too."""


def digests_of(pairs: StereoPairs) -> dict[str, str]:
    """Digests of the pairs' files by the pair's name, see `files.files_digest`."""
    return {name: files_digest(pairs.files(index)) for index, name in enumerate(pairs.names)}


class ObjectPairs:
    """The pairs of a data set in KITTI's object layout, with exact disparity (synthetic data) or the LiDAR's.

    `names` are frame ids, in the order of the split; FormatError if there are none.
    """

    def __init__(self, dataset: ObjectDataset) -> None:
        if not len(dataset):
            raise FormatError(dataset.root, f"split {dataset.split}", "no frames", "frames to train on")
        self._dataset = dataset
        self.names: Sequence[str] = dataset.frame_ids

    @classmethod
    def from_folder(cls, root: str | Path, split: str | None) -> "ObjectPairs":
        """The pairs of a split of a folder, see `ObjectDataset`."""
        return cls(ObjectDataset(root, split))

    def read(self, index: int) -> StereoPair:
        """The pair of a frame, with the boxes of its cars and pedestrians where it has labels."""
        frame = self._dataset[index]
        left, right = frame.stereo_pair()
        calibration = frame.calibration
        disparity, constant = target_disparity(frame, calibration), calibration.camera_constant_px_m
        boxes = np.zeros((0, 4))
        if frame.path("label_2").is_file():
            objects = frame.objects()
            boxes = objects.box2d[np.isin(objects.class_name, ("Car", "Pedestrian"))]
        return StereoPair(frame.path("image_2"), left, right, disparity, constant, boxes)

    def files(self, index: int) -> Sequence[Path]:
        """Images, calibration, labels, and the exact disparity or the LiDAR's sweep."""
        frame = self._dataset[index]
        truth = "disparity" if frame.has_exact_disparity() else "velodyne"
        return [frame.path(kind) for kind in ("image_2", "image_3", "calib", "label_2", truth)]


# By year: left images, right images, disparity of all pixels (occluded ones too), calibration.
_KITTI_FOLDERS = {
    2015: ("image_2", "image_3", "disp_occ_0", "calib_cam_to_cam"),
    2012: ("colored_0", "colored_1", "disp_occ", "calib"),
}
_KITTI_TRAINING_PAIRS = 160


class KittiStereoPairs:
    """KITTI's stereo benchmarks: few pairs, LiDAR of several sweeps, cars of 2015 fitted with models.

    Menze and Geiger, Object Scene Flow for Autonomous Vehicles, CVPR 2015; Geiger et al., CVPR 2012.

    As the archives unpack, in `root`/training/: of 2015 {image_2, image_3, disp_occ_0}/ID_10.png and, if there,
    calib_cam_to_cam/ID.txt; of 2012 {colored_0, colored_1, disp_occ}/ID_10.png and, if there, calib/ID.txt. Images may
    be JPEG. `names` are such as 000000_10, ascending; the split is `train` for the first 160, `val` for the others (40
    in 2015, 34 in 2012), or `all`.

    Raises:
        FormatError: no folder, no disparity maps, or none in the split.
        InputError: an unknown year or split.
    """

    def __init__(self, root: str | Path, year: Literal[2015, 2012], split: Literal["train", "val", "all"]) -> None:
        if year not in _KITTI_FOLDERS:
            raise InputError(f"year: found {year}, expected 2015 or 2012")
        most = _KITTI_TRAINING_PAIRS
        parts = {"train": slice(most), "val": slice(most, None), "all": slice(None)}
        if split not in parts:
            raise InputError(f"split: found {split!r}, expected 'train', 'val' or 'all'")
        folder = Path(root) / "training"
        self._left, self._right, self._disparity, self._calibration = (folder / name for name in _KITTI_FOLDERS[year])
        maps = sorted(path.stem for path in self._disparity.glob("*_10.png"))
        self.names: Sequence[str] = maps[parts[split]]
        if not self.names:
            expected = f"disparity maps ID_10.png of KITTI {year}" + (f", more than {most}" if maps else "")
            raise FormatError(self._disparity, f"split {split}", f"{len(maps)} in all", expected)

    def read(self, index: int) -> StereoPair:
        """The pair of a place in `names`."""
        left, right, disparity, calibration = self.files(index)
        constant = Calibration.from_file(calibration).camera_constant_px_m if calibration.is_file() else None
        return StereoPair(left, read_image(left), read_image(right), read_disparity(disparity), constant)

    def files(self, index: int) -> Sequence[Path]:
        """Left image, right image, disparity map and calibration of a pair; the last need not be there."""
        name = self.names[index]
        images = [image_path(side, name) for side in (self._left, self._right)]
        return [*images, self._disparity / f"{name}.png", self._calibration / f"{name.partition('_')[0]}.txt"]


# Focal lengths of the virtual camera at 960 x 540, px: a lens of 35 mm, and one of 15 mm in a part of Driving.
_FOCAL_PX, _WIDE_FOCAL_PX = 1050.0, 450.0
_WIDE_FOLDER = "15mm_focallength"
# Distance of the cameras in the units of the scenes, which are no metres.
_BASELINE = 1.0
_SUBSETS = ("FlyingThings3D", "Driving", "Monkaa")
_RENDERINGS = {"clean": "frames_cleanpass", "final": "frames_finalpass"}


class SceneFlowPairs:
    """The Scene Flow data sets, on which stereo networks are trained first.

    Mayer et al., A Large Dataset to Train Convolutional Networks for Disparity, Optical Flow, and Scene Flow
    Estimation, CVPR 2016. As distributed, in `root`/SUBSET/{frames_cleanpass, frames_finalpass, disparity}/.../{left,
    right}/*. Depths are in the scenes' own units, in which the cameras are 1 apart. `names` are such as
    FlyingThings3D/TRAIN/A/0000/left/0006.

    The split is `train` for FlyingThings3D/TRAIN, and all of Driving and Monkaa, which have no test half (35,454
    pairs), or `test` for FlyingThings3D/TEST (4,370 pairs). The rendering is `clean`, or `final` with motion blur and
    depth of field.

    Raises:
        FormatError: no folder or no disparity maps of a subset.
        InputError: an unknown split, subset or rendering.
    """

    def __init__(
        self,
        root: str | Path,
        split: Literal["train", "test"],
        subsets: Sequence[str],
        rendering: Literal["clean", "final"],
    ) -> None:
        if split not in ("train", "test"):
            raise InputError(f"split: found {split!r}, expected 'train' or 'test'")
        if rendering not in _RENDERINGS:
            raise InputError(f"rendering: found {rendering!r}, expected 'clean' or 'final'")
        if not subsets or not set(subsets) <= set(_SUBSETS):
            raise InputError(f"subsets: found {list(subsets)}, expected some of {', '.join(_SUBSETS)}")
        self._root = Path(root)
        self._frames = _RENDERINGS[rendering]
        # Names only: 35,454 paths would take tens of megabytes.
        names: list[str] = []
        for subset in subsets:
            if split == "train" or subset == "FlyingThings3D":
                names += self._listed(subset, split.upper() if subset == "FlyingThings3D" else ".")
        if not names:
            raise InputError(f"subsets: found {list(subsets)} for split 'test', expected FlyingThings3D among them")
        self.names: Sequence[str] = names

    def _listed(self, subset: str, half: str) -> list[str]:
        base = self._root / subset / "disparity"
        folder = base / half
        maps = sorted(folder.glob("**/left/*.pfm"))
        if not maps:
            expected = f"{subset}'s disparity maps, .../left/*.pfm, beside {subset}/{self._frames}"
            raise FormatError(folder, "folder", "none" if folder.is_dir() else "nothing there", expected)
        return [f"{subset}/{path.relative_to(base).with_suffix('').as_posix()}" for path in maps]

    def read(self, index: int) -> StereoPair:
        """The pair of a place in `names`."""
        left, right, disparity = self.files(index)
        constant = (_WIDE_FOCAL_PX if _WIDE_FOLDER in self.names[index] else _FOCAL_PX) * _BASELINE
        # Some of the published maps of the left view carry the other sign.
        return StereoPair(left, read_image(left), read_image(right), np.abs(read_pfm(disparity)), constant)

    def files(self, index: int) -> Sequence[Path]:
        """Left image, right image and disparity map of a pair."""
        subset, _, place = self.names[index].partition("/")
        scene, _, frame = place.rpartition("/left/")
        right = self._image(subset, f"{scene}/right/{frame}")
        return [self._image(subset, place), right, self._root / subset / "disparity" / f"{place}.pfm"]

    def _image(self, subset: str, place: str) -> Path:
        """The image's file: distributed as PNG and as WebP."""
        path = self._root / subset / self._frames / f"{place}.png"
        return path if path.is_file() or not path.with_suffix(".webp").is_file() else path.with_suffix(".webp")
