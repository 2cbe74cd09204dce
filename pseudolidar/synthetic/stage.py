"""A town as a stage of a study."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pseudolidar.files import InputError
from pseudolidar.synthetic.preset import PRESETS
from pseudolidar.synthetic.town import RENDERER_VERSION, write_town


@dataclass(frozen=True)
class TownData:
    """A synthetic town, made by the study: the preset's name, and the number of frames of both splits."""

    preset: str
    train: int
    val: int

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise InputError(f"preset: found {self.preset!r}, expected one of {', '.join(PRESETS)}")


@dataclass(frozen=True)
class TownTask:
    """Makes a synthetic town.

    Attributes:
        data: preset and numbers of frames.
        seed: of the random scenes.
    """

    data: TownData
    seed: int
    version: ClassVar[int] = RENDERER_VERSION

    def settings(self) -> Mapping[str, Any]:
        """The town's preset and numbers of frames, and the seed."""
        return {**dataclasses.asdict(self.data), "seed": self.seed}

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        """Write the frames that are missing."""
        splits = {"train": self.data.train, "val": self.data.val}
        write_town(folder, PRESETS[self.data.preset], splits, self.seed, overwrite=True)
