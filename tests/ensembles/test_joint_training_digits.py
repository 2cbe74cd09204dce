"""Ensembles on digits: networks and objective against PyTorch's, what is measured, what is refused."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy, linear, mse_loss

from pseudolidar.ensembles.joint_training import DigitsEnsembles
from pseudolidar.ensembles.joint_training.digits import DigitNetworks, Loss, objective, train_digits
from pseudolidar.files import DivergenceError

SMALL = DigitsEnsembles(
    loss="cross-entropy",
    betas=(0, 1),
    seeds=2,
    members=3,
    hidden=8,
    training_images=60,
    epochs=6,
    batch=10,
    learning_rate=0.03,
    every=3,
)


def test_networks_side_by_side_are_networks_one_by_one() -> None:
    random = torch.Generator().manual_seed(0)
    networks, images = DigitNetworks(3, 5, random), torch.rand(7, 64, generator=random)
    together = networks(images)
    for member in range(3):
        hidden = linear(images, networks.first[member].T, networks.first_bias[member, 0]).relu()
        alone = linear(hidden, networks.last[member].T, networks.last_bias[member, 0])
        torch.testing.assert_close(together[member], alone)


def test_the_objectives_run_from_the_members_losses_to_the_ensembles() -> None:
    random = torch.Generator().manual_seed(1)
    outputs, labels = torch.randn(4, 9, 10, generator=random), torch.randint(10, (9,), generator=random)
    target = torch.eye(10)[labels]
    ends = {
        "cross-entropy": (
            torch.stack([cross_entropy(member, labels) for member in outputs]).mean(),
            -outputs.softmax(-1).mean(0).log()[torch.arange(9), labels].mean(),
        ),
        "squared error": (
            torch.stack([mse_loss(member, target) for member in outputs]).mean(),
            mse_loss(outputs.mean(0), target),
        ),
    }
    for loss, (alone, ensemble) in ends.items():
        for beta in (0.0, 0.3, 1.0):
            found = objective(loss, outputs, labels, beta)  # type: ignore[arg-type]
            torch.testing.assert_close(found, (1 - beta) * alone + beta * ensemble)


@pytest.mark.parametrize("loss", ["cross-entropy", "squared error"])
def test_what_is_measured_is_what_is_trained_on(loss: Loss) -> None:
    """One step on all images, so small that it leaves the weights, from which the loss can be computed again."""
    still = replace(SMALL, loss=loss, learning_rate=1e-30, epochs=1, every=1)
    first, last = train_digits(still, 0.0, 0).snapshots
    assert first.test.decomposition == last.test.decomposition
    images, labels = load_digits(return_X_y=True)
    random = torch.Generator().manual_seed(0)
    order = torch.randperm(len(images), generator=random)
    networks = DigitNetworks(still.members, still.hidden, random)
    for part, found in ((order[:60], last.train), (order[60:], last.test)):
        outputs = networks(torch.from_numpy(images).float()[part] / 16)
        for beta, wanted in ((0.0, found.decomposition.individual), (1.0, found.decomposition.ensemble)):
            loss_of_part = objective(loss, outputs, torch.from_numpy(labels)[part], beta).item()
            assert loss_of_part == pytest.approx(wanted, rel=1e-4)
        assert (found.codependence[0], found.codependence[-1]) == pytest.approx(
            (found.decomposition.individual, found.decomposition.ensemble)
        )


def test_a_seed_is_the_same_bytes_and_the_same_start_for_every_beta() -> None:
    first, again, joint = (train_digits(SMALL, beta, 3) for beta in (0.0, 0.0, 1.0))
    assert first == again
    assert [snapshot.step for snapshot in first.snapshots] == [0, 3, 6]
    assert first.snapshots[0] == joint.snapshots[0]
    assert first.snapshots[1] != joint.snapshots[1]
    assert first.end.train.decomposition.ensemble < 0.6 * first.snapshots[0].train.decomposition.ensemble
    assert train_digits(SMALL, 0.0, 4) != first


def test_a_training_that_leaves_the_numbers_says_so() -> None:
    with pytest.raises(DivergenceError, match="lower learning_rate"):
        train_digits(replace(SMALL, learning_rate=1e38), 0.0, 0)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("loss", "hinge", "loss: found hinge, expected cross-entropy or squared error"),
        ("seeds", 0, "seeds: found 0, expected 1 or more"),
        ("members", 1, "members: found 1, expected 2 to 16"),
        ("members", 17, "members: found 17, expected 2 to 16"),
        ("training_images", 1797, "training_images: found 1797, expected 1 to 1796"),
        ("learning_rate", 0, "learning_rate: found 0"),
        ("betas", (0, 2), "betas: found 2, expected 0 to 1"),
    ],
)
def test_settings_out_of_range(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **{name: value})
