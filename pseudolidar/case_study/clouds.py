"""The data of the case study, and r: the fixed generator that turns disparity into clouds."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pseudolidar.case_study.oracle import truth_of
from pseudolidar.case_study.settings import FolderData
from pseudolidar.cloud import LIDAR_GRID, write_clouds, write_lidar_clouds
from pseudolidar.files import combined_digest, replacing
from pseudolidar.kitti import ObjectDataset
from pseudolidar.systems import Inputs, Resources, Step

# A frame's files, as far as it has them.
_KINDS = ("calib", "image_2", "image_3", "label_2", "velodyne", "disparity")

DEPTH = "u"
"""The vertex whose disparity becomes clouds."""


@dataclass(frozen=True)
class FolderTask:
    """Links to a data set of the user as it is, identified by its splits and a digest of its files."""

    data: FolderData

    @property
    def version(self) -> int:
        """Version of how the folder is linked and its splits are written."""
        return 3

    def settings(self) -> Mapping[str, Any]:
        """Where it is, its splits, and a digest of its files."""
        return {"root": str(self.data.root), **_splits(self.data), "files": self._digest}

    @cached_property
    def _digest(self) -> str:
        digests: dict[str, str] = {}
        for split in ("train", "val"):
            digests |= ObjectDataset(self.data.root, split).digests(_KINDS)
        return combined_digest(digests)

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        """Link to training/ and ImageSets/ of the user's folder, and write the frame ids of the splits."""
        for name in ("training", "ImageSets"):
            link = folder / name
            link.unlink(missing_ok=True)
            link.symlink_to((Path(self.data.root) / name).resolve(), target_is_directory=True)
        with replacing(folder / "splits.json") as temporary:
            temporary.write_text(json.dumps(_splits(self.data)))


def _splits(data: FolderData) -> dict[str, list[str]]:
    return {split: list(ObjectDataset(data.root, split).frame_ids) for split in ("train", "val")}


@dataclass(frozen=True)
class PointCloudGenerator:
    """r in the paper: the fixed generator that turns the disparity maps of both splits into clouds.

    Attributes:
        max_height_m: winsorization.
        max_depth_m: of near-only clouds; None: whole ones.
        sparse: as PointRCNN takes them.
    """

    max_height_m: float
    max_depth_m: float | None = None
    sparse: bool = False

    @property
    def vertex(self) -> str:
        """Name of the vertex that makes these clouds, e.g. cloud-near-sparse."""
        return f"cloud{'' if self.max_depth_m is None else '-near'}{'-sparse' if self.sparse else ''}"

    @property
    def steps(self) -> tuple[Step, ...]:
        """Nothing to train, nothing to test."""
        return ("predict",)

    def settings(self, step: Step) -> Mapping[str, Any]:
        """What is cropped, and the grid of sparse clouds."""
        settings: dict[str, Any] = {"max_height_m": self.max_height_m, "max_depth_m": self.max_depth_m}
        return {**settings, "grid": dataclasses.asdict(LIDAR_GRID)} if self.sparse else settings

    def version(self, step: Step) -> int:
        """Version of how clouds are made (`write_clouds`)."""
        return 1

    def resources(self, step: Step) -> Resources:
        """One processor thread, no GPU."""
        return Resources()

    def run(self, step: Step, inputs: Inputs, folder: Path) -> None:
        """Write the clouds that are missing."""
        train, val = (ObjectDataset(inputs.data, split) for split in ("train", "val"))
        frame_ids = [*train.frame_ids, *val.frame_ids]
        truth = truth_of(inputs.parents[DEPTH])
        crop = (self.max_height_m, self.max_depth_m)
        if truth == "velodyne":
            # A sweep is sparse as it is.
            write_lidar_clouds(val.folder / "velodyne", folder, frame_ids, *crop, workers=1)
            return
        disparities = inputs.parents[DEPTH] if truth is None else val.folder / "disparity"
        grid = LIDAR_GRID if self.sparse else None
        write_clouds(disparities, val.folder / "calib", folder, frame_ids, *crop, workers=1, grid=grid)
