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
    best_function,
    best_half_plane,
    best_partner,
    best_polynomial,
    polynomial_features,
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
        """Fit to inputs (V, N, K) of these examples, by V versions of the models upstream; the first is the present."""

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
        coefficients = np.linalg.lstsq(self._terms(inputs[0]), examples.target, rcond=None)[0]
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


def _by_all(inputs: NDArray[np.float64], examples: Examples) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Inputs (V, N, K) by all versions one after the other, (V x N, K), and their classes."""
    return inputs.reshape(-1, inputs.shape[2]), np.tile(examples.positive, len(inputs))


@dataclass(frozen=True)
class LinearClassifier(Downstream):
    """The line with the fewest errors, given as many examples as it takes."""

    @override
    def fit(self, inputs: NDArray[np.float64], examples: Examples) -> Parameters:
        line = best_half_plane(*_by_all(inputs, examples))
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
class ConicClassifier(Downstream):
    """The conic section with the fewest errors, given as many examples as it takes."""

    @override
    def fit(self, inputs: NDArray[np.float64], examples: Examples) -> Parameters:
        points, positive = _by_all(inputs, examples)
        mean, deviation = points.mean(axis=0), points.std(axis=0)
        coefficients = best_polynomial((points - mean) / deviation, positive, 2)
        return {"coefficients": coefficients, "mean": mean, "deviation": deviation}

    @override
    def predict(self, parameters: Parameters, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        features = polynomial_features((inputs - parameters["mean"]) / parameters["deviation"], 2)
        return (features @ parameters["coefficients"] > 0)[:, None].astype(np.float64)

    @override
    def best_in_set(self, inputs: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        scaled = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
        return np.asarray(polynomial_features(scaled, 2) @ best_polynomial(scaled, positive, 2) > 0)


@dataclass(frozen=True)
class PolynomialClassifier(Downstream):
    """A polynomial classifier from few labelled examples by ridge regression, fitted for every possible draw of them.

    `shown` examples are drawn without replacement, every draw equally likely; of several versions of the models
    upstream, the outputs of all for the same examples are shown. `ridge` is the weight of the squared coefficients
    except the constant. `degree` 2: conic sections.
    """

    shown: int = 6
    ridge: float = 0.01
    degree: int = 2

    @override
    def fit(self, inputs: NDArray[np.float64], examples: Examples) -> Parameters:
        draws = np.array(list(combinations(range(inputs.shape[1]), self.shown)))
        points, _ = _by_all(inputs, examples)
        mean, deviation = points.mean(axis=0), points.std(axis=0)
        by_version = [polynomial_features((each - mean) / deviation, self.degree)[draws] for each in inputs]
        features = np.concatenate(by_version, axis=1)
        classes = np.tile(np.where(examples.positive, 1.0, -1.0)[draws], len(inputs))
        penalty = self.ridge * np.diag([0.0] + [1.0] * (features.shape[2] - 1))
        # A product of matrices where there are many draws: far faster than a sum over three indices.
        normal_matrices = features.transpose(0, 2, 1) @ features + penalty
        moments = features.transpose(0, 2, 1) @ classes[..., None]
        coefficients = np.linalg.solve(normal_matrices, moments)[..., 0]
        return {"coefficients": coefficients, "mean": mean, "deviation": deviation, "draws": draws.astype(np.float64)}

    def values(self, parameters: Parameters, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """(draws, N): the value of each draw's classifier at the inputs; above 0 is positive."""
        features = polynomial_features((inputs - parameters["mean"]) / parameters["deviation"], self.degree)
        return np.asarray(parameters["coefficients"] @ features.T)

    @override
    def predict(self, parameters: Parameters, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        # The fraction of the draws whose classifiers say positive.
        parts = np.array_split(inputs, -(-len(inputs) // _AT_ONCE))
        return np.concatenate([(self.values(parameters, part) > 0).mean(axis=0) for part in parts])[:, None]

    @override
    def best_in_set(self, inputs: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        scaled = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
        best = best_polynomial(scaled, positive, self.degree)
        return np.asarray(polynomial_features(scaled, self.degree) @ best > 0)


@dataclass(frozen=True)
class TableClassifier(Downstream):
    """Sees K bits and predicts, for each of their 2^K values, the commoner class; positive for values never seen."""

    @override
    def fit(self, inputs: NDArray[np.float64], examples: Examples) -> Parameters:
        bits, positive = _by_all(inputs, examples)
        answers = np.ones(1 << bits.shape[1])
        answers[table_rows(bits > 0.5)] = best_function(bits, positive)
        return {"answers": answers}

    @override
    def predict(self, parameters: Parameters, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        return parameters["answers"][table_rows(inputs > 0.5)][:, None]

    @override
    def best_in_set(self, inputs: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return best_boolean_function(inputs > 0.5, positive)


class OutputMap(Learner):
    """Maps an upstream model's outputs to others, which are tested as its own are, by squared error."""

    unit: ClassVar[str] = ""

    @override
    def losses(self, predictions: NDArray[np.float64], examples: Examples) -> NDArray[np.float64]:
        return np.asarray(((predictions - _truth(examples)) ** 2).sum(axis=1))


@dataclass(frozen=True)
class Calibration(OutputMap):
    """Each number to what is true on average where the model says it, by isotonic regression."""

    @override
    def fit(self, inputs: NDArray[np.float64], examples: Examples) -> Parameters:
        # Slow to import.
        from sklearn.isotonic import IsotonicRegression

        found: dict[str, NDArray[np.float64]] = {}
        for column, (said, true) in enumerate(zip(inputs[0].T, _truth(examples).T, strict=True)):
            fitted = IsotonicRegression().fit(said, true)
            found |= {f"said {column}": fitted.X_thresholds_, f"true {column}": fitted.y_thresholds_}
        return found

    @override
    def predict(self, parameters: Parameters, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        columns = enumerate(inputs.T)
        return np.stack([np.interp(c, parameters[f"said {k}"], parameters[f"true {k}"]) for k, c in columns], axis=1)


@dataclass(frozen=True)
class Whitening(OutputMap):
    """Points to mean 0 and covariance 1, turned as little as possible (ZCA)."""

    @override
    def fit(self, inputs: NDArray[np.float64], examples: Examples) -> Parameters:
        values, vectors = np.linalg.eigh(np.cov(inputs[0], rowvar=False, bias=True))
        return {"mean": inputs[0].mean(axis=0), "matrix": np.asarray(vectors / np.sqrt(values) @ vectors.T)}

    @override
    def predict(self, parameters: Parameters, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((inputs - parameters["mean"]) @ parameters["matrix"])


def _truth(examples: Examples) -> NDArray[np.float64]:
    """What upstream models are meant to say, (N, L): the points, or else the classes."""
    return examples.target if examples.target.size else examples.positive[:, None].astype(np.float64)


@dataclass(frozen=True)
class LearnerModel(Model):
    """A learner as the model of a vertex; its input is x, or the parents' predictions side by side, ordered by name.

    No seed changes it: the distributions are known, and expectations over draws are exact. `older`: of a vertex in
    `trained_on` that is an older version of its parent `older_of`, it sees the predictions in training as well.
    """

    learner: Learner
    older: str = ""
    older_of: str = ""
    versions: ClassVar[Mapping[Step, int]] = {"train": 1, "predict": 1, "test": 1}

    @property
    @override
    def steps(self) -> tuple[Step, ...]:
        return ("train", "predict", "test") if self.learner.trained else ("predict", "test")

    @override
    def settings(self, step: Step) -> Mapping[str, Any]:
        older = {"older": self.older, "older_of": self.older_of} if self.older and step == "train" else {}
        return {"learner": type(self.learner).__name__, **vars(self.learner), **older}

    def run_train(self, inputs: Inputs, folder: Path) -> None:
        """Fit the learner to the training examples; its parameters go to model.npz."""
        examples = Examples.read(inputs.data)
        versions = [{name: folder for name, folder in inputs.parents.items() if name != self.older}]
        if self.older:
            versions.append(versions[0] | {self.older_of: inputs.parents[self.older]})
        given = np.stack([seen(parents, examples) for parents in versions])
        self._save(folder, self.learner.fit(given, examples))

    def _save(self, folder: Path, parameters: Parameters) -> None:
        with replacing(folder / "model.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, **parameters)  # type: ignore[arg-type]

    def run_predict(self, inputs: Inputs, folder: Path) -> None:
        """The learner's answers for every example, in their order, go to predictions.npy."""
        predictions = self.learner.predict(
            read_parameters(inputs.model), seen(inputs.parents, Examples.read(inputs.data))
        )
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


@dataclass(frozen=True)
class PartnerModel(LearnerModel):
    """A linear classifier of x, trained for what w can make of its answers and those of the vertex in `trained_on`."""

    learner: Learner = LinearClassifier()

    @override
    def settings(self, step: Step) -> Mapping[str, Any]:
        return {"model": type(self).__name__, **super().settings(step)}

    @override
    def run_train(self, inputs: Inputs, folder: Path) -> None:
        (partner,) = inputs.parents.values()
        examples = Examples.read(inputs.data)
        line = best_partner(examples.x, read_predictions(partner)[:, 0] > 0.5, examples.positive)
        self._save(folder, {"normal": np.array(line.normal), "offset": np.array(line.offset)})


def seen(parents: Mapping[str, Path], examples: Examples) -> NDArray[np.float64]:
    """The inputs of a vertex, (N, K), from its parents' folders."""
    if not parents:
        return examples.x
    return np.concatenate([read_predictions(parents[name]) for name in sorted(parents)], axis=1)


def read_predictions(folder: Path) -> NDArray[np.float64]:
    """The predictions (N, L) in a model's folder."""
    return np.asarray(np.load(folder / "predictions.npy"))


def read_parameters(folder: Path | None) -> Parameters:
    """The parameters in a trained model's folder; empty for a model without training."""
    if folder is None:
        return {}
    with np.load(folder / "model.npz") as stored:
        return dict(stored)
