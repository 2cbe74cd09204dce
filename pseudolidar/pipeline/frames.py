"""Where stereo pairs come from that lie in no data set of KITTI's object layout: three files, or a raw drive."""

import re
from dataclasses import dataclass
from pathlib import Path

from pseudolidar.files import FormatError, require_file
from pseudolidar.kitti import Frame, RawDrive


@dataclass(frozen=True)
class PairFrame(Frame):
    """A frame of three files anywhere; it has no label. `folder` is the left image's, `frame_id` its name.

    The pair has to be rectified: matching points lie on one row. Nothing in a pair shows that it isn't.
    """

    left: Path
    right: Path
    calib: Path

    @classmethod
    def from_files(cls, left: str | Path, right: str | Path, calib: str | Path) -> "PairFrame":
        """A frame named after its left image.

        Args:
            left, right: 8-bit colour images (PNG, JPEG) of one size.
            calib: KITTI calibration with P2 and P3 for images of that size. Without Tr_velo_to_cam the cloud has the
                camera's place for its origin, see `CANONICAL_VELO_TO_CAM`.

        Raises:
            FormatError: one of them isn't there.
        """
        left = require_file(left, "the left image")
        right = require_file(right, "the right image")
        return cls(left.parent, left.stem, left, right, require_file(calib, "a KITTI calibration file"))

    def path(self, kind: str) -> Path:
        """The file of one kind: calib, image_2, image_3; the others' paths hold nothing."""
        files = {"calib": self.calib, "image_2": self.left, "image_3": self.right}
        return files[kind] if kind in files else super().path(kind)


def raw_drive(folder: str | Path) -> RawDrive:
    """The frames of a raw drive from its folder, ROOT/2011_09_26/2011_09_26_drive_0001_sync.

    Raises:
        FormatError: no such folder, one of another name, or what `RawDrive` refuses.
    """
    path = Path(folder).absolute()
    match = re.fullmatch(r"(\d{4}_\d{2}_\d{2})_drive_(\d+)_sync", path.name)
    if match is None or path.parent.name != match[1]:
        expected = "DATE/DATE_drive_NUMBER_sync, e.g. 2011_09_26/2011_09_26_drive_0001_sync"
        raise FormatError(folder, "name", "/".join(path.parts[-2:]), expected)
    return RawDrive(path.parent.parent, match[1], match[2])
