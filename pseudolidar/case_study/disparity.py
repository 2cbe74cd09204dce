"""u in the case study: disparity models as vertices, trained or not."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pseudolidar.case_study.disparity_errors import TEST_VERSION, disparity_loss, measure_disparity
from pseudolidar.case_study.settings import Checkpoint
from pseudolidar.ensembles import train_disparity, trained_disparity
from pseudolidar.files import file_digest
from pseudolidar.kitti import ObjectDataset
from pseudolidar.stereo import DisparityModel, SemiGlobalMatching, StereoTraining, predict_disparities, train_stereo
from pseudolidar.systems import Inputs, ItemLosses, Resources, Step
from pseudolidar.training import recorded_settings

WEIGHTS = "weights"
"""The vertex whose prediction is the weights that u and u' start from."""

MODEL_FILE = "model.pt"

# Raised when the same settings give another result.
_TRAINING_VERSION, _PREDICTION_VERSION = 2, 2


@dataclass(frozen=True)
class PretrainedWeights:
    """Weights to start from, the same for every seed, as the paper's are SceneFlow's: what it "predicts" is a file.

    Attributes:
        training: settings of the training that makes them.
        seed: of that training.
    """

    training: StereoTraining
    seed: int

    @property
    def steps(self) -> tuple[Step, ...]:
        """Prediction alone, which trains once for all seeds of the study."""
        return ("predict",)

    def settings(self, step: Step) -> Mapping[str, Any]:
        """Settings of the training, and its seed."""
        return {**recorded_settings(self.training), "seed": self.seed}

    def version(self, step: Step) -> int:
        """Version of PSMNet's training (`train_stereo`)."""
        return _TRAINING_VERSION

    def resources(self, step: Step) -> Resources:
        """The processor threads and the GPU that the training asks for."""
        return training_resources(self.training.device, self.training.threads)

    def run(self, step: Step, inputs: Inputs, folder: Path) -> None:
        """Train on the training split and write the weights to `folder`; a killed run is resumed."""
        frames = ObjectDataset(inputs.data, "train")
        train_stereo(self.training, frames, folder / MODEL_FILE, None, self.seed, overwrite=True)


@dataclass(frozen=True)
class TrainedDisparity:
    """A PSMNet or an ensemble that the study trains, started from the weights of the parent `WEIGHTS` if it has one.

    Attributes:
        training: settings of the training.
        initial: a file to start from instead; None: none.
    """

    training: StereoTraining
    initial: Checkpoint | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """Training, prediction and test: all the steps that there are."""
        return ("train", "predict", "test")

    def settings(self, step: Step) -> Mapping[str, Any]:
        """Settings and initial weights of the training; empty for the other steps, which follow from it."""
        if step != "train":
            return {}
        initial = {} if self.initial is None else {"initial": file_digest(self.initial.path, "weights")}
        return {**recorded_settings(self.training), **initial}

    def version(self, step: Step) -> int:
        """Version of a step's code; training, prediction and test have one each."""
        return {"train": _TRAINING_VERSION, "predict": _PREDICTION_VERSION, "test": TEST_VERSION}[step]

    def resources(self, step: Step) -> Resources:
        """The threads and GPU that the training asks for; one thread for the test."""
        return Resources() if step == "test" else training_resources(self.training.device, self.training.threads)

    def run(self, step: Step, inputs: Inputs, folder: Path) -> None:
        """Train, predict both splits, or test; a killed run is resumed."""
        if step == "train":
            weights = inputs.parents.get(WEIGHTS)
            initial = weights / MODEL_FILE if weights is not None else None
            if self.initial is not None:
                initial = Path(self.initial.path)
            frames = ObjectDataset(inputs.data, "train")
            train_disparity(self.training, frames, folder / MODEL_FILE, initial, inputs.seed, overwrite=True)
        elif step == "predict":
            assert inputs.model is not None
            network = trained_disparity(inputs.model / MODEL_FILE, device=self.training.device)
            predict_splits(network, inputs.data, folder)
        else:
            measure_disparity(inputs, folder)

    def test_loss(self, inputs: Inputs) -> ItemLosses:
        """Disparity MAE over the valid pixels of the validation frames, px."""
        return disparity_loss(inputs)


@dataclass(frozen=True)
class CheckpointDisparity:
    """A PSMNet, or an ensemble of them, that was trained elsewhere."""

    checkpoint: Checkpoint

    @property
    def steps(self) -> tuple[Step, ...]:
        """Prediction and test; the training took place elsewhere."""
        return ("predict", "test")

    def settings(self, step: Step) -> Mapping[str, Any]:
        """Digest of the weights and the options that they are loaded with; empty for the test."""
        if step == "test":
            return {}
        choice = {**dataclasses.asdict(self.checkpoint), "path": file_digest(self.checkpoint.path, "weights")}
        return {name: value for name, value in choice.items() if name != "device"}

    def version(self, step: Step) -> int:
        """Version of a step's code; prediction and test have one each."""
        return _PREDICTION_VERSION if step == "predict" else TEST_VERSION

    def resources(self, step: Step) -> Resources:
        """One processor thread, and for a prediction on a GPU that GPU."""
        return Resources() if step == "test" else training_resources(self.checkpoint.device, None)

    def run(self, step: Step, inputs: Inputs, folder: Path) -> None:
        """Write the disparity maps of both splits, or measure those of the validation split."""
        if step == "test":
            measure_disparity(inputs, folder)
            return
        choice = self.checkpoint
        network = trained_disparity(Path(choice.path), choice.align_corners, choice.max_disparity, device=choice.device)
        predict_splits(network, inputs.data, folder)

    def test_loss(self, inputs: Inputs) -> ItemLosses:
        """Disparity MAE over the valid pixels of the validation frames, px."""
        return disparity_loss(inputs)


@dataclass(frozen=True)
class MatchingDisparity:
    """Semi-global matching, which needs no training.

    Attributes:
        max_disparity: of the search, px.
        splits: those whose maps it predicts.
    """

    max_disparity: int
    splits: tuple[str, ...] = ("train", "val")

    @property
    def steps(self) -> tuple[Step, ...]:
        """Prediction and test; there is nothing to train."""
        return ("predict", "test")

    def settings(self, step: Step) -> Mapping[str, Any]:
        """The range of disparities and the splits of a prediction; empty for the test."""
        return dataclasses.asdict(self) if step == "predict" else {}

    def version(self, step: Step) -> int:
        """Version of a step's code; prediction and test have one each."""
        return 1 if step == "predict" else TEST_VERSION

    def resources(self, step: Step) -> Resources:
        """One processor thread, no GPU."""
        return Resources()

    def run(self, step: Step, inputs: Inputs, folder: Path) -> None:
        """Write the disparity maps of the splits, or measure those of the validation split."""
        if step == "test":
            measure_disparity(inputs, folder)
        else:
            predict_splits(SemiGlobalMatching(self.max_disparity), inputs.data, folder, self.splits)

    def test_loss(self, inputs: Inputs) -> ItemLosses:
        """Disparity MAE over the valid pixels of the validation frames, px."""
        return disparity_loss(inputs)


def predict_splits(model: DisparityModel, data: Path, folder: Path, splits: tuple[str, ...] = ("train", "val")) -> None:
    """Write the maps of both splits; those that are there are kept."""
    for split in splits:
        predict_disparities(model, ObjectDataset(data, split), folder, f"disparity, {split}")


def training_resources(device: str, threads: int | None) -> Resources:
    """Threads and GPUs of a run on `device`; None counts as one thread."""
    return Resources(threads or 1, 0.0 if device == "cpu" else 1.0)
