"""Training of an ensemble of PSMNets: its members independently, jointly, or between the two.

The objective is the augmented one of Jeffares et al., Joint Training of Deep Ensembles Fails Due to Learner Collusion
(NeurIPS 2023), section 4.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pseudolidar.ensembles.decomposition import augmented_loss
from pseudolidar.ensembles.members import Ensemble
from pseudolidar.ensembles.psmnet_ensemble import MEMBERS
from pseudolidar.files import InputError
from pseudolidar.kitti import ObjectDataset
from pseudolidar.stereo import PSMNet, StereoBatch, StereoPairs, StereoTraining, disparity_loss, train_stereo
from pseudolidar.stereo.checkpoints import arguments_of
from pseudolidar.stereo.train import OUTPUT_WEIGHTS, fit_stereo, initial_network
from pseudolidar.training import TrainingRun, require_checkpoint_path, shard_weight

# The layers that a member has to itself where all start from the same weights.
_HEADS = "classif"


@dataclass(frozen=True, kw_only=True)
class EnsembleTraining(StereoTraining):
    """Settings of the training of two or more PSMNets, in addition to those of one; InputError for values out of range.

    The objective is (1 - beta) x the mean of the members' losses + beta x the loss of their mean disparity, beta in
    [0, 1]. 0 trains each as if it were alone, on the same batches (only `max_gradient_norm` bounds the gradient of all
    together), 1 the ensemble alone.
    """

    members: int
    beta: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.members < 2:
            raise InputError(f"members: found {self.members}, expected 2 or more")
        if not 0 <= self.beta <= 1:
            raise InputError(f"beta: found {self.beta}, expected a number from 0 to 1")


def train_disparity(
    settings: StereoTraining,
    data: StereoPairs | ObjectDataset,
    run: TrainingRun,
    init: Path | None = None,
    validation_data: StereoPairs | ObjectDataset | None = None,
) -> None:
    """Train one PSMNet (`train_stereo`) or, with `EnsembleTraining`, several; a killed run is resumed.

    Members begin with random weights of their own. With `init` they share its weights except the last layers
    (`classif*`), which stay random: with equal weights and the same batches, members would stay equal.
    Validation measures their mean. Arguments and errors are those of `train_stereo`.
    """
    if not isinstance(settings, EnsembleTraining):
        train_stereo(settings, data, run, init, validation_data)
        return
    require_checkpoint_path(run.checkpoint)
    members = [_initial_member(settings, init, _seed_of(run.seed, member)) for member in range(settings.members)]
    if settings.max_gradient_norm is not None:
        # The gradient of a mean over M members is, in norm, the root of M smaller than one member's alone.
        settings = dataclasses.replace(settings, max_gradient_norm=settings.max_gradient_norm / settings.members**0.5)
    fit_stereo(
        settings,
        Ensemble(members),
        lambda network, batch: ensemble_loss(network, batch, settings),
        {**arguments_of(members[0]), MEMBERS: settings.members},
        data,
        run,
        init,
        validation_data,
    )


def ensemble_loss(model: Ensemble, batch: StereoBatch, settings: EnsembleTraining) -> dict[str, Tensor]:
    """The augmented objective of the outputs on a batch, or this process's parts: see `training.TrainingTask`."""
    outputs = model(*batch.images())
    weights = OUTPUT_WEIGHTS[-len(outputs) :]

    def loss_of(disparity: Tensor) -> Tensor:
        return disparity_loss(
            disparity, batch.target, settings.loss, batch.camera_constant, settings.smooth, settings.max_disparity
        )

    valid = (batch.target > 0) & (batch.target < settings.max_disparity)
    part = shard_weight(valid.sum())
    terms = {}
    for number, (weight, output) in enumerate(zip(weights, outputs, strict=True), start=1):
        individual = torch.stack([loss_of(member) for member in output])
        objective = augmented_loss(individual, loss_of(output.mean(dim=0)), settings.beta)
        terms[f"output {number}"] = weight * objective * part
    return terms


def _initial_member(settings: EnsembleTraining, init: Path | None, seed: int) -> PSMNet:
    network = initial_network(settings, init, seed)
    if init is not None:
        own = initial_network(settings, None, seed).state_dict()
        network.load_state_dict({name: own[name] for name in own if name.startswith(_HEADS)}, strict=False)
    return network


def _seed_of(seed: int, member: int) -> int:
    return int(np.random.SeedSequence([seed, member]).generate_state(1)[0])
