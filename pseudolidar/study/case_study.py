"""The paper's case study as stages: frames, u and u', clouds of u, u' and y, detectors, average precision."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pseudolidar.cloud import LIDAR_GRID, write_clouds, write_lidar_clouds
from pseudolidar.detectors import (
    Boxes2d,
    detect,
    ground_truth_boxes,
    load_detector,
    read_detections_file,
    read_result_boxes,
    train_detector,
)
from pseudolidar.detectors.boxes2d import Detector2dTraining, boxes_of_frames, detect_boxes2d, train_detector2d
from pseudolidar.detectors.frustum_pointnet import FrustumTraining
from pseudolidar.detectors.pointrcnn import PointRCNNTraining
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
from pseudolidar.study.settings import (
    FILE_NAMES,
    PAPER_SOURCES,
    PAPER_UPSTREAM,
    CaseStudySettings,
    DetectionsFile,
    DetectorKind,
    DetectorRun,
    FolderData,
    SemiGlobalMatchingRow,
    Source,
    TownData,
)
from pseudolidar.synthetic import PRESETS, RENDERER_VERSION, write_town

DETECTOR_KINDS: tuple[DetectorKind, ...] = ("P-RCNN", "F-PTNET")

# Raised when the same settings give another detector.
_DETECTOR_VERSIONS: Mapping[DetectorKind, int] = {"P-RCNN": 1, "F-PTNET": 3}

# 2D boxes of a detector with lower scores start no frustum: nearly all of them are of nothing.
_MIN_BOX_SCORE = 0.4


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
        # (detector, class, near only): pedestrians on near clouds too, as in the paper's Table 3.
        trainings: Mapping[DetectorKind, Mapping[str, FrustumTraining | PointRCNNTraining]]
        trainings = {"P-RCNN": settings.pointrcnn, "F-PTNET": settings.frustum_pointnet}
        self.kinds: list[tuple[DetectorKind, str, bool]] = []
        for kind in DETECTOR_KINDS:
            self.kinds += [(kind, name, False) for name in trainings[kind]]
            self.kinds += [(kind, name, True) for name in trainings[kind] if name == "Pedestrian"]
        self.runs = [
            DetectorRun(kind, source, name, near) for kind, name, near in self.kinds for source in self.sources
        ]
        self._clouds: dict[tuple[Source, bool, bool], Stage] = {}
        self.boxes2d = self._boxes2d_stage()
        self.detectors = {run: self._detector_stage(run, trainings[run.kind][run.class_name]) for run in self.runs}
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
            "u": self._training_stage(f"stereo-{FILE_NAMES['u']}", self.settings.depth_mae, parents, initial),
            "u'": self._training_stage(
                f"stereo-{FILE_NAMES[PAPER_UPSTREAM[1]]}", self.settings.disparity_mae, parents, initial
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

        return Stage(f"disparity-{FILE_NAMES[source]}", {}, 2, make, (self.data, model))

    def _matching_stage(self, matching: SemiGlobalMatchingRow) -> Stage:
        # Without detectors nobody asks for the training split.
        splits = ("train", "val") if matching.detectors else ("val",)
        matcher = SemiGlobalMatching(matching.max_disparity)

        def make(folder: Path) -> None:
            self._predict(matcher, "SGM", splits, folder)

        settings = {"max_disparity": matching.max_disparity, "splits": splits}
        return Stage(f"disparity-{FILE_NAMES['SGM']}", settings, 1, make, (self.data,))

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

        return Stage(f"error-{FILE_NAMES[source]}", {}, 2, make, (self.data, disparity))

    def cloud(self, source: Source, near_only: bool = False, sparse: bool = False) -> Stage:
        """The stage that writes the clouds of one source; `sparse` as PointRCNN takes them."""
        key = (source, near_only, sparse)
        if key not in self._clouds:
            self._clouds[key] = self._cloud_stage(*key)
        return self._clouds[key]

    def _cloud_stage(self, source: Source, near_only: bool, sparse: bool) -> Stage:
        max_height, max_depth = self.settings.max_height_m, self.settings.near_m if near_only else None
        settings: dict[str, Any] = {"max_height_m": max_height, "max_depth_m": max_depth}
        if sparse:
            settings["grid"] = dataclasses.asdict(LIDAR_GRID)
        parents = (self.data,) if source == "y" else (self.data, self.disparities[source])

        def make(folder: Path) -> None:
            train, val = self.frames("train"), self.frames("val")
            frame_ids = [*train.frame_ids, *val.frame_ids]
            if source == "y" and not val[0].has_exact_disparity():
                # A sweep is sparse as it is.
                write_lidar_clouds(val.folder / "velodyne", folder, frame_ids, max_height, max_depth)
                return
            disparities = val.folder / "disparity" if source == "y" else self.store.folder(self.disparities[source])
            grid = LIDAR_GRID if sparse else None
            write_clouds(disparities, val.folder / "calib", folder, frame_ids, max_height, max_depth, grid=grid)

        name = f"cloud{'-near' if near_only else ''}{'-sparse' if sparse else ''}-{FILE_NAMES[source]}"
        return Stage(name, settings, 1, make, parents)

    def _cloud_of(self, run: DetectorRun) -> Stage:
        return self.cloud(run.source, run.near_only, sparse=run.kind == "P-RCNN")

    def _boxes2d_stage(self) -> Stage | None:
        """2D boxes of the validation split by a detector trained on the training split, where that is asked for."""
        training, seed = self.settings.boxes2d, self.settings.seed
        if not isinstance(training, Detector2dTraining) or not self.settings.frustum_pointnet:
            return None

        def train(folder: Path) -> None:
            train_detector2d(training, self.frames("train"), folder / "model.pt", seed)

        detector = Stage("boxes2d-detector", {**dataclasses.asdict(training), "seed": seed}, 1, train, (self.data,))

        def find(folder: Path) -> None:
            model = self.store.folder(detector) / "model.pt"
            detect_boxes2d(model, self.frames("val"), folder, _MIN_BOX_SCORE)

        return Stage("boxes2d", {"min_score": _MIN_BOX_SCORE}, 1, find, (self.data, detector))

    def boxes2d_of(self, class_name: str) -> Mapping[str, Boxes2d]:
        """The 2D boxes that F-PTNET starts from on the validation split, by frame."""
        frames, source = self.frames("val"), self.settings.boxes2d
        if isinstance(source, DetectionsFile):
            return boxes_of_frames(read_detections_file(source.path), frames)
        if self.boxes2d is not None:
            return read_result_boxes(self.store.folder(self.boxes2d), frames.frame_ids)
        return ground_truth_boxes(frames, [class_name])

    def _detector_stage(self, run: DetectorRun, training: FrustumTraining | PointRCNNTraining) -> Stage:
        clouds = self._cloud_of(run)
        max_depth = self.settings.near_m if run.near_only else None
        seed = self.settings.seed
        settings = {**dataclasses.asdict(training), "seed": seed, "max_depth_m": max_depth}

        def make(folder: Path) -> None:
            train_detector(
                training,
                self.frames("train"),
                self.store.folder(clouds),
                [run.class_name],
                folder / "model.pt",
                seed,
                max_depth,
            )

        return Stage(run.name, settings, _DETECTOR_VERSIONS[run.kind], make, (self.data, clouds))

    def _detection_stage(self, run: DetectorRun) -> Stage:
        detector, clouds = self.detectors[run], self._cloud_of(run)
        settings: dict[str, Any] = {}
        parents: tuple[Stage, ...] = (self.data, detector)
        if run.kind == "F-PTNET":
            source = self.settings.boxes2d
            settings["boxes"] = Path(source.path).read_text() if isinstance(source, DetectionsFile) else "labels"
            if self.boxes2d is not None:
                settings["boxes"] = "detector"
                parents = (*parents, self.boxes2d)

        def make(folder: Path) -> None:
            trained = load_detector(self.store.folder(detector) / "model.pt")
            boxes = self.boxes2d_of(run.class_name) if trained.starts_from_boxes2d else None
            detect(trained, self.frames("val"), self.store.folder(clouds), folder, boxes)

        return Stage(f"detections-{run.name}", settings, 1, make, parents)
