"""KITTI's stereo benchmarks of 2015 and 2012: few pairs, LiDAR of several sweeps, cars of 2015 fitted with models.

Menze and Geiger, Object Scene Flow for Autonomous Vehicles, CVPR 2015; Geiger et al., CVPR 2012. torchvision's
`Kitti2015Stereo` pairs the images of both moments (_10, _11) with the maps of the first by their place in two sorted
lists, so that nearly every map belongs to another image (pytorch/vision issue 7128); neither of its classes reads the
calibration.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pseudolidar.files import FormatError, InputError
from pseudolidar.kitti import Calibration, image_path, read_disparity, read_image
from pseudolidar.stereo.pairs import StereoPair

# By year: left images, right images, disparity of all pixels (occluded ones too), calibration.
_FOLDERS = {
    2015: ("image_2", "image_3", "disp_occ_0", "calib_cam_to_cam"),
    2012: ("colored_0", "colored_1", "disp_occ", "calib"),
}
_TRAINING_PAIRS = 160


class KittiStereoPairs:
    """Pairs of `root`/training/, as the benchmark's archives unpack.

    2015: {image_2, image_3, disp_occ_0}/ID_10.png and, if there, calib_cam_to_cam/ID.txt. 2012: {colored_0, colored_1,
    disp_occ}/ID_10.png and, if there, calib/ID.txt. Images may be JPEG.

    Args:
        root: the folder with `training/` in it.
        year: 2015 or 2012.
        split: `train` for the first 160 pairs, `val` for the others (40 in 2015, 34 in 2012), or `all`.

    Raises:
        FormatError: no folder, no disparity maps, or none in the split.
        InputError: an unknown year or split.
    """

    def __init__(self, root: str | Path, year: Literal[2015, 2012], split: Literal["train", "val", "all"]) -> None:
        if year not in _FOLDERS:
            raise InputError(f"year: found {year}, expected 2015 or 2012")
        parts = {"train": slice(_TRAINING_PAIRS), "val": slice(_TRAINING_PAIRS, None), "all": slice(None)}
        if split not in parts:
            raise InputError(f"split: found {split!r}, expected 'train', 'val' or 'all'")
        self._folder = Path(root) / "training"
        self._left, self._right, self._disparity, self._calibration = _FOLDERS[year]
        maps = sorted(path.stem for path in (self._folder / self._disparity).glob("*_10.png"))
        if not maps[parts[split]]:
            expected = f"disparity maps ID_10.png of KITTI {year}" + (f", more than {_TRAINING_PAIRS}" if maps else "")
            raise FormatError(self._folder / self._disparity, f"split {split}", f"{len(maps)} in all", expected)
        self._names = maps[parts[split]]

    @property
    def names(self) -> Sequence[str]:
        """Names of the pairs in the split, such as 000000_10, ascending."""
        return self._names

    def read(self, index: int) -> StereoPair:
        """The pair of a place in `names`."""
        left, right, disparity, calibration = self.files(index)
        constant = Calibration.from_file(calibration).camera_constant_px_m if calibration.is_file() else None
        return StereoPair(left, read_image(left), read_image(right), read_disparity(disparity), constant)

    def files(self, index: int) -> Sequence[Path]:
        """Left image, right image, disparity map and calibration of a pair; the last need not be there."""
        name = self._names[index]
        return [
            *(image_path(self._folder / side, name) for side in (self._left, self._right)),
            self._folder / self._disparity / f"{name}.png",
            self._folder / self._calibration / f"{name.partition('_')[0]}.txt",
        ]
