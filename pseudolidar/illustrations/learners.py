"""Small models of the illustrations, upstream and downstream: how they are fitted, what they predict, their loss."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from pseudolidar.files import replacing, write_npy
from pseudolidar.illustrations.distributions import Examples
from pseudolidar.illustrations.optimal import (
    HalfPlane,
    best_boolean_function,
    best_conic,
    best_function,
    best_half_plane,
    quadratic_features,
    table_rows,
)
from pseudolidar.systems import Inputs, MeanLoss, Model, Step

Parameters = Mapping[str, NDArray[np.float64]]
"""Arrays by name that a learner keeps of its training."""


def percent_wrong(probability: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The expected 0-1 loss of each example, percent, of a classifier that says positive with `probability` (N,)."""
    return 100.0 * np.abs(probability - positive)


class Learner(ABC):
    """A way to learn from a known distribution: a base for frozen dataclasses whose attributes determine it.

    `trained`: whether there is anything to fit. `unit` is that of the test loss, empty for a pure number.
    """

    trained: ClassVar[bool] = True
    unit: ClassVar[str]

    @abstractmethod
    def fit(self, inputs: NDArray[np.float64], examples: Examples) -> Parameters:
        """Fit to inputs (N, K) of these examples."""

    @abstractmethod
    def predict(self, parameters: Parameters, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, L) for inputs (N, K): a point, or in one column the probability of positive."""

    @abstractmethod
    def losses(self, predictions: NDArray[np.float64], examples: Examples) -> NDArray[np.float64]:
        """The test loss of each example, (N,): squared error, or the expected 0-1 loss in percent."""


class Classifier(Learner):
    """Predicts positive or negative, or the probability of positive."""

    unit: ClassVar[str] = "% wrong"

    @override
    def losses(self, predictions: NDArray[np.float64], examples: Examples) -> NDArray[np.float64]:
        return percent_wrong(predictions[:, 0], examples.positive)


class Downstream(Classifier):
    """A classifier whose hypothesis set is known well enough to find the best in it."""

    @abstractmethod
    def best_in_set(self, inputs: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The predictions (N,) of w†_H: the classifier of the set with the fewest errors on these inputs."""


@dataclass(frozen=True)
class PointRegression(Learner):
    """Predicts a point by least squares on polynomials of x of a degree."""

    degree: int
    unit: ClassVar[str] = ""

    @override
    def fit(self, inputs: NDArray[np.float64], examples: Examples) -> Parameters:
        coefficients = np.linalg.lstsq(self._terms(inputs), examples.target, rcond=None)[0]
        return {"coefficients": np.asarray(coefficients, np.float64)}

    @override
    def predict(self, parameters: Parameters, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(self._terms(inputs) @ parameters["coefficients"])

    @override
    def losses(self, predictions: NDArray[np.float64], examples: Examples) -> NDArray[np.float64]:
        return np.asarray(((predictions - examples.target) ** 2).sum(axis=1))

    def _terms(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        powers = [(i, j) for i in range(self.degree + 1) for j in range(self.degree + 1 - i)]
        return np.stack([x[:, 0] ** i * x[:, 1] ** j for i, j in powers], axis=1)


@dataclass(frozen=True)
class GivenLine(HalfPlane, Classifier):
    """Calls one side of a given line positive; nothing is learnt."""

    trained: ClassVar[bool] = False

    @override
    def fit(self, inputs: NDArray[np.float64], examples: Examples) -> Parameters:
        return {}

    @override
    def predict(self, parameters: Parameters, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.contains(inputs)[:, None].astype(np.float64)


@dataclass(frozen=True)
class LinearClassifier(Downstream):
    """The line with the fewest errors, given as many examples as it takes."""

    @override
    def fit(self, inputs: NDArray[np.float64], examples: Examples) -> Parameters:
        line = best_half_plane(inputs, examples.positive)
        return {"normal": np.array(line.normal), "offset": np.array(line.offset)}

    @override
    def predict(self, parameters: Parameters, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        return (inputs @ parameters["normal"] > parameters["offset"])[:, None].astype(np.float64)

    @override
    def best_in_set(self, inputs: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return best_half_plane(inputs, positive).contains(inputs)


# Inputs times draws have to fit in memory.
_AT_ONCE = 256


@dataclass(frozen=True)
class QuadraticClassifier(Downstream):
    """A quadratic classifier from few labelled examples by ridge regression, fitted for every possible draw of them.

    `shown` examples are drawn without replacement, every draw equally likely; `ridge` is the weight of the squared
    coefficients except the constant.
    """

    shown: int = 6
    ridge: float = 0.01

    @override
    def fit(self, inputs: NDArray[np.float64], examples: Examples) -> Parameters:
        draws = np.array(list(combinations(range(len(inputs)), self.shown)))
        mean, deviation = inputs.mean(axis=0), inputs.std(axis=0)
        features = quadratic_features((inputs - mean) / deviation)[draws]
        classes = np.where(examples.positive, 1.0, -1.0)[draws]
        penalty = self.ridge * np.diag([0.0] + [1.0] * 5)
        normal_matrices = np.einsum("dki,dkj->dij", features, features) + penalty
        coefficients = np.linalg.solve(normal_matrices, np.einsum("dki,dk->di", features, classes)[..., None])[..., 0]
        return {"coefficients": coefficients, "mean": mean, "deviation": deviation, "draws": draws.astype(np.float64)}

    def values(self, parameters: Parameters, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """(draws, N): the value of each draw's classifier at the inputs; above 0 is positive."""
        features = quadratic_features((inputs - parameters["mean"]) / parameters["deviation"])
        return np.asarray(parameters["coefficients"] @ features.T)

    @override
    def predict(self, parameters: Parameters, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        # The fraction of the draws whose classifiers say positive.
        parts = np.array_split(inputs, -(-len(inputs) // _AT_ONCE))
        return np.concatenate([(self.values(parameters, part) > 0).mean(axis=0) for part in parts])[:, None]

    @override
    def best_in_set(self, inputs: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        scaled = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
        return np.asarray(quadratic_features(scaled) @ best_conic(scaled, positive) > 0)


@dataclass(frozen=True)
class TableClassifier(Downstream):
    """Sees K bits and predicts, for each of their 2^K values, the commoner class; positive for values never seen."""

    @override
    def fit(self, inputs: NDArray[np.float64], examples: Examples) -> Parameters:
        answers = np.ones(1 << inputs.shape[1])
        answers[table_rows(inputs > 0.5)] = best_function(inputs, examples.positive)
        return {"answers": answers}

    @override
    def predict(self, parameters: Parameters, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        return parameters["answers"][table_rows(inputs > 0.5)][:, None]

    @override
    def best_in_set(self, inputs: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return best_boolean_function(inputs > 0.5, positive)


@dataclass(frozen=True)
class LearnerModel(Model):
    """A learner as the model of a vertex; its input is x, or the parents' predictions side by side, ordered by name.

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
        """Fit the learner to the training examples; its parameters go to model.npz."""
        examples = Examples.read(inputs.data)
        parameters = self.learner.fit(seen(inputs, examples), examples)
        with replacing(folder / "model.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, **parameters)  # type: ignore[arg-type]

    def run_predict(self, inputs: Inputs, folder: Path) -> None:
        """The learner's answers for every example, in their order, go to predictions.npy."""
        predictions = self.learner.predict(read_parameters(inputs.model), seen(inputs, Examples.read(inputs.data)))
        write_npy(folder / "predictions.npy", predictions)

    def run_test(self, inputs: Inputs, folder: Path) -> None:
        """The test loss of each example goes to losses.npz, a `MeanLoss`."""
        assert inputs.predictions is not None
        examples = Examples.read(inputs.data)
        losses = self.learner.losses(read_predictions(inputs.predictions), examples)
        MeanLoss(examples.names(), losses, np.ones(len(losses)), self.learner.unit).save(folder / "losses.npz")

    @override
    def test_loss(self, inputs: Inputs) -> MeanLoss:
        assert inputs.tested is not None
        return MeanLoss.load(inputs.tested / "losses.npz")


def seen(inputs: Inputs, examples: Examples) -> NDArray[np.float64]:
    """The inputs of a vertex, (N, K)."""
    if not inputs.parents:
        return examples.x
    return np.concatenate([read_predictions(inputs.parents[name]) for name in sorted(inputs.parents)], axis=1)


def read_predictions(folder: Path) -> NDArray[np.float64]:
    """The predictions (N, L) in a model's folder."""
    return np.asarray(np.load(folder / "predictions.npy"))


def read_parameters(folder: Path | None) -> Parameters:
    """The parameters in a trained model's folder; empty for a model without training."""
    if folder is None:
        return {}
    with np.load(folder / "model.npz") as stored:
        return dict(stored)
