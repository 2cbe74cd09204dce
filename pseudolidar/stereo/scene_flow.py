"""The Scene Flow data sets (FlyingThings3D, Driving, Monkaa), on which stereo networks are trained first.

Mayer et al., A Large Dataset to Train Convolutional Networks for Disparity, Optical Flow, and Scene Flow Estimation,
CVPR 2016. torchvision's `SceneFlowStereo` mixes the test half of FlyingThings3D into training, pairs images and maps by
their place in two sorted lists, and keeps their paths, hence the focal length of each, to itself.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from pseudolidar.files import FormatError, InputError
from pseudolidar.kitti import read_image, read_pfm
from pseudolidar.stereo.pairs import StereoPair

# Focal lengths of the virtual camera at 960 x 540, px: a lens of 35 mm, and one of 15 mm in a part of Driving.
_FOCAL_PX = 1050.0
_WIDE_FOCAL_PX = 450.0
_WIDE_FOLDER = "15mm_focallength"
# Distance of the cameras in the units of the scenes, which are no metres.
_BASELINE = 1.0
_SUBSETS = ("FlyingThings3D", "Driving", "Monkaa")
_FOLDERS = {"clean": "frames_cleanpass", "final": "frames_finalpass"}


class SceneFlowPairs:
    """Pairs of `root`/SUBSET/{frames_cleanpass, frames_finalpass, disparity}/.../{left, right}/*, as distributed.

    Depths, which a depth loss would be about, are in the scenes' own units, in which the cameras are 1 apart.

    Args:
        root: the folder with a folder for each subset.
        split: `train` for FlyingThings3D/TRAIN, and all of Driving and Monkaa, which have no test half (35,454 pairs);
            `test` for FlyingThings3D/TEST (4,370 pairs).
        subsets: which of FlyingThings3D, Driving and Monkaa.
        rendering: `clean`, or `final` with motion blur and depth of field.

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
        if rendering not in _FOLDERS:
            raise InputError(f"rendering: found {rendering!r}, expected 'clean' or 'final'")
        if not subsets or not set(subsets) <= set(_SUBSETS):
            raise InputError(f"subsets: found {list(subsets)}, expected some of {', '.join(_SUBSETS)}")
        self._root = Path(root)
        self._frames = _FOLDERS[rendering]
        # Names only: 35,454 paths would take tens of megabytes.
        self._names: list[str] = []
        for subset in subsets:
            if split == "train" or subset == "FlyingThings3D":
                half = split.upper() if subset == "FlyingThings3D" else "."
                self._names += self._listed(subset, half)
        if not self._names:
            raise InputError(f"subsets: found {list(subsets)} for split 'test', expected FlyingThings3D among them")

    def _listed(self, subset: str, half: str) -> list[str]:
        folder = self._root / subset / "disparity" / half
        maps = sorted(folder.glob("**/left/*.pfm"))
        if not maps:
            expected = f"{subset}'s disparity maps, .../left/*.pfm, beside {subset}/{self._frames}"
            raise FormatError(folder, "folder", "none" if folder.is_dir() else "nothing there", expected)
        base = self._root / subset / "disparity"
        return [f"{subset}/{path.relative_to(base).with_suffix('').as_posix()}" for path in maps]

    @property
    def names(self) -> Sequence[str]:
        """A name for each pair: subset, scene and left frame, such as FlyingThings3D/TRAIN/A/0000/left/0006."""
        return self._names

    def read(self, index: int) -> StereoPair:
        """The pair of a place in `names`."""
        left, right, disparity = self.files(index)
        constant = (_WIDE_FOCAL_PX if _WIDE_FOLDER in self._names[index] else _FOCAL_PX) * _BASELINE
        # Some of the published maps of the left view carry the other sign.
        return StereoPair(left, read_image(left), read_image(right), np.abs(read_pfm(disparity)), constant)

    def files(self, index: int) -> Sequence[Path]:
        """Left image, right image and disparity map of a pair."""
        subset, _, place = self._names[index].partition("/")
        scene, _, frame = place.rpartition("/left/")
        right = self._image(subset, f"{scene}/right/{frame}")
        return [self._image(subset, place), right, self._root / subset / "disparity" / f"{place}.pfm"]

    def _image(self, subset: str, place: str) -> Path:
        """The image's file: distributed as PNG and as WebP."""
        path = self._root / subset / self._frames / f"{place}.png"
        return path if path.is_file() or not path.with_suffix(".webp").is_file() else path.with_suffix(".webp")
