"""Ensembles of PSMNets trained on the augmented objective, measured over the training on training and test frames."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from pseudolidar.ensembles import EnsembleTraining, SquaredErrorTally, TrainedEnsemble, train_disparity
from pseudolidar.ensembles.joint_training.experiments import (
    Design,
    Measurement,
    ObjectiveLosses,
    Snapshot,
    Training,
    measurement_of,
    write_training,
)
from pseudolidar.files import InputError, track
from pseudolidar.kitti import ObjectDataset
from pseudolidar.stereo import disparity_loss, target_disparity
from pseudolidar.synthetic import TownData, TownTask
from pseudolidar.systems import Resources, Stage
from pseudolidar.training import TrainingRun, recorded_settings, snapshot_path

_MODEL_FILE = "model.pt"


@dataclass(frozen=True, kw_only=True)
class StereoEnsembles:
    """Ensembles of PSMNets to train, their data, and how often they are measured; InputError for numbers out of range.

    Attributes:
        data: a town; its training split should be small, as the question is what does not generalise.
        training: of every ensemble; its `beta` is ignored.
        betas: of the augmented objective.
        seed, seeds: of the town and the first training; trainings for each beta, with `seed`, `seed` + 1, ...
        moments: how often each training is measured, evenly spaced, the last time at its end.
        frames: the first ones of each split that are measured.
    """

    data: TownData
    training: EnsembleTraining
    betas: Sequence[float]
    seed: int
    seeds: int
    moments: int
    frames: int

    def __post_init__(self) -> None:
        for name, found in (("betas", len(self.betas)), ("seeds", self.seeds), ("frames", self.frames)):
            if found < 1:
                raise InputError(f"{name}: found {found}, expected 1 or more")
        if self.data.train < self.frames or self.data.val < self.frames:
            raise InputError(f"frames: found {self.frames}, expected at most {min(self.data.train, self.data.val)}")
        if not 1 <= self.moments <= self.training.steps:
            raise InputError(f"moments: found {self.moments}, expected 1 to {self.training.steps}, one a step at most")

    def design(self) -> Design:
        """A measuring stage for each beta and seed, behind its training."""
        data = Stage(f"town-{self.data.preset}", TownTask(self.data, self.seed), title="make the town")
        training, steps = self.training, self.training.steps
        measured = tuple(steps * moment // self.moments for moment in range(1, self.moments + 1))
        occupied = Resources(training.threads or 1, 0.0 if training.device == "cpu" else 1.0)
        stages = {}
        for seed in range(self.seed, self.seed + self.seeds):
            for beta in self.betas:
                title = f"{training.members} PSMNets, beta {beta:g}, seed {seed}"
                one = dataclasses.replace(training, beta=float(beta))
                task = TrainEnsemble(one, seed, measured[:-1])
                model = Stage(f"train-psmnets-beta{beta:g}", task, {"data": data}, occupied, f"train {title}")
                stages[float(beta), seed] = Stage(
                    f"measure-psmnets-beta{beta:g}",
                    MeasureEnsemble(one, measured, self.frames),
                    {"data": data, "model": model},
                    occupied,
                    f"measure {title}",
                )
        return Design(
            name="stereo",
            title="Stereo",
            setting=(
                f"{training.members} PSMNets of {training.width} channels on {self.data.train} frames of a synthetic "
                f"town, whose disparities are averaged; {steps} steps of {training.batch_size} crops of "
                f"{training.crop[1]} x {training.crop[0]} px, {_trained_on(training)}, from random weights; the "
                f"schedule is fixed and nothing is stopped early. Measured is the squared error of disparity on "
                f"{self.frames} whole frames that were trained on and {self.frames} that were not. A seed draws "
                "initial weights and crops, the same for every beta; all seeds share one town: intervals know of the "
                "chance in training alone."
            ),
            compared="squared error",
            unit="px²",
            step="steps",
            stages=stages,
        )


@dataclass(frozen=True)
class TrainEnsemble:
    """Trains one ensemble and keeps its weights after the steps `snapshots`: a `Task` of the stage runner."""

    training: EnsembleTraining
    seed: int
    snapshots: tuple[int, ...]
    version: ClassVar[int] = 2

    def settings(self) -> Mapping[str, Any]:
        """Of the training, the seed, and the steps of its snapshots."""
        return {**recorded_settings(self.training), "seed": self.seed, "snapshots": list(self.snapshots)}

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        """Train on the training split and write the weights and snapshots to `folder`; a killed run is resumed."""
        frames = ObjectDataset(parents["data"], "train")
        run = TrainingRun(folder / _MODEL_FILE, self.seed, overwrite=True, snapshots=self.snapshots)
        train_disparity(self.training, frames, run)


@dataclass(frozen=True)
class MeasureEnsemble:
    """Measures one ensemble after these steps of `training`, on the first `frames` frames of each split: a `Task`."""

    training: EnsembleTraining
    steps: tuple[int, ...]
    frames: int
    version: ClassVar[int] = 2

    def settings(self) -> Mapping[str, Any]:
        """The steps at which it is measured, the number of frames and the loss."""
        loss = {"loss": self.training.loss, "smooth": self.training.smooth}
        return {"steps": list(self.steps), "frames": self.frames, **loss}

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        """Write the measurements: squared error of disparity, px^2, beside the loss of the training.

        Over the pixels of whole images whose true disparity is known and below `max_disparity`.
        """
        snapshots = []
        for step in self.steps:
            model = parents["model"] / _MODEL_FILE
            if step < self.training.steps:
                model = snapshot_path(model, step)
            ensemble = TrainedEnsemble(model, device=self.training.device)
            measured = []
            # The training split first, as in a snapshot.
            for split in ("train", "val"):
                frames = ObjectDataset(parents["data"], split)
                chosen = frames.only(frames.frame_ids[: self.frames])
                measured.append(self._measured(ensemble, chosen, f"step {step}, {split}"))
            snapshots.append(Snapshot(step, *measured))
        write_training(folder, Training(_trained_on(self.training), tuple(snapshots)))

    def _measured(self, ensemble: TrainedEnsemble, frames: ObjectDataset, description: str) -> Measurement:
        training, tally = self.training, SquaredErrorTally(self.training.members)
        individual, whole = 0.0, 0.0
        for frame in track(list(frames), description):
            members = torch.from_numpy(ensemble.predict_members(*frame.stereo_pair()))
            target = torch.from_numpy(target_disparity(frame))
            valid = (target > 0) & (target < training.max_disparity)
            tally.add(members[:, valid], target[valid])
            count = int(valid.sum())
            constant = torch.tensor([frame.calibration.camera_constant_px_m], dtype=torch.float32)
            *own, of_mean = (
                disparity_loss(
                    disparity[None], target[None], training.loss, constant, training.smooth, training.max_disparity
                )
                for disparity in (*members, members.mean(dim=0))
            )
            individual += count * float(torch.stack(own).mean())
            whole += count * float(of_mean)
        return measurement_of(tally, ObjectiveLosses(individual / tally.count, whole / tally.count))


def _trained_on(training: EnsembleTraining) -> str:
    """Name of the loss that was trained on, e.g. smooth L1 of disparity."""
    return f"{'smooth L1' if training.smooth else 'L1'} of {training.loss}"
