"""The paper's case study as systems of models: disparity, clouds, detectors, before and after the update of u."""

import dataclasses
from collections.abc import Iterator, Sequence
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
    region_loss,
)
from pseudolidar.case_study.remedied_systems import calibrated_system, congruent_system, fused_system, mixed_system
from pseudolidar.case_study.requirements import require_inputs
from pseudolidar.case_study.scores import evaluate_results
from pseudolidar.case_study.settings import (
    UPDATE,
    CaseStudySettings,
    DetectionsFile,
    DetectorPlace,
    Remedy,
    Source,
    detector_places,
)
from pseudolidar.detectors.boxes2d import Detector2dTraining
from pseudolidar.ensembles import EnsembleTraining
from pseudolidar.evaluation import LOOSE_OVERLAP, Evaluation
from pseudolidar.evaluation.flips import Criterion, FoundObjects, find_objects
from pseudolidar.files import InputError
from pseudolidar.kitti import ObjectDataset, read_objects
from pseudolidar.statistics import CONFIDENCE, Estimate
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
    look_confidence,
)


class CaseStudy:
    """The systems of a case study and their stages in one store: one system for each source of depth.

    `count`: of the seeds so far, with `seeds=auto`; two to begin with. FormatError if a folder of the user's lacks
    something for some frame, see `require_inputs`.

    Attributes:
        seeds: of the trainings; each gives one trained system.
        confidence: of every interval: with `seeds=auto` that of this look, see `look_confidence`.
        upstream: the disparity models whose errors are measured.
        sources: those whose clouds detectors are trained on, the oracle last.
        places: the study's detectors: on whole clouds, pedestrians on near ones too, as in the paper's Table 3.
        variants: detectors of the diagnosis, trained on u and on u' alone.
        systems: by source of depth; they differ in the vertex u. Those of remedies are beside them, by their names.
        data: the stage that provides the frames of both splits.
        result: of the last run.
    """

    def __init__(self, settings: CaseStudySettings, store: ArtifactStore, count: int | None = None) -> None:
        require_inputs(settings)
        self.settings = settings
        self.store = store
        self.confidence = CONFIDENCE
        if settings.seeds == "auto":
            count = 2 if count is None else count
            self.confidence = look_confidence(count, settings.max_seeds)
        else:
            count = settings.seeds
        self.seeds = tuple(range(settings.seed, settings.seed + count))
        references = settings.references
        self.upstream: tuple[Source, ...] = (*UPDATE, *references)
        self.sources: tuple[Source, ...] = (*UPDATE, *(name for name in references if references[name].detectors), "y")
        self.places, self.variants = detector_places(settings)
        self.result = RunResult()
        if isinstance(settings.data, TownData):
            task = TownTask(settings.data, settings.seed)
            self.data = Stage(f"town-{settings.data.preset}", task, title="make the town")
        else:
            self.data = Stage("kitti-folder", FolderTask(settings.data), title="check the data")
        before = System(self.data, [*self._upstream_vertices(), *self._downstream_vertices()], "u")
        self.systems: dict[Source, System] = {"u": before}
        for source in dict.fromkeys((*self.upstream, *self.sources)):
            if source != "u":
                self.systems[source] = before.replaced(self._disparity_vertex(source), name=source)
        if "calibrate" in settings.remedies:
            self.systems["calibrate"] = calibrated_system(self.systems["u'"])
        if "mixed" in settings.remedies:
            self.systems["mixed"] = mixed_system(before, self.systems["u'"])
        if "ensemble" in settings.remedies:
            self.systems["ensemble"] = self.systems["u'"].replaced(self._disparity_vertex("ensemble"), name="ensemble")
        if "congruent" in settings.remedies:
            self.systems["congruent"] = congruent_system(before, self.systems["u'"], settings.congruence)
        if "fuse" in settings.remedies:
            self.systems["fuse"] = fused_system(before, self.systems["u'"], self._random_seed("halves"))

    def with_another_seed(self) -> "CaseStudy | None":
        """The study with one seed more; None where nothing is left to decide, something failed, or it has all seeds."""
        count = len(self.seeds) + 1
        if self.settings.seeds != "auto" or count > self.settings.max_seeds or self.result.failed or not self.undecided:
            return None
        return CaseStudy(self.settings, self.store, count)

    def as_far_as_made(self) -> "CaseStudy":
        """With `seeds=auto`, the study with as many seeds as are finished one after another."""
        last, largest = self, self.settings.max_seeds if self.settings.seeds == "auto" else 0
        for count in range(len(self.seeds) + 1, largest + 1):
            further = CaseStudy(self.settings, self.store, count)
            if not all(map(self.store.is_finished, further.wanted())):
                break
            last = further
        return last

    @property
    def undecided(self) -> list[str]:
        """Titles of the vertices whose changes more seeds could decide."""
        changes = [] if self.verdict is None else [self.verdict.own, *self.verdict.descendants.values()]
        return [one.vertex for one in changes if one.word == "undecided" and (len(self.seeds) == 1 or not one.reason)]

    def wanted(self, seeds: Sequence[int] | None = None) -> list[Stage]:
        """The last stages, from which all others follow: every test, seed by seed."""
        stages = []
        for seed in self.seeds if seeds is None else seeds:
            for source in self.upstream:
                stages.append(self.stage(source, DISPARITY, "test", seed))
            for place in (*self.places, *self.variants):
                stages += [self.stage(source, place.vertex, "test", seed) for source in self.sources_of(place)]
                # For the report's pictures; a command that takes disparity asks for none.
                cloud = self.cloud(place).vertex
                stages += [self.stage(source, cloud, "predict", seed) for source in self.sources_of(place)]
            for remedy in ("calibrate", "ensemble"):
                if remedy in self.systems:
                    stages.append(self.stage(remedy, DISPARITY, "test", seed))
            for place in self.places:
                remedies = [self.remedied(remedy, place) for remedy in self.settings.remedies]
                versions = [version for version in remedies if version is not None]
                stages += [self.stage(source, other.vertex, "test", seed) for source, other in versions]
        # A study without detectors still makes its data.
        return list({stage.fingerprint: stage for stage in [self.data, *stages]}.values())

    def sources_of(self, place: DetectorPlace) -> tuple[Source, ...]:
        """The sources of depth that a detector is trained on: for the diagnosis, u and u' alone."""
        if place not in self.places:
            return UPDATE
        command = self.settings.commands.get(place.kind)
        if command is None or DISPARITY not in command.parents or isinstance(self.settings.data, TownData):
            return self.sources
        # An oracle that is LiDAR has no disparity to show to it.
        is_shown = self.frames("val")[0].has_exact_disparity()
        return tuple(source for source in self.sources if source != "y" or is_shown)

    def remedied(self, remedy: Remedy, place: DetectorPlace) -> tuple[Source, DetectorPlace] | None:
        """The system and the place in it that a remedy gives a detector; None where it can't."""
        if remedy == "keep":
            return "u", place
        if remedy == "near_only":
            near = dataclasses.replace(place, near_only=True)
            return ("u'", near) if near in self.places and not place.near_only else None
        return (remedy, place) if place.vertex in self.systems[remedy].vertices else None

    def cloud(self, place: DetectorPlace) -> PointCloudGenerator:
        """The clouds that a detector is trained on."""
        near_m = self.settings.near_m if place.near_only else None
        return PointCloudGenerator(self.settings.max_height_m, near_m, sparse=place.kind == "P-RCNN")

    def stage(self, source: Source, vertex: str, step: Step, seed: int) -> Stage:
        """A step of a vertex of the system of a source of depth; with a seed of `seeds_of`, or the oracle's."""
        return self._stages(source, seed if source != "y" else self.settings.seed)[vertex, step]

    def seeds_of(self, source: Source) -> tuple[int, ...]:
        """The seeds of a system's trainings: the oracle, end of the scale and no side of a change, has the first."""
        return self.seeds if source != "y" else self.seeds[:1]

    @cache  # noqa: B019 - a study lives as long as its program
    def _stages(self, source: Source, seed: int) -> dict[tuple[str, Step], Stage]:
        return self.systems[source].stages(seed)

    def is_there(self, source: Source, vertex: str) -> bool:
        """Whether a vertex' tests are finished for every seed."""
        return all(self.store.is_finished(self.stage(source, vertex, "test", seed)) for seed in self.seeds_of(source))

    def sources_there(self, place: DetectorPlace) -> list[Source]:
        """The sources of depth on which a detector's tests are finished."""
        return [source for source in self.sources_of(place) if self.is_there(source, place.vertex)]

    @property
    def upstream_there(self) -> list[Source]:
        """The disparity models whose tests are finished."""
        return [source for source in self.upstream if self.is_there(source, DISPARITY)]

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
        """The test losses of a vertex, for each seed of `seeds_of`."""
        return [self.systems[source].test_loss(self.store, vertex, seed) for seed in self.seeds_of(source)]

    @cache  # noqa: B019
    def found(self, source: Source, place: DetectorPlace, seed: int) -> FoundObjects:
        """The objects that a detector finds at its score of highest F1, at the looser IoU."""
        frames, folder = self.frames("val"), self.folder(source, place.vertex, "predict", seed)
        results = [read_objects(folder / f"{frame_id}.txt", scored=True) for frame_id in frames.frame_ids]
        reach = (0.0, self.settings.near_m) if place.class_name == "Pedestrian" else None
        criterion = Criterion(place.class_name, "bev", "all", LOOSE_OVERLAP[place.class_name]["bev"], reach)
        return find_objects([frame.objects() for frame in frames], results, criterion, frames.frame_ids)

    def is_trained(self, vertex: str) -> bool:
        """Whether another training seed could change a vertex' predictions, before the update or after it."""
        return any(self.systems[source].is_trained(vertex) for source in UPDATE)

    def change(self, vertex: str, title: str) -> Change:
        """The change of a vertex' test loss when u' takes the place of u."""
        before, after = (self.losses(source, vertex) for source in UPDATE)
        return self.difference(before, after, self.is_trained(vertex), title)

    def difference(
        self, before: Sequence[ItemLosses], after: Sequence[ItemLosses], trained: bool, title: str = ""
    ) -> Change:
        """The change between any two test losses, seed by seed."""
        # All intervals are from the same drawn frames: one quantity has one interval wherever it is shown.
        return change(title, before, after, self.random("frames"), trained, confidence=self.confidence)

    def level(self, losses: Sequence[ItemLosses], trained: bool) -> Estimate:
        """A test loss by itself, as the change from none, with an interval over test items and training seeds."""
        items = losses[0].items
        none = MeanLoss(items, np.zeros(len(items)), np.ones(len(items)))
        found = self.difference([none] * len(losses), losses, trained)
        return Estimate(found.after, found.interval)

    @cache  # noqa: B019
    def region_losses(self, source: Source, region: str, depth: int) -> list[MeanLoss]:
        """Disparity MAE of a model over a region in a range of `RANGES_M`, px, for each seed."""
        return [region_loss(self.errors(source, seed), region, depth) for seed in self.seeds]

    def region_change(self, region: str, depth: int) -> Change:
        """The change of `region_losses` when u' takes the place of u."""
        before, after = (self.region_losses(source, region, depth) for source in UPDATE)
        return self.difference(before, after, self.is_trained(DISPARITY))

    @cached_property
    def verdict(self) -> UpdateVerdict | None:
        """Of the update, on u and on the detectors that are there; None if u or u' is missing."""
        if not self.is_compared(DISPARITY):
            return None
        own = self.change(DISPARITY, "the disparity model")
        compared = [place for place in self.places if self.is_compared(place.vertex)]
        return UpdateVerdict(own, {str(place): self.change(place.vertex, str(place)) for place in compared})

    def random(self, name: str) -> np.random.Generator:
        """Random numbers for one interval, known by its name."""
        return np.random.default_rng(self._random_seed(name))

    def _random_seed(self, name: str) -> tuple[int, ...]:
        # The same for every run, and another for every name, whatever else is asked for.
        return self.settings.seed, *name.encode()

    def _upstream_vertices(self) -> Iterator[Vertex]:
        settings = self.settings
        if isinstance(settings.pretraining, StereoTraining):
            yield Vertex(WEIGHTS, PretrainedWeights(settings.pretraining, settings.seed), (), "weights to start from")
        if isinstance(settings.boxes2d, Detector2dTraining) and settings.frustum_pointnet:
            yield Vertex(BOXES2D, Detector2d(settings.boxes2d, settings.seed), (), "2D detector")
        yield self._disparity_vertex("u")

    def _disparity_vertex(self, source: Source) -> Vertex:
        model: Model | StereoTraining
        parents: tuple[str, ...] = ()
        if source == "y":
            model = Oracle()
        elif source in self.settings.references:
            reference = self.settings.references[source]
            model = reference.model
            if isinstance(model, MatchingDisparity | Checkpoint) and not reference.detectors:
                # Nobody asks for the training split.
                model = dataclasses.replace(model, splits=("val",))
        else:
            model = self.settings.u if source == "u" else self.settings.u_prime
            if source == "ensemble" and isinstance(model, StereoTraining):
                own = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
                model = EnsembleTraining(**own, members=self.settings.ensemble_members, beta=0.0)
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
            if place.vertex in vertices:
                raise InputError(f"commands: found {place.kind!r}, expected another name than other detectors'")
            if place.kind in settings.commands:
                command = settings.commands[place.kind]
                command = dataclasses.replace(command, near_m=settings.near_m, loss=settings.test_loss)
                vertices[place.vertex] = Vertex(place.vertex, command, command.parents, str(place))
                continue
            training = settings.pointrcnn if place.kind == "P-RCNN" else settings.frustum_pointnet
            boxes = settings.boxes2d if place.kind == "F-PTNET" else None
            detector = TrainedDetector(
                training=widened(training[place.class_name], place.width),
                class_name=place.class_name,
                cloud=cloud.vertex,
                near_m=settings.near_m,
                loss=settings.test_loss,
                max_depth_m=cloud.max_depth_m,
                data_fraction=place.data_fraction,
                initial=settings.initial_detectors.of(place.kind, place.class_name),
                boxes_file=boxes.path if isinstance(boxes, DetectionsFile) else None,
            )
            parents = (cloud.vertex, BOXES2D) if isinstance(boxes, Detector2dTraining) else (cloud.vertex,)
            vertices[place.vertex] = Vertex(place.vertex, detector, parents, str(place))
        return list(vertices.values())
