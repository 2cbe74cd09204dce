"""u in the case study: disparity models as vertices, trained or not."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pseudolidar.ensembles import train_disparity, trained_disparity
from pseudolidar.files import file_digest
from pseudolidar.kitti import ObjectDataset
from pseudolidar.stereo import DisparityModel, SemiGlobalMatching, StereoTraining, predict_disparities, train_stereo
from pseudolidar.study.case_study.disparity_errors import TEST_VERSION, disparity_loss, measure_disparity
from pseudolidar.study.case_study.settings import Checkpoint
from pseudolidar.study.losses import ItemLosses
from pseudolidar.study.stages import Resources
from pseudolidar.study.system import Inputs, Step
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
        return {**recorded_settings(self.training), "seed": self.seed}

    def version(self, step: Step) -> int:
        """Of `train_stereo`."""
        return _TRAINING_VERSION

    def resources(self, step: Step) -> Resources:
        """One thread, or a card."""
        return training_resources(self.training.device, self.training.threads)

    def run(self, step: Step, inputs: Inputs, folder: Path) -> None:
        """Train; resumable."""
        frames = ObjectDataset(inputs.data, "train")
        train_stereo(self.training, frames, folder / MODEL_FILE, None, self.seed, overwrite=True)


@dataclass(frozen=True)
class TrainedDisparity:
    """A PSMNet or an ensemble that the study trains, started from the weights of the parent `WEIGHTS` if it has one.

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
        initial = {} if self.initial is None else {"initial": file_digest(self.initial.path, "weights")}
        return {**recorded_settings(self.training), **initial}

    def version(self, step: Step) -> int:
        """By step."""
        return {"train": _TRAINING_VERSION, "predict": _PREDICTION_VERSION, "test": TEST_VERSION}[step]

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
            train_disparity(self.training, frames, folder / MODEL_FILE, initial, inputs.seed, overwrite=True)
        elif step == "predict":
            assert inputs.model is not None
            network = trained_disparity(inputs.model / MODEL_FILE, device=self.training.device)
            predict_splits(network, inputs.data, folder)
        else:
            measure_disparity(inputs, folder)

    def test_loss(self, inputs: Inputs) -> ItemLosses:
        """Disparity MAE by frame."""
        return disparity_loss(inputs)


@dataclass(frozen=True)
class CheckpointDisparity:
    """A PSMNet, or an ensemble of them, that was trained elsewhere."""

    checkpoint: Checkpoint

    @property
    def steps(self) -> tuple[Step, ...]:
        """It is trained already."""
        return ("predict", "test")

    def settings(self, step: Step) -> Mapping[str, Any]:
        """The file's content and how it is read."""
        if step == "test":
            return {}
        choice = {**dataclasses.asdict(self.checkpoint), "path": file_digest(self.checkpoint.path, "weights")}
        return {name: value for name, value in choice.items() if name != "device"}

    def version(self, step: Step) -> int:
        """By step."""
        return _PREDICTION_VERSION if step == "predict" else TEST_VERSION

    def resources(self, step: Step) -> Resources:
        """A card where it is to predict on one."""
        return Resources() if step == "test" else training_resources(self.checkpoint.device, None)

    def run(self, step: Step, inputs: Inputs, folder: Path) -> None:
        """Predict both splits, or test."""
        if step == "test":
            measure_disparity(inputs, folder)
            return
        choice = self.checkpoint
        network = trained_disparity(Path(choice.path), choice.align_corners, choice.max_disparity, device=choice.device)
        predict_splits(network, inputs.data, folder)

    def test_loss(self, inputs: Inputs) -> ItemLosses:
        """Disparity MAE by frame."""
        return disparity_loss(inputs)


@dataclass(frozen=True)
class MatchingDisparity:
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
        return 1 if step == "predict" else TEST_VERSION

    def resources(self, step: Step) -> Resources:
        """One thread."""
        return Resources()

    def run(self, step: Step, inputs: Inputs, folder: Path) -> None:
        """Match the splits' pairs, or test."""
        if step == "test":
            measure_disparity(inputs, folder)
        else:
            predict_splits(SemiGlobalMatching(self.max_disparity), inputs.data, folder, self.splits)

    def test_loss(self, inputs: Inputs) -> ItemLosses:
        """Disparity MAE by frame."""
        return disparity_loss(inputs)


def predict_splits(model: DisparityModel, data: Path, folder: Path, splits: tuple[str, ...] = ("train", "val")) -> None:
    """Write the maps of both splits; those that are there are kept."""
    for split in splits:
        predict_disparities(model, ObjectDataset(data, split), folder, f"disparity, {split}")


def training_resources(device: str, threads: int | None) -> Resources:
    """What a training on a device occupies."""
    return Resources(threads or 1, 0.0 if device == "cpu" else 1.0)
