"""A synthetic town, written as a KITTI object data set.

pseudolidar make_town output=DIR preset=mini train=300 val=100 seed=0
"""

from pathlib import Path

from pseudolidar.files import InputError
from pseudolidar.synthetic import PRESETS, write_town


def main(*, output: Path, overwrite: bool, preset: str, train: int, val: int, seed: int, workers: int) -> None:
    """Render what the configuration asks for and say where it is."""
    if preset not in PRESETS:
        raise InputError(f"preset: found {preset!r}, expected one of {', '.join(PRESETS)}")
    splits = {name: count for name, count in (("train", train), ("val", val)) if count > 0}
    write_town(output, PRESETS[preset], splits, seed, workers, overwrite)
    print(f"{sum(splits.values())} frames at {output}")
