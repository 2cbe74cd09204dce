"""Disparity maps to point clouds.

pseudolidar make_clouds disparity=DIR calib=DIR output=DIR [cloud=near_only] [format=ply]
"""

from dataclasses import dataclass
from pathlib import Path

from pseudolidar.cloud import AngularGrid, write_clouds
from pseudolidar.files import FormatError
from pseudolidar.inference import Shard
from pseudolidar.kitti import DISPARITY_SUFFIXES


@dataclass(frozen=True)
class Cloud:
    """A choice of configs/cloud; see `disparity_to_points`."""

    max_height: float | None
    max_depth: float | None
    grid: AngularGrid | None
    baseline: float | None
    quantization: float | None


def main(
    *,
    disparity: Path,
    calib: Path,
    output: Path,
    overwrite: bool,
    format: str,
    workers: int | None,
    shard: str | None,
    cloud: Cloud,
) -> None:
    """One cloud for every disparity map in the folder; clouds that are there are kept."""
    frame_ids = sorted({path.stem for path in disparity.glob("*.*") if path.suffix in DISPARITY_SUFFIXES})
    if not frame_ids:
        raise FormatError(disparity, "folder", "none", f"disparity maps: {', '.join(DISPARITY_SUFFIXES)}")
    part = Shard.from_text(shard)
    write_clouds(
        disparity, calib, output, part.of(frame_ids), **vars(cloud), format=format, workers=workers, overwrite=overwrite
    )
    print(f"clouds: {output}")
