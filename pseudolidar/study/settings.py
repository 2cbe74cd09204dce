"""What determines a case study: its frames, its models, its detectors and their clouds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pseudolidar.detectors.boxes2d import Detector2dTraining
from pseudolidar.detectors.frustum_pointnet import FrustumTraining
from pseudolidar.detectors.pointrcnn import PointRCNNTraining
from pseudolidar.stereo import StereoTraining
from pseudolidar.synthetic import PRESETS

Source = Literal["u", "u'", "SGM", "y"]
"""Where a cloud's depth comes from: u (trained on depth error), u' (on disparity error), semi-global matching (not
trained), y (the oracle)."""

DetectorKind = Literal["P-RCNN", "F-PTNET"]
"""PointRCNN and Frustum PointNet, as the paper's tables call them."""

PAPER_SOURCES: tuple[Source, ...] = ("u", "u'", "y")
PAPER_UPSTREAM: tuple[Source, ...] = ("u", "u'")

FILE_NAMES: Mapping[Source, str] = {
    "u": "u-depth-mae",
    "u'": "u-disparity-mae",
    "SGM": "semi-global-matching",
    "y": "y-oracle",
}


@dataclass(frozen=True)
class TownData:
    """A synthetic town, made by the study: the preset's name, and the number of frames of both splits."""

    preset: str
    train: int
    val: int

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ValueError(f"preset: found {self.preset!r}, expected one of {', '.join(PRESETS)}")


@dataclass(frozen=True)
class FolderData:
    """A data set of the user's in KITTI's object layout, with ImageSets/train.txt and ImageSets/val.txt."""

    root: str | Path


@dataclass(frozen=True)
class SemiGlobalMatchingRow:
    """Semi-global matching beside u and u', for scale.

    Attributes:
        max_disparity: of the search, px, a multiple of 16.
        detectors: whether detectors are trained on its clouds too (Tables 1 and 3), or its disparity alone is measured
            (Table 2), which takes seconds.
    """

    max_disparity: int
    detectors: bool


@dataclass(frozen=True)
class DetectionsFile:
    """2D boxes from a file in the published format (`image_path class_id score x1 y1 x2 y2` a line)."""

    path: str | Path


@dataclass(frozen=True)
class CaseStudySettings:
    """Everything that determines the case study.

    Attributes:
        name: of the experiment, for the report.
        data: the frames.
        pretraining: the disparity model that u and u' start from (SceneFlow weights in the paper); None: from scratch.
        depth_mae: the training of u.
        disparity_mae: the training of u'.
        semi_global_matching: a disparity model without training as one more row; None: no such row.
        pointrcnn: by class, the training of PointRCNN (P-RCNN); empty: none.
        frustum_pointnet: by class, the training of Frustum PointNet (F-PTNET); empty: none.
        max_height_m: winsorization: points this high above the sensor, or higher, are dropped.
        near_m: the reach of near-only clouds and of the pedestrians' score, m.
        seed: of the town, of every training.
        boxes2d: where F-PTNET's 2D boxes come from in testing: a file, a detector trained on the training split, or,
            None, the labels.
    """

    name: str
    data: TownData | FolderData
    pretraining: StereoTraining | None
    depth_mae: StereoTraining
    disparity_mae: StereoTraining
    semi_global_matching: SemiGlobalMatchingRow | None
    pointrcnn: Mapping[str, PointRCNNTraining]
    frustum_pointnet: Mapping[str, FrustumTraining]
    max_height_m: float
    near_m: float
    seed: int
    boxes2d: DetectionsFile | Detector2dTraining | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that some detector is trained for."""
        return tuple(dict.fromkeys([*self.pointrcnn, *self.frustum_pointnet]))


@dataclass(frozen=True)
class DetectorRun:
    """One detector of the study: its kind and class, and the clouds it is trained and tested on."""

    kind: DetectorKind
    source: Source
    class_name: str
    near_only: bool = False

    @property
    def name(self) -> str:
        """As in file names, e.g. pointrcnn-pedestrian-near-y-oracle."""
        kind = {"P-RCNN": "pointrcnn", "F-PTNET": "frustum"}[self.kind]
        near = "-near" if self.near_only else ""
        return f"{kind}-{self.class_name.lower()}{near}-{FILE_NAMES[self.source]}"
