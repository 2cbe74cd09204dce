"""Small networks for pictures of digits, whose features others read, and how they are trained."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, pad

from pseudolidar.files import DivergenceError
from pseudolidar.training import adam

_AT_ONCE = 2048
_RESNET18_FEATURES = 512
_MOST_STEPS = 2000

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Schedule:
    """Adam, its learning rate divided by ten at the half and at three quarters of the epochs.

    `padding`: images are shifted by up to so many pixels in both directions, anew for each batch; black comes in.
    """

    epochs: int
    batch: int
    learning_rate: float
    padding: int = 0


@dataclass(frozen=True)
class Architecture:
    """A body, whose outputs are the features, and a head on them.

    Attributes:
        body: "convnet": twice a convolution, batch normalisation, pooling, ReLU, of `channels`, then fully connected
            layers of `neck` units; "linear": a linear function of the pixels, with as many features as the last of
            `neck`; or "resnet18", torchvision's, for colour.
        channels: of a convnet.
        head: units of the hidden layers between features and outputs.
    """

    body: Literal["convnet", "linear", "resnet18"]
    channels: tuple[int, int] = (0, 0)
    neck: tuple[int, ...] = ()
    head: tuple[int, ...] = ()


class DigitNetwork(nn.Module):
    """The network of an architecture for images (N, C, H, W) in 0 to 1; weights from PyTorch's global generator."""

    def __init__(self, architecture: Architecture, image: tuple[int, int, int], outputs: int) -> None:
        super().__init__()
        channels, height, width = image
        self.body: nn.Module
        if architecture.body == "resnet18":
            # A second to import, which other networks need not wait for.
            from torchvision.models import resnet18

            features = _RESNET18_FEATURES
            self.body = resnet18()
            self.body.fc = nn.Identity()
        elif architecture.body == "linear":
            features = architecture.neck[-1]
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, features))
        else:
            first, second = architecture.channels
            pooled = (second * (height // 4) * (width // 4), *architecture.neck)
            self.body = nn.Sequential(*_convolution(channels, first), *_convolution(first, second), nn.Flatten())
            self.body.extend(each for pair in pairwise(pooled) for each in (nn.Linear(*pair), nn.ReLU()))
            features = pooled[-1]
        self.repeated = 3 if architecture.body == "resnet18" and channels == 1 else 1
        self.head = perceptron(features, architecture.head, outputs)

    def features(self, images: Tensor) -> Tensor:
        """What the head is given, (N, F)."""
        features: Tensor = self.body(images.repeat(1, self.repeated, 1, 1))
        return features

    def forward(self, images: Tensor) -> Tensor:
        """What the head makes of the features: scores of K classes (N, K), as logits, or one number each (N, 1)."""
        outputs: Tensor = self.head(self.features(images))
        return outputs


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    kernel = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)
    return kernel, nn.BatchNorm2d(outputs), nn.MaxPool2d(2), nn.ReLU()


def perceptron(inputs: int, hidden: tuple[int, ...], outputs: int) -> nn.Sequential:
    """A multilayer perceptron with ReLU; without hidden layers it is linear."""
    widths = (inputs, *hidden, outputs)
    layers = [each for pair in pairwise(widths) for each in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def drawn(make: Callable[[], Network], seed: int) -> Network:
    """A network with initial weights of a seed, the global generator being as before afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def example_losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared error for targets that are numbers, cross-entropy for classes; both (N,)."""
    if targets.is_floating_point():
        return (outputs[:, 0] - targets).square()
    return cross_entropy(outputs, targets, reduction="none")


def congruence_losses(outputs: Tensor, old: Tensor, targets: Tensor) -> Tensor:
    """Kullback-Leibler divergence from old logits to the new ones, both (N, K), where the old ones are right; (N,).

    Focal distillation (Yan et al., CVPR 2021) with alpha 0 and beta 1, as `detectors.congruence`.
    """
    divergence = kl_div(outputs.log_softmax(1), old.log_softmax(1), reduction="none", log_target=True).sum(1)
    return torch.where(old.argmax(1) == targets, divergence, 0.0)


def train(network: nn.Module, inputs: Tensor, targets: Tensor, schedule: Schedule, seed: int) -> Tensor:
    """Train in place on inputs (N, ...) and targets (N,), all on the network's device; the seed draws the batches.

    Returns the mean over the epochs of each example's loss, (N,), as it was met: the hardest examples have the largest.

    Raises:
        DivergenceError: a loss that is not finite.
    """
    device = inputs.device
    random = torch.Generator().manual_seed(seed)
    optimizer = adam(network.parameters(), schedule.learning_rate, str(device))
    drops = [schedule.epochs // 2, 3 * schedule.epochs // 4]
    rate = torch.optim.lr_scheduler.MultiStepLR(optimizer, drops, gamma=0.1)
    met = torch.zeros(len(inputs), device=device)
    network.train()
    for _ in range(schedule.epochs):
        for part in torch.randperm(len(inputs), generator=random).to(device).split(schedule.batch):
            # Batch normalisation needs two.
            if len(part) < 2:
                continue
            losses = example_losses(network(_shifted(inputs[part], schedule.padding, random)), targets[part])
            met[part] += losses.detach()
            optimizer.zero_grad()
            losses.mean().backward()
            optimizer.step()
        rate.step()
    network.eval()
    if not met.isfinite().all():
        raise DivergenceError("training: found a loss that is not finite, expected numbers; lower the learning rate")
    return met / schedule.epochs


def fit(
    network: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    penalty: float,
    old: Tensor | None = None,
    congruence: float = 0.0,
) -> None:
    """Fit in place, float64, to inputs (N, ...) and targets (N,) of all examples at once, by L-BFGS until it stands.

    Minimised is the mean loss plus `penalty` times half of the weights' sum of squares, biases not counted. Of a linear
    network this has one minimum, which is found whatever the initial weights; of a perceptron, one near these. With
    logits (N, K) of an old network, the new one is held to them by their `congruence_losses`, times a weight.

    Raises:
        DivergenceError: a loss that is not finite.
    """
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    # The usual memory of 100 steps takes more time than it saves.
    optimizer = torch.optim.LBFGS(
        network.parameters(),
        max_iter=_MOST_STEPS,
        tolerance_grad=1e-6,
        tolerance_change=1e-7,
        history_size=30,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        optimizer.zero_grad()
        squares = torch.stack([weight.square().sum() for weight in weights]).sum()
        outputs = network(inputs)
        loss = example_losses(outputs, targets).mean() + penalty / 2 * squares
        if old is not None:
            loss = loss + congruence * congruence_losses(outputs, old, targets).mean()
        loss.backward()
        return loss

    optimizer.step(objective)
    if not objective().isfinite():
        raise DivergenceError("fitting: found a loss that is not finite, expected numbers; raise the penalty")


def _shifted(images: Tensor, padding: int, random: torch.Generator) -> Tensor:
    if not padding:
        return images
    down, right = torch.randint(2 * padding + 1, (2,), generator=random).tolist()
    height, width = images.shape[-2:]
    return pad(images, (padding,) * 4)[..., down : down + height, right : right + width]


def in_parts(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """A function of inputs (N, ...) without gradients, some at a time."""
    with torch.no_grad():
        return torch.cat([function(part) for part in inputs.split(_AT_ONCE)])
