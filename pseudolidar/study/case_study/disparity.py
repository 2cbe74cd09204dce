"""u in the case study: disparity models as vertices, trained or not, and the oracle."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pseudolidar.kitti import FormatError, ObjectDataset, replacing
from pseudolidar.stereo import (
    DisparityModel,
    SemiGlobalMatching,
    StereoMetrics,
    StereoTraining,
    TrainedPSMNet,
    disparity_metrics,
    mean_disparity_of,
    predict_disparities,
    train_stereo,
)
from pseudolidar.study.case_study.settings import Checkpoint
from pseudolidar.study.losses import MeanLoss
from pseudolidar.study.stages import Resources
from pseudolidar.study.system import Inputs, Step

WEIGHTS = "weights"
"""The vertex whose prediction is the weights that u and u' start from."""

MODEL_FILE = "model.pt"
_ORACLE_FILE = "oracle.json"
_ERRORS_FILE = "errors.npz"

# Raised when the same settings give another result.
_TRAINING_VERSION, _PREDICTION_VERSION, _TEST_VERSION = 1, 2, 2


@dataclass(frozen=True)
class PretrainedWeights:
    """Weights to start from, the same for every seed, as the paper's are SceneFlow's: what it "predicts" is a file.

    Attributes:
        training: how they are made.
        seed: of it.
    """

    training: StereoTraining
    seed: int

    @property
    def steps(self) -> tuple[Step, ...]:
        """One, whatever the study's seed."""
        return ("predict",)

    def settings(self, step: Step) -> Mapping[str, Any]:
        """The training's."""
        return {**dataclasses.asdict(self.training), "seed": self.seed}

    def version(self, step: Step) -> int:
        """Of `train_stereo`."""
        return _TRAINING_VERSION

    def resources(self, step: Step) -> Resources:
        """One thread, or a card."""
        return training_resources(self.training.device, self.training.threads)

    def run(self, step: Step, inputs: Inputs, folder: Path) -> None:
        """Train; resumable."""
        train_stereo(self.training, ObjectDataset(inputs.data, "train"), folder / MODEL_FILE, None, self.seed)

    def test_loss(self, inputs: Inputs) -> MeanLoss:
        """There is none."""
        raise NotImplementedError("weights to start from are not tested")


class Tested:
    """The test loss of every disparity model: disparity MAE over the valid pixels of the validation split (SPEC 2)."""

    def test(self, inputs: Inputs, folder: Path) -> None:
        """Measure the predicted maps; writes errors by frame, region and depth, and their sums for people."""
        assert inputs.predictions is not None
        mean = mean_disparity_of(ObjectDataset(inputs.data, "train"))
        metrics = disparity_metrics(inputs.predictions, ObjectDataset(inputs.data, "val"), mean)
        metrics.save(folder / _ERRORS_FILE)
        with replacing(folder / "errors.json") as temporary:
            temporary.write_text(json.dumps(metrics.to_dict(), indent=1))

    def test_loss(self, inputs: Inputs) -> MeanLoss:
        """Disparity MAE, px, by frame."""
        assert inputs.tested is not None
        metrics = read_errors(inputs.tested)
        total, count = metrics.disparity_error[:, 0, 0], metrics.pixels[:, 0, 0].astype(float)
        return MeanLoss(metrics.frame_ids, total, count, "px")


def read_errors(tested: Path) -> StereoMetrics:
    """The errors in the folder that a disparity model's test filled."""
    return StereoMetrics.load(tested / _ERRORS_FILE)


@dataclass(frozen=True)
class TrainedDisparity(Tested):
    """A PSMNet that the study trains; started from the weights of the parent `WEIGHTS`, where there is one.

    Attributes:
        training: how.
        initial: a file to start from instead; None: none.
    """

    training: StereoTraining
    initial: Checkpoint | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """All three."""
        return ("train", "predict", "test")

    def settings(self, step: Step) -> Mapping[str, Any]:
        """The training's; of a prediction none but the model's."""
        if step != "train":
            return {}
        initial = {} if self.initial is None else {"initial": file_digest(self.initial.path)}
        return {**dataclasses.asdict(self.training), **initial}

    def version(self, step: Step) -> int:
        """By step."""
        return {"train": _TRAINING_VERSION, "predict": _PREDICTION_VERSION, "test": _TEST_VERSION}[step]

    def resources(self, step: Step) -> Resources:
        """A card where the training takes one."""
        return Resources() if step == "test" else training_resources(self.training.device, self.training.threads)

    def run(self, step: Step, inputs: Inputs, folder: Path) -> None:
        """Train, predict both splits, or test; resumable."""
        if step == "train":
            weights = inputs.parents.get(WEIGHTS)
            initial = weights / MODEL_FILE if weights is not None else None
            if self.initial is not None:
                initial = Path(self.initial.path)
            frames = ObjectDataset(inputs.data, "train")
            train_stereo(self.training, frames, folder / MODEL_FILE, initial, inputs.seed)
        elif step == "predict":
            assert inputs.model is not None
            network = TrainedPSMNet(inputs.model / MODEL_FILE, device=self.training.device)
            predict_splits(network, inputs.data, folder)
        else:
            self.test(inputs, folder)


@dataclass(frozen=True)
class CheckpointDisparity(Tested):
    """A PSMNet that was trained elsewhere."""

    checkpoint: Checkpoint

    @property
    def steps(self) -> tuple[Step, ...]:
        """It is trained already."""
        return ("predict", "test")

    def settings(self, step: Step) -> Mapping[str, Any]:
        """The file's content and how it is read."""
        if step == "test":
            return {}
        choice = {**dataclasses.asdict(self.checkpoint), "path": file_digest(self.checkpoint.path)}
        return {name: value for name, value in choice.items() if name != "device"}

    def version(self, step: Step) -> int:
        """By step."""
        return _PREDICTION_VERSION if step == "predict" else _TEST_VERSION

    def resources(self, step: Step) -> Resources:
        """A card where it is to predict on one."""
        return Resources() if step == "test" else training_resources(self.checkpoint.device, None)

    def run(self, step: Step, inputs: Inputs, folder: Path) -> None:
        """Predict both splits, or test."""
        if step == "test":
            self.test(inputs, folder)
            return
        choice = self.checkpoint
        network = TrainedPSMNet(Path(choice.path), choice.align_corners, choice.max_disparity, device=choice.device)
        predict_splits(network, inputs.data, folder)


@dataclass(frozen=True)
class MatchingDisparity(Tested):
    """Semi-global matching, which needs no training.

    Attributes:
        max_disparity: of the search, px.
        splits: on which it is asked.
    """

    max_disparity: int
    splits: tuple[str, ...] = ("train", "val")

    @property
    def steps(self) -> tuple[Step, ...]:
        """Without training."""
        return ("predict", "test")

    def settings(self, step: Step) -> Mapping[str, Any]:
        """The search's."""
        return dataclasses.asdict(self) if step == "predict" else {}

    def version(self, step: Step) -> int:
        """By step."""
        return 1 if step == "predict" else _TEST_VERSION

    def resources(self, step: Step) -> Resources:
        """One thread."""
        return Resources()

    def run(self, step: Step, inputs: Inputs, folder: Path) -> None:
        """Match the splits' pairs, or test."""
        if step == "test":
            self.test(inputs, folder)
        else:
            predict_splits(SemiGlobalMatching(self.max_disparity), inputs.data, folder, self.splits)


@dataclass(frozen=True)
class Oracle:
    """y: the data set's own truth, exact disparity or LiDAR. What it predicts says only where that lies."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """Nothing to train, nothing to test."""
        return ("predict",)

    def settings(self, step: Step) -> Mapping[str, Any]:
        """None."""
        return {}

    def version(self, step: Step) -> int:
        """Of the file below."""
        return 1

    def resources(self, step: Step) -> Resources:
        """One thread."""
        return Resources()

    def run(self, step: Step, inputs: Inputs, folder: Path) -> None:
        """Write down which truth there is."""
        truth = "disparity" if ObjectDataset(inputs.data, "val")[0].has_exact_disparity() else "velodyne"
        with replacing(folder / _ORACLE_FILE) as temporary:
            temporary.write_text(json.dumps({"truth": truth}))

    def test_loss(self, inputs: Inputs) -> MeanLoss:
        """It has no error."""
        raise NotImplementedError("the oracle is not tested")


def truth_of(predictions: Path) -> str | None:
    """`disparity` or `velodyne` where a folder of predictions is the oracle's, else None."""
    path = predictions / _ORACLE_FILE
    return str(json.loads(path.read_text())["truth"]) if path.is_file() else None


def predict_splits(model: DisparityModel, data: Path, folder: Path, splits: tuple[str, ...] = ("train", "val")) -> None:
    """Write the maps of both splits; those that are there are kept."""
    for split in splits:
        predict_disparities(model, ObjectDataset(data, split), folder, f"disparity, {split}")


def training_resources(device: str, threads: int | None) -> Resources:
    """What a training on a device occupies."""
    return Resources(threads or 1, 0.0 if device == "cpu" else 1.0)


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's content, hex.

    Raises:
        FormatError: no such file.
    """
    if not Path(path).is_file():
        raise FormatError(path, "file", "nothing there", "weights")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
