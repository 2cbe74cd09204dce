"""A data set with clouds as LiDAR sweeps, for OpenPCDet and mmdetection3d.

pseudolidar export_kitti data=DIR clouds=DIR output=DIR
"""

from pathlib import Path

from pseudolidar.kitti import ObjectDataset, export_dataset


def main(*, data: Path, clouds: Path, splits: list[str], output: Path, overwrite: bool) -> None:
    """A folder in KITTI's object layout; splits that are there stay."""
    for split in splits:
        export_dataset(ObjectDataset(data, split), clouds, output, overwrite)
    print(f"data set: {output}")
