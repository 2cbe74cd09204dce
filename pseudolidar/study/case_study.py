"""The paper's case study as stages: frames, u and u', clouds of u, u' and y, detectors, average precision."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pseudolidar.cloud import write_clouds, write_lidar_clouds
from pseudolidar.detectors import detect, ground_truth_boxes, load_detector, read_detections_file
from pseudolidar.detectors.frustum_pointnet import FrustumTraining, train_frustum_pointnet
from pseudolidar.evaluation import LOOSE_OVERLAP, Evaluation, evaluate
from pseudolidar.kitti import ObjectDataset, read_objects, replacing
from pseudolidar.stereo import (
    DisparityModel,
    SemiGlobalMatching,
    StereoTraining,
    TrainedPSMNet,
    disparity_metrics,
    mean_disparity_of,
    predict_disparities,
    train_stereo,
)
from pseudolidar.study.artifacts import ArtifactStore, Stage
from pseudolidar.synthetic import PRESETS, RENDERER_VERSION, write_town

Source = Literal["u", "u'", "SGM", "y"]
"""Where a cloud's depth comes from: u (trained on depth error), u' (on disparity error), semi-global matching (not
trained), y (the oracle)."""

PAPER_SOURCES: tuple[Source, ...] = ("u", "u'", "y")
PAPER_UPSTREAM: tuple[Source, ...] = ("u", "u'")

_FILE_NAMES: Mapping[Source, str] = {
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
class CaseStudySettings:
    """Everything that determines the case study.

    Attributes:
        name: of the experiment, for the report.
        data: the frames.
        pretraining: the disparity model that u and u' start from (SceneFlow weights in the paper); None: from scratch.
        depth_mae: the training of u.
        disparity_mae: the training of u'.
        semi_global_matching: a disparity model without training as one more row; None: no such row.
        detectors: by class, the detector's training.
        max_height_m: winsorization: points this high above the sensor, or higher, are dropped.
        near_m: the reach of near-only clouds and of the pedestrians' score, m.
        detections_file: 2D boxes for testing, in the published format; None: the labels' boxes.
        seed: of the town, of every training.
    """

    name: str
    data: TownData | FolderData
    pretraining: StereoTraining | None
    depth_mae: StereoTraining
    disparity_mae: StereoTraining
    semi_global_matching: SemiGlobalMatchingRow | None
    detectors: Mapping[str, FrustumTraining]
    max_height_m: float
    near_m: float
    detections_file: str | Path | None
    seed: int


@dataclass(frozen=True)
class DetectorRun:
    """One detector of the study: the cloud it was trained and tested on, its class, and whether on near-only clouds."""

    source: Source
    class_name: str
    near_only: bool = False

    @property
    def name(self) -> str:
        """As in file names, e.g. pedestrian-near-y-oracle."""
        near = "-near" if self.near_only else ""
        return f"{self.class_name.lower()}{near}-{_FILE_NAMES[self.source]}"


class CaseStudy:
    """The case study's stages in one store.

    Args:
        settings: what to do.
        store: where the stages' folders are.

    Attributes:
        upstream: the disparity models whose errors are measured.
        sources: those whose clouds detectors are trained on, the oracle last.
    """

    def __init__(self, settings: CaseStudySettings, store: ArtifactStore) -> None:
        self.settings = settings
        self.store = store
        matching = settings.semi_global_matching
        self.upstream: tuple[Source, ...] = PAPER_UPSTREAM if matching is None else (*PAPER_UPSTREAM, "SGM")
        self.sources: tuple[Source, ...] = PAPER_SOURCES
        if matching is not None and matching.detectors:
            self.sources = (*self.upstream, "y")
        self.data = self._data_stage()
        self.stereo = self._stereo_stages()
        self.disparities = {
            "u": self._disparity_stage("u", settings.depth_mae),
            "u'": self._disparity_stage("u'", settings.disparity_mae),
        }
        if matching is not None:
            self.disparities["SGM"] = self._matching_stage(matching)
        self.errors = {source: self._error_stage(source) for source in self.upstream}
        self.clouds = {
            (source, near): self._cloud_stage(source, near) for source in self.sources for near in (False, True)
        }
        # (class, near only): each class on whole clouds and, as in the paper's Table 3, pedestrians on near ones too.
        self.kinds = [(name, False) for name in settings.detectors]
        self.kinds += [(name, True) for name in settings.detectors if name == "Pedestrian"]
        self.runs = [DetectorRun(source, name, near) for name, near in self.kinds for source in self.sources]
        self.detectors = {run: self._detector_stage(run) for run in self.runs}
        self.detections = {run: self._detection_stage(run) for run in self.runs}

    def stages(self) -> list[Stage]:
        """The last stages, from which all others follow: errors of the disparity models, detections."""
        return [*self.errors.values(), *self.detections.values()]

    def run(self) -> list[Stage]:
        """Make what is not there yet; return the stages made now."""
        return self.store.run(self.stages())

    @property
    def data_root(self) -> Path:
        """The data set's folder."""
        data = self.settings.data
        return Path(data.root) if isinstance(data, FolderData) else self.store.folder(self.data)

    def frames(self, split: str | None) -> ObjectDataset:
        """The frames of a split."""
        return ObjectDataset(self.data_root, split)

    def disparity_errors(self, source: Source) -> dict[str, Any]:
        """The test losses of a disparity model on the validation split, as `StereoMetrics.to_dict` has them."""
        errors: dict[str, Any] = json.loads((self.store.folder(self.errors[source]) / "errors.json").read_text())
        return errors

    def evaluation(self, run: DetectorRun, loose: bool = False) -> Evaluation:
        """KITTI average precision of one detector on the validation split.

        Pedestrians are scored at 0 to `near_m` m, as in the paper, cars at any distance. `loose` takes the IoU of
        `LOOSE_OVERLAP` for 3D and BEV instead of the official one.
        """
        frames = self.frames("val")
        folder = self.store.folder(self.detections[run])
        return evaluate(
            [frame.objects() for frame in frames],
            [read_objects(folder / f"{frame_id}.txt", scored=True) for frame_id in frames.frame_ids],
            classes=(run.class_name,),
            difficulties=("easy", "moderate", "hard", "all"),
            depth_range=(0.0, self.settings.near_m) if run.class_name == "Pedestrian" else None,
            min_overlap={run.class_name: LOOSE_OVERLAP[run.class_name]} if loose else None,
        )

    def _data_stage(self) -> Stage:
        data, seed = self.settings.data, self.settings.seed
        if isinstance(data, TownData):
            splits = {"train": data.train, "val": data.val}

            def make_town(folder: Path) -> None:
                write_town(folder, PRESETS[data.preset], splits, seed)

            return Stage(f"town-{data.preset}", {**splits, "seed": seed}, RENDERER_VERSION, make_town)

        # The user's own folder: checked, and known by its splits; its files are taken as they are.
        splits_of_folder = {split: ObjectDataset(data.root, split).frame_ids for split in ("train", "val")}

        def write_splits(folder: Path) -> None:
            with replacing(folder / "splits.json") as temporary:
                temporary.write_text(json.dumps(splits_of_folder))

        return Stage("kitti-folder", {"root": str(data.root), **splits_of_folder}, 1, write_splits)

    def _stereo_stages(self) -> dict[Source, Stage]:
        parents: tuple[Stage, ...] = (self.data,)
        initial: Stage | None = None
        if self.settings.pretraining is not None:
            initial = self._training_stage("stereo-pretrained", self.settings.pretraining, parents, None)
            parents = (self.data, initial)
        return {
            "u": self._training_stage(f"stereo-{_FILE_NAMES['u']}", self.settings.depth_mae, parents, initial),
            "u'": self._training_stage(
                f"stereo-{_FILE_NAMES[PAPER_UPSTREAM[1]]}", self.settings.disparity_mae, parents, initial
            ),
        }

    def _training_stage(
        self, name: str, settings: StereoTraining, parents: tuple[Stage, ...], initial: Stage | None
    ) -> Stage:
        seed = self.settings.seed

        def make(folder: Path) -> None:
            start = None if initial is None else self.store.folder(initial) / "model.pt"
            train_stereo(settings, self.frames("train"), folder / "model.pt", start, seed)

        return Stage(name, {**dataclasses.asdict(settings), "seed": seed}, 1, make, parents)

    def _disparity_stage(self, source: Source, training: StereoTraining) -> Stage:
        model = self.stereo[source]

        def make(folder: Path) -> None:
            network = TrainedPSMNet(self.store.folder(model) / "model.pt", device=training.device)
            self._predict(network, source, ("train", "val"), folder)

        return Stage(f"disparity-{_FILE_NAMES[source]}", {}, 2, make, (self.data, model))

    def _matching_stage(self, matching: SemiGlobalMatchingRow) -> Stage:
        # Without detectors nobody asks for the training split.
        splits = ("train", "val") if matching.detectors else ("val",)
        matcher = SemiGlobalMatching(matching.max_disparity)

        def make(folder: Path) -> None:
            self._predict(matcher, "SGM", splits, folder)

        settings = {"max_disparity": matching.max_disparity, "splits": splits}
        return Stage(f"disparity-{_FILE_NAMES['SGM']}", settings, 1, make, (self.data,))

    def _predict(self, model: DisparityModel, source: Source, splits: tuple[str, ...], folder: Path) -> None:
        for split in splits:
            predict_disparities(model, self.frames(split), folder, f"disparity of {source}, {split}")

    def _error_stage(self, source: Source) -> Stage:
        disparity = self.disparities[source]

        def make(folder: Path) -> None:
            mean = mean_disparity_of(self.frames("train"))
            metrics = disparity_metrics(self.store.folder(disparity), self.frames("val"), mean)
            with replacing(folder / "errors.json") as temporary:
                temporary.write_text(json.dumps(metrics.to_dict(), indent=1))

        return Stage(f"error-{_FILE_NAMES[source]}", {}, 2, make, (self.data, disparity))

    def _cloud_stage(self, source: Source, near_only: bool) -> Stage:
        max_depth = self.settings.near_m if near_only else None
        settings = {"max_height_m": self.settings.max_height_m, "max_depth_m": max_depth}
        parents = (self.data,) if source == "y" else (self.data, self.disparities[source])

        def make(folder: Path) -> None:
            train, val = self.frames("train"), self.frames("val")
            frame_ids = [*train.frame_ids, *val.frame_ids]
            max_height = self.settings.max_height_m
            if source == "y" and not val[0].has_exact_disparity():
                write_lidar_clouds(val.folder / "velodyne", folder, frame_ids, max_height, max_depth)
                return
            disparities = val.folder / "disparity" if source == "y" else self.store.folder(self.disparities[source])
            write_clouds(disparities, val.folder / "calib", folder, frame_ids, max_height, max_depth)

        near = "-near" if near_only else ""
        return Stage(f"cloud{near}-{_FILE_NAMES[source]}", settings, 1, make, parents)

    def _detector_stage(self, run: DetectorRun) -> Stage:
        training = self.settings.detectors[run.class_name]
        clouds = self.clouds[run.source, run.near_only]
        max_depth = self.settings.near_m if run.near_only else None
        seed = self.settings.seed
        settings = {**dataclasses.asdict(training), "seed": seed, "max_depth_m": max_depth}

        def make(folder: Path) -> None:
            train_frustum_pointnet(
                training,
                self.frames("train"),
                self.store.folder(clouds),
                [run.class_name],
                folder / "model.pt",
                seed,
                max_depth,
            )

        return Stage(f"frustum-{run.name}", settings, 3, make, (self.data, clouds))

    def _detection_stage(self, run: DetectorRun) -> Stage:
        detector, clouds = self.detectors[run], self.clouds[run.source, run.near_only]
        file = None if self.settings.detections_file is None else Path(self.settings.detections_file)
        settings: dict[str, Any] = {"boxes": "labels" if file is None else file.read_text()}

        def make(folder: Path) -> None:
            frames = self.frames("val")
            boxes = ground_truth_boxes(frames, [run.class_name]) if file is None else read_detections_file(file)
            trained = load_detector(self.store.folder(detector) / "model.pt")
            detect(trained, frames, self.store.folder(clouds), folder, boxes)

        return Stage(f"detections-{run.name}", settings, 1, make, (self.data, detector))
