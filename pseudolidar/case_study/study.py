"""The paper's case study as systems of models: disparity, clouds, detectors, before and after the update of u."""

import dataclasses
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from pseudolidar.case_study.clouds import FolderData, FolderTask, PointCloudGenerator
from pseudolidar.case_study.detectors import BOXES2D, Detector2d, TrainedDetector, widened
from pseudolidar.case_study.disparity import (
    DISPARITY,
    ERRORS_FILE,
    WEIGHTS,
    Checkpoint,
    MatchingDisparity,
    Oracle,
    PretrainedWeights,
    TrainedDisparity,
)
from pseudolidar.case_study.requirements import require_inputs
from pseudolidar.case_study.scores import evaluate_results
from pseudolidar.case_study.settings import UPDATE, CaseStudySettings, DetectionsFile, DetectorPlace, Source
from pseudolidar.detectors.boxes2d import Detector2dTraining
from pseudolidar.evaluation import Evaluation
from pseudolidar.files import InputError
from pseudolidar.kitti import ObjectDataset
from pseudolidar.stereo import StereoMetrics, StereoTraining
from pseudolidar.synthetic import TownData, TownTask
from pseudolidar.systems import (
    ArtifactStore,
    Change,
    ItemLosses,
    MeanLoss,
    Model,
    RunResult,
    Stage,
    Step,
    System,
    UpdateVerdict,
    Vertex,
    change,
)

# All intervals are from the same drawn frames: one quantity has one interval, wherever it stands.
_FRAMES = "frames"


class CaseStudy:
    """The systems of a case study and what they leave in one store: one system for each source of depth.

    Args:
        settings: what to do.
        store: where the stages' folders are.

    Raises:
        FormatError: a folder of the user's that lacks something for some frame, see `require_inputs`.

    Attributes:
        seeds: of the trainings; each gives one trained system.
        upstream: the disparity models whose errors are measured.
        sources: those whose clouds detectors are trained on, the oracle last.
        places: the study's detectors: on whole clouds, pedestrians on near ones too, as in the paper's Table 3.
        variants: detectors of the diagnosis, trained on u and on u' alone.
        systems: by source of depth; they differ in the vertex u.
        result: of the last run: which stages are missing, and why.
    """

    def __init__(self, settings: CaseStudySettings, store: ArtifactStore) -> None:
        require_inputs(settings)
        self.settings = settings
        self.store = store
        matching = settings.semi_global_matching
        self.upstream: tuple[Source, ...] = UPDATE if matching is None else (*UPDATE, "SGM")
        self.sources: tuple[Source, ...] = (*UPDATE, "y")
        if matching is not None and matching.detectors:
            self.sources = (*self.upstream, "y")
        self.places = _places(settings)
        self.variants = _variants(settings)
        self.seeds = settings.training_seeds
        self.result = RunResult()
        before = System(self._data_stage(), [*self._upstream_vertices("u"), *self._downstream_vertices()], "u")
        self.systems: dict[Source, System] = {"u": before}
        for source in dict.fromkeys((*self.upstream, *self.sources)):
            if source != "u":
                self.systems[source] = before.replaced(self._depth_vertex(source), name=source)

    def wanted(self) -> list[Stage]:
        """The last stages, from which all others follow: every test, seed by seed."""
        stages = []
        for seed in self.seeds:
            for source in self.upstream:
                stages.append(self.stage(source, DISPARITY, "test", seed))
            for place in (*self.places, *self.variants):
                stages += [self.stage(source, place.vertex, "test", seed) for source in self.sources_of(place)]
                # For the report's pictures; a command that takes disparity asks for none.
                cloud = self.cloud(place).vertex
                stages += [self.stage(source, cloud, "predict", seed) for source in self.sources_of(place)]
        # A study without detectors still makes its data.
        return list({stage.fingerprint: stage for stage in [self.data, *stages]}.values())

    def sources_of(self, place: DetectorPlace) -> tuple[Source, ...]:
        """The sources of depth that a detector is trained on: for the diagnosis, u and u' alone."""
        if place not in self.places:
            return UPDATE
        command = self.settings.commands.get(place.kind)
        if command is not None and DISPARITY in command.parents and not self._has_exact_disparity:
            # An oracle that is LiDAR has no disparity to show to it.
            return tuple(source for source in self.sources if source != "y")
        return self.sources

    @cached_property
    def _has_exact_disparity(self) -> bool:
        data = self.settings.data
        return isinstance(data, TownData) or ObjectDataset(data.root, "val")[0].has_exact_disparity()

    def cloud(self, place: DetectorPlace) -> PointCloudGenerator:
        """The clouds that a detector is trained on."""
        near_m = self.settings.near_m if place.near_only else None
        return PointCloudGenerator(self.settings.max_height_m, near_m, sparse=place.kind == "P-RCNN")

    @property
    def data(self) -> Stage:
        """The stage that provides the frames of both splits."""
        return self.systems["u"].data

    def stage(self, source: Source, vertex: str, step: Step, seed: int) -> Stage:
        """A step of a vertex of the system that stands on a source of depth."""
        return self._stages(source, seed)[vertex, step]

    @cache  # noqa: B019 - a study lives as long as its program
    def _stages(self, source: Source, seed: int) -> dict[tuple[str, Step], Stage]:
        return self.systems[source].stages(seed)

    def is_there(self, source: Source, vertex: str) -> bool:
        """Whether a vertex' tests are finished for every seed."""
        return all(self.store.is_finished(self.stage(source, vertex, "test", seed)) for seed in self.seeds)

    def is_compared(self, vertex: str) -> bool:
        """Whether a vertex is there before the update and after it."""
        return all(self.is_there(source, vertex) for source in UPDATE)

    @property
    def data_root(self) -> Path:
        """Folder of the data set: the user's own, or where the store keeps the synthetic town."""
        data = self.settings.data
        return Path(data.root) if isinstance(data, FolderData) else self.store.folder(self.data)

    @cache  # noqa: B019
    def frames(self, split: str) -> ObjectDataset:
        """The data set's frames of a split, `train` or `val`."""
        return ObjectDataset(self.data_root, split)

    def folder(self, source: Source, vertex: str, step: Step, seed: int | None = None) -> Path:
        """The folder of a step; of the first seed by default."""
        return self.store.folder(self.stage(source, vertex, step, self.seeds[0] if seed is None else seed))

    @cache  # noqa: B019
    def errors(self, source: Source, seed: int) -> StereoMetrics:
        """The errors of a disparity model on the validation split."""
        return StereoMetrics.load(self.folder(source, DISPARITY, "test", seed) / ERRORS_FILE)

    @cache  # noqa: B019
    def evaluation(self, source: Source, place: DetectorPlace, seed: int, loose: bool = False) -> Evaluation:
        """KITTI average precision of one detector on the validation split, at the official or the looser IoU."""
        folder = self.folder(source, place.vertex, "predict", seed)
        return evaluate_results(folder, self.frames("val"), place.class_name, self.settings.near_m, loose)

    @cache  # noqa: B019
    def losses(self, source: Source, vertex: str) -> list[ItemLosses]:
        """The test losses of a vertex, one per seed."""
        return [self.systems[source].test_loss(self.store, vertex, seed) for seed in self.seeds]

    def is_trained(self, vertex: str) -> bool:
        """Whether another training seed could change what a vertex predicts, before the update or after it."""
        return any(self.systems[source].is_trained(vertex) for source in UPDATE)

    def change(self, vertex: str, title: str) -> Change:
        """The change of a vertex' test loss when u' takes the place of u."""
        before, after = (self.losses(source, vertex) for source in UPDATE)
        return change(title, before, after, self.random(_FRAMES), self.is_trained(vertex))

    def difference(self, name: str, before: list[ItemLosses], after: list[ItemLosses], trained: bool) -> Change:
        """The change between any two test losses, seed by seed."""
        return change(name, before, after, self.random(_FRAMES), trained)

    def level(self, name: str, losses: list[ItemLosses], trained: bool) -> Change:
        """A test loss by itself, as the change from none: its interval over test items and training seeds."""
        items = losses[0].items
        none = MeanLoss(items, np.zeros(len(items)), np.ones(len(items)))
        return change(name, [none] * len(losses), losses, self.random(_FRAMES), trained)

    @cached_property
    def verdict(self) -> UpdateVerdict | None:
        """What the update did to u and to the detectors that are there; None if u or u' is missing."""
        if not self.is_compared(DISPARITY):
            return None
        there = [place for place in self.places if self.is_compared(place.vertex)]
        own = self.change(DISPARITY, "the disparity model")
        return UpdateVerdict(own, {str(place): self.change(place.vertex, str(place)) for place in there})

    def random(self, name: str) -> np.random.Generator:
        """Random numbers for one interval, known by its name."""
        # The same for every run, and another for every name, whatever else is asked for.
        return np.random.default_rng([self.settings.seed, *name.encode()])

    def _data_stage(self) -> Stage:
        data = self.settings.data
        if isinstance(data, TownData):
            return Stage(f"town-{data.preset}", TownTask(data, self.settings.seed), title="make the town")
        return Stage("kitti-folder", FolderTask(data), title="check the data")

    def _upstream_vertices(self, source: Source) -> Iterator[Vertex]:
        pretraining = self.settings.pretraining
        if isinstance(pretraining, StereoTraining):
            yield Vertex(WEIGHTS, PretrainedWeights(pretraining, self.settings.seed), title="weights to start from")
        if isinstance(self.settings.boxes2d, Detector2dTraining) and self.settings.frustum_pointnet:
            yield Vertex(BOXES2D, Detector2d(self.settings.boxes2d, self.settings.seed), title="2D detector")
        yield self._depth_vertex(source)

    def _depth_vertex(self, source: Source) -> Vertex:
        parents: tuple[str, ...] = ()
        model: Model | StereoTraining
        if source == "y":
            model = Oracle()
        elif source == "SGM":
            matching = self.settings.semi_global_matching
            assert matching is not None
            # Without detectors nobody asks for the training split.
            model = MatchingDisparity(matching.max_disparity, ("train", "val") if matching.detectors else ("val",))
        else:
            model = self.settings.u if source == "u" else self.settings.u_prime
            if isinstance(model, StereoTraining):
                model, parents = self._trained(model)
        return Vertex(DISPARITY, model, parents, title=source)

    def _trained(self, training: StereoTraining) -> tuple[TrainedDisparity, tuple[str, ...]]:
        """The model to train, and its parents: the weights that it starts from, if the study makes them."""
        initial = self.settings.pretraining
        if isinstance(initial, Checkpoint):
            if training.align_corners is None:
                training = dataclasses.replace(training, align_corners=initial.align_corners)
            return TrainedDisparity(training, initial), ()
        return TrainedDisparity(training), () if initial is None else (WEIGHTS,)

    def _downstream_vertices(self) -> list[Vertex]:
        settings = self.settings
        vertices: dict[str, Vertex] = {}
        for place in (*self.places, *self.variants):
            cloud = self.cloud(place)
            vertices[cloud.vertex] = Vertex(cloud.vertex, cloud, (DISPARITY,), cloud.vertex.replace("-", " "))
            parents: tuple[str, ...] = (cloud.vertex,)
            model: Model
            if place.kind in settings.commands:
                command = settings.commands[place.kind]
                model = dataclasses.replace(command, near_m=settings.near_m, loss=settings.test_loss)
                parents = model.parents
            else:
                model = self._detector(place, cloud)
                if place.kind == "F-PTNET" and isinstance(settings.boxes2d, Detector2dTraining):
                    parents = (*parents, BOXES2D)
            if place.vertex in vertices:
                raise InputError(f"commands: found {place.kind!r}, expected another name than other detectors'")
            vertices[place.vertex] = Vertex(place.vertex, model, parents, str(place))
        return list(vertices.values())

    def _detector(self, place: DetectorPlace, cloud: PointCloudGenerator) -> TrainedDetector:
        settings = self.settings
        training = settings.pointrcnn if place.kind == "P-RCNN" else settings.frustum_pointnet
        boxes = settings.boxes2d
        return TrainedDetector(
            training=widened(training[place.class_name], place.width),
            class_name=place.class_name,
            cloud=cloud.vertex,
            near_m=settings.near_m,
            loss=settings.test_loss,
            max_depth_m=cloud.max_depth_m,
            data_fraction=place.data_fraction,
            boxes_file=boxes.path if isinstance(boxes, DetectionsFile) and place.kind == "F-PTNET" else None,
        )


def _places(settings: CaseStudySettings) -> tuple[DetectorPlace, ...]:
    places = []
    trainings: Mapping[str, Mapping[str, object]] = {"P-RCNN": settings.pointrcnn, "F-PTNET": settings.frustum_pointnet}
    for kind, by_class in trainings.items():
        places += [DetectorPlace(kind, name) for name in by_class]
        places += [DetectorPlace(kind, name, near_only=True) for name in by_class if name == "Pedestrian"]
    places += [DetectorPlace(name, command.class_name) for name, command in settings.commands.items()]
    return tuple(places)


def _variants(settings: CaseStudySettings) -> tuple[DetectorPlace, ...]:
    diagnosis = settings.diagnosis
    if diagnosis is None:
        return ()
    variants = []
    for place in _places(settings):
        if place.kind not in diagnosis.kinds or place.near_only:
            continue
        for fraction in diagnosis.data_fractions:
            variants.append(DetectorPlace(place.kind, place.class_name, data_fraction=fraction))
        for width in diagnosis.widths:
            variants.append(DetectorPlace(place.kind, place.class_name, width=width))
    return tuple(variants)
