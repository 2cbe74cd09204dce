"""Small models of the illustrations, upstream and downstream: how they are fitted, what they answer, their loss."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from pseudolidar.files import replacing, write_npy
from pseudolidar.illustrations.distributions import Examples
from pseudolidar.illustrations.optimal import (
    best_boolean_function,
    best_conic,
    best_function,
    best_half_plane,
    quadratic_features,
)
from pseudolidar.systems import Inputs, MeanLoss, Model, Step

Parameters = Mapping[str, NDArray[np.float64]]
"""What a learner keeps of its training: arrays by name."""


class Learner(Protocol):
    """A way to learn from a known distribution: a frozen dataclass whose attributes determine what it does."""

    trained: ClassVar[bool]
    """Whether there is anything to fit."""
    unit: ClassVar[str]
    """Unit of the test loss; empty for a pure number."""

    def fit(self, inputs: NDArray[np.float64], examples: Examples) -> Parameters:
        """Learn from inputs (N, K) and what the examples say about them."""
        ...

    def predict(self, parameters: Parameters, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, L) for inputs (N, K): a point, or in one column the probability that it says positive."""
        ...

    def losses(self, predictions: NDArray[np.float64], examples: Examples) -> NDArray[np.float64]:
        """(N,) the test loss of each example."""
        ...


class Downstream(Learner, Protocol):
    """A learner whose hypothesis set is known well enough to find the best in it."""

    def best_in_set(self, inputs: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """What w†_H answers (N,): of all classifiers in the set the one with the fewest errors on these inputs."""
        ...


def percent_wrong(positive_share: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The expected 0-1 loss of each example, percent, of a classifier that says positive with a probability (N,)."""
    return 100.0 * np.abs(positive_share - positive)


class _Classifier:
    """What all classifiers share: their test loss."""

    trained: ClassVar[bool] = True
    unit: ClassVar[str] = "% wrong"

    def losses(self, predictions: NDArray[np.float64], examples: Examples) -> NDArray[np.float64]:
        """The expected 0-1 loss of each example (N,), percent."""
        return percent_wrong(predictions[:, 0], examples.positive)


@dataclass(frozen=True)
class PointRegression:
    """Predicts a point by least squares on polynomials of x.

    Attributes:
        degree: of the polynomials.
    """

    degree: int
    trained: ClassVar[bool] = True
    unit: ClassVar[str] = ""

    def fit(self, inputs: NDArray[np.float64], examples: Examples) -> Parameters:
        """Least-squares coefficients of the targets: `coefficients` (terms, 2)."""
        return {
            "coefficients": np.asarray(np.linalg.lstsq(self._terms(inputs), examples.target, rcond=None)[0], np.float64)
        }

    def predict(self, parameters: Parameters, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """The points (N, 2) that the polynomials give for inputs (N, 2)."""
        return np.asarray(self._terms(inputs) @ parameters["coefficients"])

    def losses(self, predictions: NDArray[np.float64], examples: Examples) -> NDArray[np.float64]:
        """Squared distance of each predicted point to its target, (N,)."""
        return np.asarray(((predictions - examples.target) ** 2).sum(axis=1))

    def _terms(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        powers = [(i, j) for i in range(self.degree + 1) for j in range(self.degree + 1 - i)]
        return np.stack([x[:, 0] ** i * x[:, 1] ** j for i, j in powers], axis=1)


@dataclass(frozen=True)
class Rule(_Classifier):
    """Calls one side of a given line positive; nothing is learnt.

    Attributes:
        normal: towards the positive side.
        offset: normal . p > offset is positive.
    """

    normal: tuple[float, float]
    offset: float
    trained: ClassVar[bool] = False

    def fit(self, inputs: NDArray[np.float64], examples: Examples) -> Parameters:
        """Empty: the line is given, and nothing is learnt."""
        return {}

    def predict(self, parameters: Parameters, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 1): 1.0 for inputs on the positive side of the line, else 0.0."""
        return (inputs @ np.array(self.normal) > self.offset)[:, None].astype(np.float64)


@dataclass(frozen=True)
class LinearClassifier(_Classifier):
    """The line with the fewest errors, given as many examples as it takes."""

    def fit(self, inputs: NDArray[np.float64], examples: Examples) -> Parameters:
        """The line's normal (2,) and offset ()."""
        line = best_half_plane(inputs, examples.positive)
        return {"normal": np.array(line.normal), "offset": np.array(line.offset)}

    def predict(self, parameters: Parameters, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 1): 1.0 for inputs on the positive side of the line, else 0.0."""
        return (inputs @ parameters["normal"] > parameters["offset"])[:, None].astype(np.float64)

    def best_in_set(self, inputs: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """What the line with the fewest errors on these inputs says, (N,); see `Downstream.best_in_set`."""
        return best_half_plane(inputs, positive).contains(inputs)


# Inputs times draws have to fit in memory.
_AT_ONCE = 256


@dataclass(frozen=True)
class QuadraticClassifier(_Classifier):
    """Sees few labelled examples and fits a quadratic classifier by ridge regression; all draws of them are fitted.

    Attributes:
        shown: labelled examples, drawn without replacement, every draw as likely.
        ridge: weight of the squared coefficients but the constant.
    """

    shown: int = 6
    ridge: float = 0.01

    def fit(self, inputs: NDArray[np.float64], examples: Examples) -> Parameters:
        """Coefficients (draws, 6) for inputs scaled by their mean and deviation (2,), and the draws (draws, shown)."""
        draws = np.array(list(combinations(range(len(inputs)), self.shown)))
        mean, deviation = inputs.mean(axis=0), inputs.std(axis=0)
        features = quadratic_features((inputs - mean) / deviation)[draws]
        classes = np.where(examples.positive, 1.0, -1.0)[draws]
        penalty = self.ridge * np.diag([0.0] + [1.0] * 5)
        normal_matrices = np.einsum("dki,dkj->dij", features, features) + penalty
        coefficients = np.linalg.solve(normal_matrices, np.einsum("dki,dk->di", features, classes)[..., None])[..., 0]
        return {"coefficients": coefficients, "mean": mean, "deviation": deviation, "draws": draws.astype(np.float64)}

    def values(self, parameters: Parameters, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """(draws, N): what each draw's classifier makes of inputs; above 0 is positive."""
        features = quadratic_features((inputs - parameters["mean"]) / parameters["deviation"])
        return np.asarray(parameters["coefficients"] @ features.T)

    def predict(self, parameters: Parameters, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 1): the share of the draws whose classifiers say positive."""
        parts = np.array_split(inputs, -(-len(inputs) // _AT_ONCE))
        return np.concatenate([(self.values(parameters, part) > 0).mean(axis=0) for part in parts])[:, None]

    def best_in_set(self, inputs: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """What the best conic says of these inputs, (N,); see `Downstream.best_in_set`."""
        scaled = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
        return np.asarray(quadratic_features(scaled) @ best_conic(scaled, positive) > 0)


@dataclass(frozen=True)
class TableClassifier(_Classifier):
    """Sees K bits and answers, for each of their 2^K values, the commoner class; positive for values never seen."""

    def fit(self, inputs: NDArray[np.float64], examples: Examples) -> Parameters:
        """The class, 0.0 or 1.0, for each value of the bits: `answers` (2^K,)."""
        rows = _row(inputs)
        answers = np.ones(1 << inputs.shape[1])
        answers[rows] = best_function(inputs, examples.positive)
        return {"answers": answers}

    def predict(self, parameters: Parameters, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 1): the table's answer to each input, 0.0 or 1.0."""
        return parameters["answers"][_row(inputs)][:, None]

    def best_in_set(self, inputs: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """What the best Boolean function says of the inputs' bits, (N,); see `Downstream.best_in_set`."""
        return best_boolean_function(inputs > 0.5, positive)


def _row(bits: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.asarray((bits > 0.5) @ (1 << np.arange(bits.shape[1])), np.int64)


@dataclass(frozen=True)
class LearnerModel(Model):
    """A learner as the model of a vertex: it sees x, or what its parents predict, side by side in the order of names.

    No seed changes it: the distributions are known, and expectations over draws are exact.
    """

    learner: Learner
    versions: ClassVar[Mapping[Step, int]] = {"train": 1, "predict": 1, "test": 1}

    @property
    @override
    def steps(self) -> tuple[Step, ...]:
        return ("train", "predict", "test") if self.learner.trained else ("predict", "test")

    @override
    def settings(self, step: Step) -> Mapping[str, Any]:
        return {"learner": type(self.learner).__name__, **vars(self.learner)}

    def run_train(self, inputs: Inputs, folder: Path) -> None:
        """Write model.npz."""
        examples = Examples.read(inputs.data)
        parameters = self.learner.fit(seen(inputs, examples), examples)
        with replacing(folder / "model.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, **parameters)  # type: ignore[arg-type]

    def run_predict(self, inputs: Inputs, folder: Path) -> None:
        """Write predictions.npy."""
        predictions = self.learner.predict(read_parameters(inputs.model), seen(inputs, Examples.read(inputs.data)))
        write_npy(folder / "predictions.npy", predictions)

    def run_test(self, inputs: Inputs, folder: Path) -> None:
        """Write losses.npz."""
        assert inputs.predictions is not None
        examples = Examples.read(inputs.data)
        losses = self.learner.losses(read_predictions(inputs.predictions), examples)
        MeanLoss(examples.names(), losses, np.ones(len(losses)), self.learner.unit).save(folder / "losses.npz")

    @override
    def test_loss(self, inputs: Inputs) -> MeanLoss:
        assert inputs.tested is not None
        return MeanLoss.load(inputs.tested / "losses.npz")


def seen(inputs: Inputs, examples: Examples) -> NDArray[np.float64]:
    """What a vertex is fed with, (N, K)."""
    if not inputs.parents:
        return examples.x
    return np.concatenate([read_predictions(inputs.parents[name]) for name in sorted(inputs.parents)], axis=1)


def read_predictions(folder: Path) -> NDArray[np.float64]:
    """What a model's "predict" left, (N, L)."""
    return np.asarray(np.load(folder / "predictions.npy"))


def read_parameters(folder: Path | None) -> Parameters:
    """What a model's "train" left; nothing for a model without training."""
    if folder is None:
        return {}
    with np.load(folder / "model.npz") as stored:
        return dict(stored)
