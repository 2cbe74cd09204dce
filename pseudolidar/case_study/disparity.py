"""u in the case study: disparity models as vertices, trained by the study, trained already, or other people's."""

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from pseudolidar.ensembles import train_disparity, trained_disparity
from pseudolidar.files import FormatError, combined_digest, files_digest, replacing, track, write_file
from pseudolidar.kitti import DISPARITY_SUFFIXES, Frame, ObjectDataset, disparity_path, read_disparity
from pseudolidar.stereo import (
    REGIONS,
    DisparityModel,
    SemiGlobalMatching,
    StereoMetrics,
    StereoTraining,
    disparity_metrics,
    mean_disparity_of,
    predict_disparities,
    train_stereo,
)
from pseudolidar.systems import Inputs, MeanLoss, Model, Resources, Step
from pseudolidar.systems.external import AS_BEFORE, CHANGED, COMMAND_VERSION, SPLITS, Command
from pseudolidar.training import TrainingRun, recorded_settings
from pseudolidar.weights import weights_digest

DISPARITY = "u"
"""The vertex whose disparity becomes clouds."""

WEIGHTS = "weights"
"""The vertex whose prediction is the weights that u and u' start from."""

MODEL_FILE = "model.pt"
ERRORS_FILE = "errors.npz"
"""Where a disparity model's test leaves its `StereoMetrics`."""

_ORACLE_FILE = "oracle.json"
TEST_VERSION = 2
"""Of the code that measures a disparity model."""

_TRAINING_VERSION, _PREDICTION_VERSION = 3, 2


def region_loss(metrics: StereoMetrics, region: str, depth: int) -> MeanLoss:
    """Disparity MAE over the pixels of a region of `REGIONS` in a range of `RANGES_M`, px, by frame."""
    place = REGIONS.index(region)
    total, count = metrics.disparity_error[:, place, depth], metrics.pixels[:, place, depth]
    return MeanLoss(metrics.frame_ids, total, count.astype(float), "px")


def training_resources(device: str, threads: int | None) -> Resources:
    """Threads and GPUs of a run on `device`; None counts as one thread."""
    return Resources(threads or 1, 0.0 if device == "cpu" else 1.0)


class MeasuredDisparity(Model):
    """A disparity model whose test loss is the disparity MAE over the valid pixels of the validation split, px."""

    def run_test(self, inputs: Inputs, folder: Path) -> None:
        """Measure the predicted maps; writes errors by frame, region and depth, and their sums for people."""
        assert inputs.predictions is not None
        mean = mean_disparity_of(ObjectDataset(inputs.data, "train"))
        metrics = disparity_metrics(inputs.predictions, ObjectDataset(inputs.data, "val"), mean)
        metrics.save(folder / ERRORS_FILE)
        write_file(folder / "errors.json", json.dumps(metrics.to_dict(), indent=1))

    @override
    def test_loss(self, inputs: Inputs) -> MeanLoss:
        assert inputs.tested is not None
        return region_loss(StereoMetrics.load(inputs.tested / ERRORS_FILE), "all", 0)


@dataclass(frozen=True)
class PretrainedWeights(Model):
    """Weights to start from, the same for every seed, as the paper's are SceneFlow's: its "prediction" is a file."""

    training: StereoTraining
    seed: int
    versions: ClassVar[Mapping[Step, int]] = {"predict": _TRAINING_VERSION}

    @override
    def settings(self, step: Step) -> Mapping[str, Any]:
        return {**recorded_settings(self.training), "seed": self.seed}

    @override
    def resources(self, step: Step) -> Resources:
        return training_resources(self.training.device, self.training.threads)

    def run_predict(self, inputs: Inputs, folder: Path) -> None:
        """Train on the training split and write the weights."""
        frames = ObjectDataset(inputs.data, "train")
        train_stereo(self.training, frames, TrainingRun(folder / MODEL_FILE, self.seed, overwrite=True))


@dataclass(frozen=True)
class Checkpoint(MeasuredDisparity):
    """A PSMNet, or an ensemble of them, that is trained already.

    `path` is any file that `load_psmnet` reads, or an ensemble's checkpoint; `align_corners` and `max_disparity` are as
    in `load_psmnet`.
    """

    path: str | Path
    align_corners: bool | None
    max_disparity: int | None
    device: str
    splits: tuple[str, ...] = SPLITS
    versions: ClassVar[Mapping[Step, int]] = {"predict": _PREDICTION_VERSION, "test": TEST_VERSION}

    @override
    def settings(self, step: Step) -> Mapping[str, Any]:
        if step == "test":
            return {}
        digest = weights_digest(self.path)
        splits = {} if self.splits == SPLITS else {"splits": self.splits}
        return {"path": digest, "align_corners": self.align_corners, "max_disparity": self.max_disparity, **splits}

    @override
    def resources(self, step: Step) -> Resources:
        return Resources() if step == "test" else training_resources(self.device, None)

    def run_predict(self, inputs: Inputs, folder: Path) -> None:
        """Write the maps of the splits."""
        network = trained_disparity(Path(self.path), self.align_corners, self.max_disparity, device=self.device)
        predict_splits(network, inputs.data, folder, self.splits)


@dataclass(frozen=True)
class TrainedDisparity(MeasuredDisparity):
    """A PSMNet or an ensemble to train, started from the file `initial`, or from the parent `WEIGHTS` if it has one."""

    training: StereoTraining
    initial: Checkpoint | None = None
    versions: ClassVar[Mapping[Step, int]] = {
        "train": _TRAINING_VERSION, "predict": _PREDICTION_VERSION, "test": TEST_VERSION
    }  # fmt: skip

    @override
    def settings(self, step: Step) -> Mapping[str, Any]:
        if step != "train":
            return {}
        initial = {} if self.initial is None else {"initial": weights_digest(self.initial.path)}
        return {**recorded_settings(self.training), **initial}

    @override
    def resources(self, step: Step) -> Resources:
        return Resources() if step == "test" else training_resources(self.training.device, self.training.threads)

    def run_train(self, inputs: Inputs, folder: Path) -> None:
        """Train on the training split; a killed run is resumed."""
        initial = inputs.parents[WEIGHTS] / MODEL_FILE if WEIGHTS in inputs.parents else None
        if self.initial is not None:
            initial = Path(self.initial.path)
        frames = ObjectDataset(inputs.data, "train")
        train_disparity(self.training, frames, TrainingRun(folder / MODEL_FILE, inputs.seed, overwrite=True), initial)

    def run_predict(self, inputs: Inputs, folder: Path) -> None:
        """Write the maps of both splits."""
        assert inputs.model is not None
        network = trained_disparity(inputs.model / MODEL_FILE, device=self.training.device)
        predict_splits(network, inputs.data, folder)


@dataclass(frozen=True)
class MatchingDisparity(MeasuredDisparity):
    """Semi-global matching, which needs no training; `max_disparity` of its search in px, a multiple of 16."""

    max_disparity: int
    splits: tuple[str, ...] = SPLITS
    versions: ClassVar[Mapping[Step, int]] = {"predict": 1, "test": TEST_VERSION}

    @override
    def settings(self, step: Step) -> Mapping[str, Any]:
        return dataclasses.asdict(self) if step == "predict" else {}

    def run_predict(self, inputs: Inputs, folder: Path) -> None:
        """Write the maps of the splits."""
        predict_splits(SemiGlobalMatching(self.max_disparity), inputs.data, folder, self.splits)


def predict_splits(model: DisparityModel, data: Path, folder: Path, splits: tuple[str, ...] = SPLITS) -> None:
    """Write the maps of some splits; those that are there are kept."""
    for split in splits:
        predict_disparities(model, ObjectDataset(data, split), folder, f"disparity, {split}")


@dataclass(frozen=True)
class CommandDisparity(Command, MeasuredDisparity):
    """A disparity model in whatever framework: commands that read KITTI folders and write disparity maps.

    The templates may hold {data}, {train_split}, {val_split} and {output}; `train` also {seed}, `predict` also {model}.
    `predict` writes {output}/ID.npy (float, px), ID.png (16 bit, 256 x) or ID.pfm for every frame of both splits.
    InputError for a template with an unknown placeholder, without {output} or {model}.
    """

    versions: ClassVar[Mapping[Step, int]] = {
        "train": COMMAND_VERSION, "predict": COMMAND_VERSION, "test": TEST_VERSION
    }  # fmt: skip

    def __post_init__(self) -> None:
        self.require_templates(())

    def run_predict(self, inputs: Inputs, folder: Path) -> None:
        """Call the command and take over its maps; FormatError for a frame without one, or with one that is unfit."""
        frames = frames_of_splits(inputs.data)
        maps = _require_maps(self.call(self.predict, inputs, folder), frames)
        for path, frame in track(list(zip(maps, frames, strict=True)), "disparity maps, checked"):
            _require_fit(path, frame)
        for path in maps:
            path.replace(folder / path.name)


@dataclass(frozen=True)
class DisparityFolder(MeasuredDisparity):
    """Disparity maps that somebody else's model made: ID.npy (float), ID.png (16 bit, 256 x) or ID.pfm, px, 0 unknown.

    The maps are copied: through links the user's next model, written over this one, would change results that the study
    takes for finished. FormatError where there is no such folder, or no map in it.
    """

    path: str | Path
    versions: ClassVar[Mapping[Step, int]] = {"predict": 1, "test": TEST_VERSION}

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path).resolve())
        if not self._maps():
            found = "none" if Path(self.path).is_dir() else "nothing there"
            raise FormatError(self.path, "folder", found, f"disparity maps: {', '.join(DISPARITY_SUFFIXES)}")

    def _maps(self) -> list[Path]:
        return sorted(path for path in Path(self.path).glob("*") if path.name.endswith(DISPARITY_SUFFIXES))

    @cached_property
    def _digests(self) -> dict[str, str]:
        # Kept, also on the way to another process: the study knows its stages by the maps as they were at its start.
        return {path.name: files_digest([path]) for path in self._maps()}

    @override
    def settings(self, step: Step) -> Mapping[str, Any]:
        # Where the folder lies doesn't matter.
        return {} if step == "test" else {"maps": combined_digest(self._digests)}

    def run_predict(self, inputs: Inputs, folder: Path) -> None:
        """Copy the maps of both splits; FormatError for a frame without one, or with one that is unfit or changed."""
        frames = frames_of_splits(inputs.data)
        maps = _require_maps(Path(self.path), frames)
        for path, frame in track(list(zip(maps, frames, strict=True)), "disparity maps, copied"):
            if (folder / path.name).is_file():
                continue
            _require_fit(path, frame)
            if files_digest([path]) != self._digests.get(path.name):
                raise FormatError(path, "file", CHANGED, AS_BEFORE)
            with replacing(folder / path.name) as temporary:
                shutil.copyfile(path, temporary)


def frames_of_splits(data: Path) -> list[Frame]:
    """The frames of both splits of a data set."""
    return [frame for split in SPLITS for frame in ObjectDataset(data, split)]


def _require_maps(folder: Path, frames: Sequence[Frame]) -> list[Path]:
    """The disparity map of every frame; FormatError names the first frame without one, and how many there are."""
    there = {entry.name for entry in os.scandir(folder)}
    missing = [one for one in frames if not there & {f"{one.frame_id}{suffix}" for suffix in DISPARITY_SUFFIXES}]
    if missing:
        found = f"nothing there ({len(missing)} of {len(frames)} frames have no map)"
        expected = f"a disparity map: {', '.join(DISPARITY_SUFFIXES)}"
        raise FormatError(folder / f"{missing[0].frame_id}.npy", "file", found, expected)
    return [disparity_path(folder, frame.frame_id) for frame in frames]


def _require_fit(path: Path, frame: Frame) -> None:
    height, width = frame.image_size()
    found = read_disparity(path).shape
    if found != (height, width):
        expected = f"{width} x {height} px, the size of the frame's image"
        raise FormatError(path, "size", f"{found[1]} x {found[0]} px", expected)


@dataclass(frozen=True)
class Oracle(Model):
    """y in the paper: the true depth, exact disparity or LiDAR. Its prediction is a file that says which it is."""

    versions: ClassVar[Mapping[Step, int]] = {"predict": 1}

    def run_predict(self, inputs: Inputs, folder: Path) -> None:
        """Write down whether the truth is exact disparity or LiDAR."""
        truth = "disparity" if ObjectDataset(inputs.data, "val")[0].has_exact_disparity() else "velodyne"
        write_file(folder / _ORACLE_FILE, json.dumps({"truth": truth}))


def truth_of(predictions: Path) -> str | None:
    """`disparity` or `velodyne` where a folder of predictions is the oracle's, else None."""
    path = predictions / _ORACLE_FILE
    return str(json.loads(path.read_text())["truth"]) if path.is_file() else None
