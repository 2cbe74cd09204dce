"""The data of the case study, and r: the fixed generator that turns disparity into clouds."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from pseudolidar.case_study.disparity import DISPARITY, truth_of
from pseudolidar.cloud import LIDAR_GRID, write_clouds, write_lidar_clouds
from pseudolidar.files import combined_digest, write_file
from pseudolidar.kitti import ObjectDataset
from pseudolidar.systems import Inputs, Model, Step
from pseudolidar.systems.external import SPLITS

# A frame's files, as far as it has them.
_KINDS = ("calib", "image_2", "image_3", "label_2", "velodyne", "disparity")


@dataclass(frozen=True)
class FolderData:
    """A data set of the user's in KITTI's object layout, with ImageSets/train.txt and ImageSets/val.txt."""

    root: str | Path

    def __post_init__(self) -> None:
        # A relative name would be another folder for the same study elsewhere.
        object.__setattr__(self, "root", Path(self.root).resolve())

    def frame_ids(self) -> dict[str, list[str]]:
        """The frame ids of each split."""
        return {split: list(ObjectDataset(self.root, split).frame_ids) for split in SPLITS}


@dataclass(frozen=True)
class FolderTask:
    """Links to a data set of the user as it is, identified by its splits and a digest of its files."""

    data: FolderData
    version: ClassVar[int] = 3

    def settings(self) -> Mapping[str, Any]:
        """Where it is, its splits, and a digest of its files."""
        return {"root": str(self.data.root), **self.data.frame_ids(), "files": self._digest}

    @cached_property
    def _digest(self) -> str:
        digests: dict[str, str] = {}
        for split in SPLITS:
            digests |= ObjectDataset(self.data.root, split).digests(_KINDS)
        return combined_digest(digests)

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        """Link to training/ and ImageSets/ of the user's folder, and write the frame ids of the splits."""
        for name in ("training", "ImageSets"):
            link = folder / name
            link.unlink(missing_ok=True)
            link.symlink_to((Path(self.data.root) / name).resolve(), target_is_directory=True)
        write_file(folder / "splits.json", json.dumps(self.data.frame_ids()))


@dataclass(frozen=True)
class PointCloudGenerator(Model):
    """r in the paper: the fixed generator that turns the disparity maps of both splits into clouds.

    Points as high as `max_height_m` above the sensor, or higher, are dropped (winsorization), and those beyond
    `max_depth_m` for near-only clouds; `sparse`: as PointRCNN takes them.
    """

    max_height_m: float
    max_depth_m: float | None = None
    sparse: bool = False
    versions: ClassVar[Mapping[Step, int]] = {"predict": 1}

    @property
    def vertex(self) -> str:
        """Name of the vertex that makes these clouds, e.g. cloud-near-sparse."""
        return f"cloud{'' if self.max_depth_m is None else '-near'}{'-sparse' if self.sparse else ''}"

    @override
    def settings(self, step: Step) -> Mapping[str, Any]:
        settings: dict[str, Any] = {"max_height_m": self.max_height_m, "max_depth_m": self.max_depth_m}
        return {**settings, "grid": dataclasses.asdict(LIDAR_GRID)} if self.sparse else settings

    def run_predict(self, inputs: Inputs, folder: Path) -> None:
        """Write the clouds that are missing."""
        train, val = (ObjectDataset(inputs.data, split) for split in ("train", "val"))
        frame_ids = [*train.frame_ids, *val.frame_ids]
        truth = truth_of(inputs.parents[DISPARITY])
        crop = (self.max_height_m, self.max_depth_m)
        if truth == "velodyne":
            # A sweep is sparse as it is.
            write_lidar_clouds(val.folder / "velodyne", folder, frame_ids, *crop, workers=1)
            return
        disparities = inputs.parents[DISPARITY] if truth is None else val.folder / "disparity"
        grid = LIDAR_GRID if self.sparse else None
        write_clouds(disparities, val.folder / "calib", folder, frame_ids, *crop, workers=1, grid=grid)
