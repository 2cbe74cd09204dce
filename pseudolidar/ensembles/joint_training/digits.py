"""Ensembles of small networks on scikit-learn's digits, for many betas; each trains in seconds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import one_hot

from pseudolidar.ensembles import (
    SquaredErrorTally,
    augmented_loss,
    bias_share,
    cross_entropy_codependence,
    cross_entropy_decomposition,
)
from pseudolidar.ensembles.decomposition import log_mean_exp
from pseudolidar.ensembles.diagnostics import MOST_MEMBERS
from pseudolidar.ensembles.joint_training.experiments import Design, Measurement, Snapshot, Training, write_training
from pseudolidar.files import DivergenceError, InputError
from pseudolidar.systems import Stage

Loss = Literal["cross-entropy", "squared error"]

_PIXELS, _CLASSES, _IMAGES = 64, 10, 1797


@dataclass(frozen=True)
class DigitsEnsembles:
    """Ensembles of networks with one hidden layer, on few images, so that generalisation matters.

    InputError for a number out of its range.

    Attributes:
        loss: cross-entropy of averaged probabilities; or squared error of averaged outputs, with targets 1 for the
            image's digit and 0 for the others.
        betas: of the augmented objective, 0 among them.
        seeds: how many; each draws its own training images, initial weights and batches, the same for all betas.
        members: M; every subset is measured, so 16 at most.
        hidden: width of the hidden layer.
        training_images: the others of the 1797 are for testing.
        epochs, batch, learning_rate: of Adam; a fixed schedule without early stopping.
        every: epochs between two measurements.
    """

    loss: Loss
    betas: Sequence[float]
    seeds: int
    members: int
    hidden: int
    training_images: int
    epochs: int
    batch: int
    learning_rate: float
    every: int

    def __post_init__(self) -> None:
        if self.loss not in get_args(Loss):
            raise InputError(f"loss: found {self.loss}, expected {' or '.join(get_args(Loss))}")
        for name in ("seeds", "hidden", "epochs", "batch", "every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: found {getattr(self, name)}, expected 1 or more")
        if not 2 <= self.members <= MOST_MEMBERS:
            raise InputError(f"members: found {self.members}, expected 2 to {MOST_MEMBERS}")
        if not 0 < self.training_images < _IMAGES:
            raise InputError(f"training_images: found {self.training_images}, expected 1 to {_IMAGES - 1}")
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate: found {self.learning_rate}, expected more than 0")
        for beta in self.betas:
            if not 0 <= beta <= 1:
                raise InputError(f"betas: found {beta}, expected 0 to 1")

    def design(self) -> Design:
        """A stage for each beta and seed."""
        averaged = "probabilities" if self.loss == "cross-entropy" else "outputs (1 for the digit shown, else 0)"
        name = f"digits-{self.loss.replace(' ', '-')}"
        return Design(
            name=name,
            title=f"Digits, {self.loss}",
            setting=(
                f"{self.members} networks of one hidden layer ({self.hidden} units, ReLU) tell the digits of "
                f"scikit-learn's 8 x 8 images: {self.training_images} to train on, the other "
                f"{_IMAGES - self.training_images} to test on. Their {averaged} are averaged. Adam, learning rate "
                f"{self.learning_rate:g}, {self.epochs} epochs in batches of {self.batch}, no weight decay; the "
                "schedule is fixed and nothing is stopped early. A seed draws images, initial weights and batches, "
                "the same for every beta."
            ),
            compared=self.loss,
            unit="nats" if self.loss == "cross-entropy" else "",
            step="epochs",
            stages={
                (float(beta), seed): Stage(
                    f"{name}-beta{beta:g}-seed{seed}",
                    TrainDigits(self, float(beta), seed),
                    title=f"digits, {self.loss}, beta {beta:g}, seed {seed}",
                )
                for beta in self.betas
                for seed in range(self.seeds)
            },
        )


@dataclass(frozen=True)
class TrainDigits:
    """Trains one ensemble and writes its measurements."""

    ensembles: DigitsEnsembles
    beta: float
    seed: int
    version: ClassVar[int] = 2

    def settings(self) -> Mapping[str, Any]:
        """The experiment's settings, with only this ensemble's beta and seed."""
        shared = {name: value for name, value in asdict(self.ensembles).items() if name not in ("betas", "seeds")}
        return {**shared, "beta": self.beta, "seed": self.seed}

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        """Train the ensemble and write measurements.json."""
        write_training(folder, train_digits(self.ensembles, self.beta, self.seed))


class DigitNetworks(nn.Module):
    """M networks at once: images (N, 64) in, logits (M, N, 10) out.

    `random` draws the weights (He et al., ICCV 2015; half as large towards the logits).
    """

    def __init__(self, members: int, hidden: int, random: torch.Generator) -> None:
        super().__init__()

        def drawn(inputs: int, outputs: int, gain: float) -> nn.Parameter:
            bound = gain * math.sqrt(6 / inputs)
            return nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound, generator=random))

        self.first, self.first_bias = drawn(_PIXELS, hidden, 1.0), nn.Parameter(torch.zeros(members, 1, hidden))
        self.last, self.last_bias = drawn(hidden, _CLASSES, 0.5), nn.Parameter(torch.zeros(members, 1, _CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (M, N, 10) of every member for images (N, 64)."""
        inputs = images.expand(len(self.first), *images.shape)
        return torch.baddbmm(self.last_bias, torch.baddbmm(self.first_bias, inputs, self.first).relu(), self.last)


def train_digits(ensembles: DigitsEnsembles, beta: float, seed: int) -> Training:
    """Train and measure one ensemble; DivergenceError if its outputs become infinite or NaN."""
    random = torch.Generator().manual_seed(seed)
    digits = load_digits()
    images = torch.from_numpy(digits.data).float() / 16
    labels = torch.from_numpy(digits.target)
    train, test = torch.randperm(len(images), generator=random).tensor_split([ensembles.training_images])
    networks = DigitNetworks(ensembles.members, ensembles.hidden, random)
    optimizer = torch.optim.Adam(networks.parameters(), ensembles.learning_rate, fused=True)
    measured = _cross_entropy if ensembles.loss == "cross-entropy" else _squared_error
    snapshots = []
    for epoch in range(ensembles.epochs + 1):
        last = epoch == ensembles.epochs
        if last or epoch % ensembles.every == 0:
            with torch.no_grad():
                splits = [measured(_finite(networks(images[part])), labels[part], last) for part in (train, test)]
            snapshots.append(Snapshot(epoch, *splits))
        if last:
            break
        for part in train[torch.randperm(len(train), generator=random)].split(ensembles.batch):
            loss = objective(ensembles.loss, networks(images[part]), labels[part], beta)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return Training(ensembles.loss, tuple(snapshots))


def objective(loss: Loss, outputs: Tensor, labels: Tensor, beta: float) -> Tensor:
    """The augmented objective of outputs (M, N, 10), in their own precision."""
    if loss == "squared error":
        errors = outputs - one_hot(labels, _CLASSES)
        return augmented_loss(errors.square().mean((1, 2)), errors.mean(0).square().mean(), beta)
    index = labels.expand(len(outputs), -1)[..., None]
    log_likelihoods = outputs.log_softmax(-1).gather(-1, index)[..., 0]
    return augmented_loss(-log_likelihoods.mean(1), -log_mean_exp(log_likelihoods).mean(), beta)


def _finite(outputs: Tensor) -> Tensor:
    if not outputs.isfinite().all():
        raise DivergenceError("digits: found outputs that are not finite, expected numbers; lower learning_rate")
    return outputs


def _cross_entropy(logits: Tensor, labels: Tensor, codependence: bool) -> Measurement:
    return Measurement(
        cross_entropy_decomposition(logits, labels),
        bias_share(logits.double().softmax(-1)),
        cross_entropy_codependence(logits, labels) if codependence else (),
    )


def _squared_error(outputs: Tensor, labels: Tensor, codependence: bool) -> Measurement:
    tally = SquaredErrorTally(len(outputs))
    tally.add(outputs.flatten(1), one_hot(labels, _CLASSES).flatten())
    return Measurement(tally.decomposition(), bias_share(outputs), tally.codependence() if codependence else ())
