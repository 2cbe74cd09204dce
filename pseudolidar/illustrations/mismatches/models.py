"""The models of the four systems: networks on images, what reads their outputs, and what estimates error terms."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import one_hot
from typing_extensions import override

from pseudolidar.files import read_npy, write_npy
from pseudolidar.illustrations.mismatches.images import DigitImages
from pseudolidar.illustrations.mismatches.networks import (
    Architecture,
    DigitNetwork,
    Schedule,
    drawn,
    fit,
    in_parts,
    perceptron,
    train,
)
from pseudolidar.systems import Inputs, MeanLoss, Model, Step
from pseudolidar.training import load_plain, save_checkpoint

Passed = Literal["output", "features", "answer"]
"""What a network hands on: its outputs, its head's input, or which class it says, one-hot."""

PASSED_FILE, ANSWER_FILE = "passed.npy", "answers.npy"
_MODEL_FILE = "model.pt"
_FOLDS = 2


@dataclass(frozen=True)
class Question:
    """What a model is asked about a digit.

    Attributes:
        groups: which digits to tell from which others; those of no group are not shown.
        value: answer with the digit's value itself, by regression, instead of the group's number.
    """

    groups: tuple[tuple[int, ...], ...]
    value: bool = False

    def answers(self, digits: NDArray[np.int64]) -> NDArray[np.int64]:
        """The right answers (N,), -1 for digits that are not shown."""
        table = np.full(10, -1)
        for number, group in enumerate(self.groups):
            for digit in group:
                table[digit] = digit if self.value else number
        return np.asarray(table[digits])

    def name(self, answer: int) -> str:
        """A group's digits, for people."""
        group = self.groups[answer]
        if len(group) > 2 and group == tuple(range(group[0], group[-1] + 1)):
            return f"{group[0]} to {group[-1]}"
        return " or ".join(map(str, group))

    @property
    def outputs(self) -> int:
        """How many outputs the answer takes."""
        return 1 if self.value else len(self.groups)


@dataclass(frozen=True)
class TrainingData:
    """What an upstream model is shown of the training images.

    Attributes:
        fraction: of the images, in an order that the seed draws.
        clean: the first part of the training images, as a fraction, whose labels are right.
        swapped: pairs of digits: behind the clean part, half of the images of each pair have its other digit's label.
        hardest: fraction of the hardest images of these pairs, by a parent's judgement, that have it instead.
    """

    fraction: float = 1.0
    clean: float = 1.0
    swapped: tuple[tuple[int, int], ...] = ()
    hardest: float | None = None


class DigitModel(Model):
    """A model that answers a question about digits; its answers are tested, its versions are those of this code."""

    question: Question
    versions: ClassVar[Mapping[Step, int]] = {"train": 1, "predict": 1, "test": 1}

    @override
    def settings(self, step: Step) -> Mapping[str, Any]:
        return {"model": type(self).__name__, **{k: v for k, v in asdict(self).items() if k != "device"}}  # type: ignore[call-overload]

    def run_test(self, inputs: Inputs, folder: Path) -> None:
        """The test loss of each test image with a right answer: squared error, or 0 or 100 % wrong; a `MeanLoss`."""
        assert inputs.predictions is not None
        data = DigitImages.read(inputs.data)
        right = self.question.answers(data.digits)
        asked = np.flatnonzero(data.test & (right >= 0))
        found, right = read_answers(inputs.predictions)[asked], right[asked]
        value = self.question.value
        losses = (found - right) ** 2 if value else 100.0 * (found != right)
        names = tuple(f"{image:05d}" for image in asked)
        MeanLoss(names, losses, np.ones(len(losses)), "" if value else "% wrong").save(folder / "losses.npz")

    @override
    def test_loss(self, inputs: Inputs) -> MeanLoss:
        assert inputs.tested is not None
        return MeanLoss.load(inputs.tested / "losses.npz")


def read_answers(folder: Path) -> NDArray[np.float64]:
    """A model's answers to all N images, (N,): a value, or a group's number."""
    return read_npy(folder / ANSWER_FILE, "a model's answers").astype(np.float64)


@dataclass(frozen=True)
class Upstream(DigitModel):
    """A network on images. A parent, where there is one, says how hard they are."""

    question: Question
    architecture: Architecture
    schedule: Schedule
    data: TrainingData
    passed: Passed
    device: str

    def run_train(self, inputs: Inputs, folder: Path) -> None:
        """Train the network; its weights go to model.pt, the mean losses of the examples on the way to hardness.npy."""
        data = DigitImages.read(inputs.data)
        images, labels = self._shown(inputs, data)
        right = self.question.answers(labels)
        targets = torch.from_numpy(right).to(self.device)
        network = drawn(lambda: self._network(data), inputs.seed).to(self.device)
        if self.question.value:
            # A network that starts at 0 takes long to find even the mean of 1 to 9.
            last = network.head[-1]
            assert isinstance(last, nn.Linear)
            nn.init.constant_(last.bias, float(right.mean()))
            targets = targets.float()
        met = train(network, _pixels(data.images[images], self.device), targets, self.schedule, inputs.seed)
        hardness = np.zeros(len(data.images), np.float32)
        hardness[images] = met.cpu().numpy()
        write_npy(folder / "hardness.npy", hardness)
        save_checkpoint(folder / _MODEL_FILE, network.state_dict())

    def run_predict(self, inputs: Inputs, folder: Path) -> None:
        """Answers and what is handed on, of all images, go to answers.npy (N,) and passed.npy (N, F)."""
        assert inputs.model is not None
        data = DigitImages.read(inputs.data)
        network = self._network(data).to(self.device)
        network.load_state_dict(load_plain(inputs.model / _MODEL_FILE, "a network"))
        network.eval()
        pixels = _pixels(data.images, self.device)
        features = in_parts(network.features, pixels)
        outputs = in_parts(network.head, features)
        answers = outputs[:, 0] if self.question.value else outputs.argmax(1)
        one_of_all = one_hot(outputs.argmax(1), self.question.outputs).float()
        passed = {"output": outputs, "features": features, "answer": one_of_all}[self.passed]
        write_npy(folder / PASSED_FILE, passed.cpu().numpy())
        write_npy(folder / ANSWER_FILE, answers.cpu().numpy().astype(np.float32))

    def _network(self, data: DigitImages) -> DigitNetwork:
        channels, height, width = data.images.shape[1:]
        return DigitNetwork(self.architecture, (channels, height, width), self.question.outputs)

    def _shown(self, inputs: Inputs, data: DigitImages) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The training images, by number, and the digits that they are said to show."""
        labels, given = data.digits.copy(), self.data
        images = np.flatnonzero(~data.test & (self.question.answers(labels) >= 0))
        random = np.random.default_rng(inputs.seed)
        images = random.permutation(images)
        dirty = images[round(given.clean * len(images)) :]
        for pair in given.swapped:
            if given.hardest is None:
                of_pair = random.permutation(dirty[np.isin(labels[dirty], pair)])
                chosen = of_pair[: len(of_pair) // 2]
            else:
                (judge,) = inputs.parents.values()
                of_pair = images[np.isin(labels[images], pair)]
                hardness = read_npy(judge / PASSED_FILE, "how hard each image is")[of_pair, 0]
                chosen = of_pair[np.argsort(-hardness, kind="stable")[: round(given.hardest * len(of_pair))]]
            labels[chosen] = sum(pair) - labels[chosen]
        shown = images[: max(2, round(given.fraction * len(images)))]
        return shown, labels[shown]


# Far from all seeds that anybody counts up to.
_OTHER_SEEDS = 1_000_000


@dataclass(frozen=True)
class SecondTraining(Upstream):
    """The same network, trained with another seed."""

    @override
    def run_train(self, inputs: Inputs, folder: Path) -> None:
        super().run_train(replace(inputs, seed=inputs.seed + _OTHER_SEEDS), folder)


@dataclass(frozen=True)
class Judge(Upstream):
    """A network that says how hard a training image is: by its mean loss on it while it learns."""

    versions: ClassVar[Mapping[Step, int]] = {"train": 1, "predict": 1}

    def run_predict(self, inputs: Inputs, folder: Path) -> None:
        """How hard each image is, passed.npy (N, 1), 0 for those that it was not trained on."""
        assert inputs.model is not None
        write_npy(folder / PASSED_FILE, np.load(inputs.model / "hardness.npy")[:, None])


@dataclass(frozen=True)
class Downstream(DigitModel):
    """A classifier of what upstream models hand on: linear, or a perceptron, fitted until it stands.

    `penalty` is that of `fit`. With `all_data` it estimates the best of its kind: every half of the test images is
    answered by one that was fitted to the other half, too, besides all training images.
    """

    question: Question
    hidden: tuple[int, ...]
    penalty: float
    all_data: bool
    device: str

    def run_train(self, inputs: Inputs, folder: Path) -> None:
        """Fit; the inputs are scaled by mean and deviation over the training images; everything goes to model.pt."""
        data = DigitImages.read(inputs.data)
        right = self.question.answers(data.digits)
        versions = self._versions(inputs)
        models = []
        for fold in self._folds:
            shown = np.flatnonzero((right >= 0) & ~self._held_out(data, fold))
            values = torch.from_numpy(np.concatenate([given[shown] for given in versions])).double()
            mean, deviation = values.mean(0), values.std(0)
            # A feature that is the same for all images stays so.
            deviation[deviation == 0] = 1.0
            network = drawn(lambda: self._network(versions[0].shape[1]), inputs.seed).to(self.device)
            targets = torch.from_numpy(np.tile(right[shown], len(versions))).to(self.device)
            scaled = ((values - mean) / deviation).to(self.device)
            fit(network, scaled, targets, self.penalty, *self._held_to(inputs, shown))
            models.append({"network": network.state_dict(), "mean": mean, "deviation": deviation})
        save_checkpoint(folder / _MODEL_FILE, {"models": models})

    def run_predict(self, inputs: Inputs, folder: Path) -> None:
        """Answers to all images go to answers.npy (N,)."""
        assert inputs.model is not None
        data = DigitImages.read(inputs.data)
        given = seen(inputs.parents)
        answers = np.zeros(len(given), np.float32)
        for fold in self._folds:
            asked = np.flatnonzero(self._held_out(data, fold) | (~data.test & (fold == 0)))
            answers[asked] = self.outputs(inputs.model, given[asked], fold).argmax(1).cpu().numpy()
        write_npy(folder / ANSWER_FILE, answers)

    def outputs(self, folder: Path, given: NDArray[np.float32], fold: int = 0) -> Tensor:
        """The logits (N, K), on the device, of the model in a folder for inputs (N, F)."""
        model = load_plain(folder / _MODEL_FILE, "a classifier")["models"][fold]
        network = self._network(given.shape[1]).to(self.device)
        network.load_state_dict(model["network"])
        values = (torch.from_numpy(given).double() - model["mean"]) / model["deviation"]
        return in_parts(network, values.to(self.device))

    def _versions(self, inputs: Inputs) -> list[NDArray[np.float32]]:
        """What training sees of all images, (N, F) each."""
        return [seen(inputs.parents)]

    def _held_to(self, inputs: Inputs, shown: NDArray[np.int64]) -> tuple[Tensor, float] | tuple[()]:
        """Logits for the images shown that training is held to, and the weight."""
        return ()

    def _network(self, inputs: int) -> nn.Sequential:
        return perceptron(inputs, self.hidden, self.question.outputs).double()

    @property
    def _folds(self) -> range:
        return range(_FOLDS if self.all_data else 1)

    def _held_out(self, data: DigitImages, fold: int) -> NDArray[np.bool_]:
        return data.test & (np.arange(len(data.test)) % len(self._folds) == fold)


@dataclass(frozen=True)
class MixedDownstream(Downstream):
    """Trained on what both versions of its parent `replaced` hand on; the older one is the vertex `older`."""

    replaced: str
    older: str

    @override
    def _versions(self, inputs: Inputs) -> list[NDArray[np.float32]]:
        return [seen(parents) for parents in _both_versions(inputs, self.replaced, self.older)]


@dataclass(frozen=True)
class CongruentDownstream(Downstream):
    """Held to the classifier `downstream` on the older version of its parent `replaced`, the vertex `older`.

    `weight` is that of `congruence_losses`.
    """

    replaced: str
    older: str
    downstream: str
    weight: float

    @override
    def _versions(self, inputs: Inputs) -> list[NDArray[np.float32]]:
        return [seen(self._with_older(inputs)[0])]

    @override
    def _held_to(self, inputs: Inputs, shown: NDArray[np.int64]) -> tuple[Tensor, float]:
        given = seen(self._with_older(inputs)[1])[shown]
        return self.outputs(inputs.parents[self.downstream], given), self.weight

    def _with_older(self, inputs: Inputs) -> tuple[Mapping[str, Path], Mapping[str, Path]]:
        return _both_versions(inputs, self.replaced, self.older, self.downstream)


def _both_versions(
    inputs: Inputs, replaced: str, older: str, *others: str
) -> tuple[Mapping[str, Path], Mapping[str, Path]]:
    """A vertex' parents, and the same with the older version of one of them; `others` are none."""
    parents = {name: folder for name, folder in inputs.parents.items() if name not in (older, *others)}
    return parents, parents | {replaced: inputs.parents[older]}


@dataclass(frozen=True)
class CalibratedValue(Model):
    """Maps a parent's value to the mean right answer where it says so, by isotonic regression on training images."""

    question: Question
    versions: ClassVar[Mapping[Step, int]] = {"predict": 1}

    @override
    def settings(self, step: Step) -> Mapping[str, Any]:
        return {"model": type(self).__name__, "question": asdict(self.question)}

    def run_predict(self, inputs: Inputs, folder: Path) -> None:
        """The values of all images go to passed.npy (N, 1)."""
        # Slow to import.
        from sklearn.isotonic import IsotonicRegression

        data, said = DigitImages.read(inputs.data), seen(inputs.parents)[:, 0]
        right = self.question.answers(data.digits)
        shown = ~data.test & (right >= 0)
        fitted = IsotonicRegression(out_of_bounds="clip").fit(said[shown], right[shown])
        write_npy(folder / PASSED_FILE, fitted.predict(said)[:, None].astype(np.float32))


@dataclass(frozen=True)
class WhitenedFeatures(Model):
    """Turns a parent's features so that they are not correlated, each with deviation 1, on training images (ZCA).

    Directions with less than 1e-4 of the largest variance are left out: they are noise, blown up.
    """

    versions: ClassVar[Mapping[Step, int]] = {"predict": 1}

    @override
    def settings(self, step: Step) -> Mapping[str, Any]:
        return {"model": type(self).__name__}

    def run_predict(self, inputs: Inputs, folder: Path) -> None:
        """The features of all images go to passed.npy (N, F)."""
        data, features = DigitImages.read(inputs.data), seen(inputs.parents).astype(np.float64)
        shown = features[~data.test]
        variances, directions = np.linalg.eigh(np.cov(shown, rowvar=False))
        kept = variances > 1e-4 * variances[-1]
        matrix = directions[:, kept] / np.sqrt(variances[kept]) @ directions[:, kept].T
        write_npy(folder / PASSED_FILE, ((features - shown.mean(0)) @ matrix).astype(np.float32))


@dataclass(frozen=True)
class Nearest(DigitModel):
    """The commonest right answer among the images whose inputs are nearest, equally near ones included.

    It estimates the best function of its inputs, whatever its form: of an image's neighbours, all others, training and
    test images alike, are known, but not the image itself. Inputs are scaled by their deviation.
    """

    question: Question
    neighbours: int
    versions: ClassVar[Mapping[Step, int]] = {"predict": 1, "test": 1}

    def run_predict(self, inputs: Inputs, folder: Path) -> None:
        """Answers to all images go to answers.npy (N,)."""
        data = DigitImages.read(inputs.data)
        right = self.question.answers(data.digits)
        known, asked = np.flatnonzero(right >= 0), np.flatnonzero((right >= 0) & data.test)
        values = torch.from_numpy(seen(inputs.parents)).double()
        values = values / values.std(0).clamp_min(torch.finfo(torch.float64).tiny)
        votes = one_hot(torch.from_numpy(right[known]), self.question.outputs).double()
        answers = np.zeros(len(right), np.float32)
        for part in np.array_split(asked, -(-len(asked) // 256)):
            distances = torch.cdist(values[part], values[known])
            distances[torch.from_numpy(part[:, None] == known)] = torch.inf
            farthest = distances.kthvalue(min(self.neighbours, len(known) - 1), dim=1, keepdim=True).values
            answers[part] = ((distances <= farthest).double() @ votes).argmax(1).numpy()
        write_npy(folder / ANSWER_FILE, answers)


def seen(parents: Mapping[str, Path]) -> NDArray[np.float32]:
    """What the parents hand on, side by side, (N, F), from their folders."""
    return np.concatenate(
        [read_npy(parents[name] / PASSED_FILE, "a model's output") for name in sorted(parents)], axis=1
    )


def _pixels(images: NDArray[np.uint8], device: str) -> Tensor:
    """(N, C, H, W), 0 to 1."""
    return torch.from_numpy(images).to(device).float() / 255
