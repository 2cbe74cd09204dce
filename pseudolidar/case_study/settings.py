"""The settings of a case study: its frames, its models, its detectors and their clouds."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar, cast

from pseudolidar.case_study.clouds import FolderData
from pseudolidar.case_study.detectors import CommandDetector
from pseudolidar.case_study.disparity import Checkpoint, CommandDisparity, DisparityFolder, MatchingDisparity
from pseudolidar.case_study.scores import PrecisionChoice
from pseudolidar.detectors.boxes2d import Detector2dTraining
from pseudolidar.detectors.frustum_pointnet import FrustumTraining
from pseudolidar.detectors.pointrcnn import PointRCNNTraining
from pseudolidar.ensembles import EnsembleTraining
from pseudolidar.files import InputError
from pseudolidar.stereo import StereoTraining
from pseudolidar.synthetic import TownData

T = TypeVar("T")

Source = str
"""Where a cloud's depth comes from: `u`, its update `u'`, a reference beside them by its name, `y` (the oracle)."""

UPDATE: tuple[Source, Source] = ("u", "u'")
"""Before and after."""

KINDS = ("P-RCNN", "F-PTNET")
"""Detectors of the study's own, as the paper's tables call them: PointRCNN and Frustum PointNet."""

Remedy = Literal["keep", "calibrate", "mixed", "congruent", "near_only", "fuse", "ensemble"]
"""A change of the updated system.

keep: a detector stays on u. calibrate: u' is calibrated by the training frames. mixed: a detector is trained on the
clouds of u and of u'. congruent: it is held to what it finds on u (Yan et al., CVPR 2021). near_only: it is trained
without what is far. fuse: what it finds on u and on u' is put together. ensemble: u' is several networks.
"""

_FILE_NAMES: Mapping[Source, str] = {"u": "u", "u'": "u-prime", "y": "y-oracle"}
# Names of folders too: none is "..".
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_NAME_WORDS = "letters, digits, dots, dashes and underscores, no dot first"


def file_name(source: Source) -> str:
    """The name of a source's folder."""
    return _FILE_NAMES.get(source, source)


DisparityChoice = StereoTraining | MatchingDisparity | Checkpoint | DisparityFolder | CommandDisparity
"""u or u': a PSMNet or an ensemble to train, matching without training, weights, a folder of maps, a command."""


@dataclass(frozen=True)
class Reference:
    """A disparity model beside u and u', for scale, which the study does not train.

    `detectors`: whether detectors are trained on its clouds too (Tables 1 and 3), or its disparity alone is measured
    (Table 2), on the validation split.
    """

    model: MatchingDisparity | Checkpoint | DisparityFolder | CommandDisparity
    detectors: bool


@dataclass(frozen=True)
class DetectionsFile:
    """2D boxes from a file in the published format (`image_path class_id score x1 y1 x2 y2` a line)."""

    path: str | Path


@dataclass(frozen=True)
class InitialDetectors:
    """By class, the weights that detectors of each kind start from, on every cloud: files, or names of `Weights`."""

    pointrcnn: Mapping[str, str]
    frustum_pointnet: Mapping[str, str]

    def of(self, kind: str, class_name: str) -> str | None:
        """Those of a detector of a kind of `KINDS`; None: random ones."""
        return (self.pointrcnn if kind == "P-RCNN" else self.frustum_pointnet).get(class_name)


@dataclass(frozen=True)
class DiagnosisChoice:
    """Which detectors are trained more often, on u and on u', to find out which term of the error grew.

    Attributes:
        kinds: some of `KINDS`; those that the study trains on whole clouds.
        data_fractions: of the training frames, below 1, for the learning curve; empty: none.
        widths: factors of the networks' channels, without 1, for the capacity; empty: none.
    """

    kinds: tuple[str, ...]
    data_fractions: tuple[float, ...]
    widths: tuple[float, ...]

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS:
                raise InputError(f"kinds: found {kind!r}, expected some of {', '.join(KINDS)}")
        if not all(0 < fraction < 1 for fraction in self.data_fractions):
            raise InputError(f"data_fractions: found {list(self.data_fractions)}, expected fractions between 0 and 1")
        if not all(width > 0 and width != 1 for width in self.widths):
            raise InputError(f"widths: found {list(self.widths)}, expected factors above 0, without 1")


@dataclass(frozen=True, kw_only=True)
class CaseStudySettings:
    """Everything that determines the case study.

    Attributes:
        name: of the experiment, for the report.
        u, u_prime: the disparity model before the update and after it.
        pretraining: the start of u and u' where they are trained (SceneFlow weights in the paper): a disparity model
            that is trained once for all seeds, or a file of weights; None: from scratch.
        references: disparity models beside u and u' by name, a row each; a name is of letters, digits, dots, dashes and
            underscores.
        pointrcnn, frustum_pointnet: by class, the training of PointRCNN (P-RCNN) and of Frustum PointNet (F-PTNET).
        initial_detectors: what detectors start from; random weights for those that it doesn't name.
        commands: detectors of other people, by name: letters, digits, dots, dashes and underscores.
        max_height_m: winsorization: points this high above the sensor, or higher, are dropped.
        near_m: the reach of near-only clouds and of the pedestrians' score, m.
        seed: of the town and of the pre-training; the first of the trainings.
        seeds: trainings of everything else, with `seed`, `seed` + 1, ...: two or more show training noise; auto: two,
            then one by one as long as a change is undecided, up to `max_seeds`.
        boxes2d: of F-PTNET in testing: a file, a detector trained on the training split, or, None, the labels.
        diagnosis: trainings beside the study's own; None: none.
        remedies: what is tried against an update that makes detectors worse.
        congruence: weight of what holds a detector to the old one, for the remedy `congruent`.
        ensemble_members: how many networks u' is with the remedy `ensemble`, each trained by itself.
        time_budget: how long a frame may take in the system that is recommended, in the plain update's time; None: as
            long as it likes.

    Raises:
        InputError: another type of setting, fewer than one seed, a command or reference by a name that is taken, a
            budget below 1, an ensemble of a u' that the study doesn't train.
    """

    name: str
    data: TownData | FolderData
    u: DisparityChoice
    u_prime: DisparityChoice
    max_height_m: float
    near_m: float
    seed: int
    seeds: int | Literal["auto"]
    max_seeds: int
    pretraining: StereoTraining | Checkpoint | None
    references: Mapping[str, Reference]
    pointrcnn: Mapping[str, PointRCNNTraining]
    frustum_pointnet: Mapping[str, FrustumTraining]
    initial_detectors: InitialDetectors
    commands: Mapping[str, CommandDetector]
    boxes2d: DetectionsFile | Detector2dTraining | None
    test_loss: PrecisionChoice
    diagnosis: DiagnosisChoice | None
    remedies: tuple[Remedy, ...]
    congruence: float
    ensemble_members: int
    time_budget: float | None

    def __post_init__(self) -> None:
        if self.seeds != "auto" and self.seeds < 1:
            raise InputError(f"seeds: found {self.seeds}, expected 1 or more")
        if self.max_seeds < 2:
            raise InputError(f"max_seeds: found {self.max_seeds}, expected 2 or more")
        for name, choice in (("u", self.u), ("u_prime", self.u_prime)):
            if not isinstance(choice, DisparityChoice):
                expected = "a disparity model: stereo@study.NAME=sgm, checkpoint, folder, command or a training"
                raise InputError(f"{name}: found {_described(choice)}, expected {expected.replace('NAME', name)}")
        if isinstance(self.pretraining, EnsembleTraining):
            # Its file is no network's; a member could start from it, but which?
            raise InputError("pretraining: found an ensemble, expected the training of one network, or a checkpoint")
        for name, expected_type, choices in (
            ("pointrcnn", PointRCNNTraining, self.pointrcnn),
            ("frustum_pointnet", FrustumTraining, self.frustum_pointnet),
            ("commands", CommandDetector, self.commands),
            ("references", Reference, self.references),
        ):
            for key, value in choices.items():
                if not isinstance(value, expected_type):
                    # Settings that are left of a detector that was taken out, for instance.
                    found = _described(value)
                    raise InputError(f"{name}.{key}: found {found}, expected {expected_type.__name__}, or nothing")
        if self.diagnosis is not None and self.diagnosis.widths:
            given = {"P-RCNN": self.initial_detectors.pointrcnn, "F-PTNET": self.initial_detectors.frustum_pointnet}
            if started := [kind for kind in self.diagnosis.kinds if given[kind]]:
                found = f"{list(self.diagnosis.widths)} for {', '.join(started)}, which starts from initial_detectors"
                raise InputError(f"diagnosis.widths: found {found}, expected none: weights are of one width")
        is_one_network = isinstance(self.u_prime, StereoTraining) and not isinstance(self.u_prime, EnsembleTraining)
        if "ensemble" in self.remedies and not is_one_network:
            found = type(self.u_prime).__name__
            raise InputError(f"remedies: found ensemble, and {found} as u', expected the training of one network")
        if self.time_budget is not None and not self.time_budget >= 1:
            raise InputError(f"time_budget: found {self.time_budget}, expected 1 (the plain update's time) or more")
        for name in self.commands:
            if not _NAME.fullmatch(name) or name.upper() in KINDS:
                expected = f"{_NAME_WORDS}, and none of {', '.join(KINDS)}"
                raise InputError(f"commands: found the name {name!r}, expected {expected}")
        for name in self.references:
            taken = dict.fromkeys((*_FILE_NAMES, *_FILE_NAMES.values(), *self.remedies))
            if not _NAME.fullmatch(name) or name in taken:
                expected = f"{_NAME_WORDS}, and none of {', '.join(taken)}"
                raise InputError(f"references: found the name {name!r}, expected {expected}")


def _described(value: object) -> str:
    return repr(value) if isinstance(value, dict) else type(value).__name__


@dataclass(frozen=True)
class DetectorPlace:
    """A detector's place in the study, whatever it is trained on: its kind (of `KINDS`, or a command) and its training.

    Attributes:
        near_only: trained without objects and points beyond the study's `near_m`.
        data_fraction: of the training frames.
        width: factor of its channels.
    """

    kind: str
    class_name: str
    near_only: bool = False
    data_fraction: float = 1.0
    width: float = 1.0

    @property
    def vertex(self) -> str:
        """Name of the detector's vertex, e.g. pedestrian-p-rcnn-near."""
        fraction = "" if self.data_fraction == 1 else f"-fraction-{self.data_fraction:g}"
        width = "" if self.width == 1 else f"-width-{self.width:g}"
        return f"{self.class_name.lower()}-{self.kind.lower()}{'-near' if self.near_only else ''}{fraction}{width}"

    def __str__(self) -> str:
        near = ", near only" if self.near_only else ""
        fraction = "" if self.data_fraction == 1 else f", {100 * self.data_fraction:g} % of the frames"
        width = "" if self.width == 1 else f", {self.width:g} x the channels"
        return f"{self.class_name}, {self.kind}{near}{fraction}{width}"


def detector_places(settings: CaseStudySettings) -> tuple[tuple[DetectorPlace, ...], tuple[DetectorPlace, ...]]:
    """The study's detectors, and the variants that the diagnosis trains beside them."""
    places: list[DetectorPlace] = []
    for kind, trainings in zip(KINDS, (settings.pointrcnn, settings.frustum_pointnet), strict=True):
        places += [DetectorPlace(kind, name) for name in trainings]
        places += [DetectorPlace(kind, name, near_only=True) for name in trainings if name == "Pedestrian"]
    places += [DetectorPlace(name, command.class_name) for name, command in settings.commands.items()]
    variants: list[DetectorPlace] = []
    if (diagnosis := settings.diagnosis) is not None:
        for place in places:
            if place.kind in diagnosis.kinds and not place.near_only:
                variants += [replace(place, data_fraction=fraction) for fraction in diagnosis.data_fractions]
                variants += [replace(place, width=width) for width in diagnosis.widths]
    return tuple(places), tuple(variants)


def on_device(settings: T, device: str) -> T:
    """The same settings with every `device` in them, however deep, that one."""
    if isinstance(settings, Mapping):
        return cast(T, {name: on_device(value, device) for name, value in settings.items()})
    if not is_dataclass(settings) or isinstance(settings, type):
        return settings
    values = {each.name: getattr(settings, each.name) for each in fields(settings)}
    return replace(
        settings, **{name: device if name == "device" else on_device(one, device) for name, one in values.items()}
    )
