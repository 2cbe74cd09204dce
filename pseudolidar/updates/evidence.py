"""What a prediction says of an item's class, past what Träuble et al. suppose (section 4 there names what that is).

A confusion matrix takes hard labels, and classifiers that err independently given the label. Fitted on labelled items
that every classifier so far has predicted, with nothing to set: what a classifier says may depend on what was said of
the item before (`ConditionalConfusion`), what is believed already may count for less (`Discounted`), and predictions
may be soft (`Calibration`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pseudolidar.updates.measures import ConfusionMatrix, Labels, integers, require_classes

_CONCENTRATIONS = 2.0 ** np.arange(-4, 13)
_DISCOUNTS = np.linspace(0, 1, 21)
_TEMPERATURES = 2.0 ** np.arange(-6, 6.125, 0.125)
_ROUNDS = 30
# For relations that the labelled items hardly show: half an item more, where half of one is expected.
_HALF = 0.5
_TINY = np.finfo(np.float64).tiny


class Evidence(NamedTuple):
    """Of B items: each has a row of `likelihood` (R, K), and its earlier belief counts to the power of its `weight`.

    `row` (B,), indices of rows; `weight` (B,), 0 to 1.
    """

    likelihood: NDArray[np.float64]
    row: NDArray[np.int64]
    weight: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ConditionalConfusion:
    """How a classifier errs given what the one before it said of the item; K^3 numbers a step.

    Attributes:
        tables: (1 + S K, K, K) for S finished steps: `tables[0, i, k]` = P(the classifier predicts i | the label is k)
            where nothing was said before, `tables[1 + s K + j, i, k]` that where the last evaluation, in step s, was j.
    """

    tables: NDArray[np.float64]

    def __post_init__(self) -> None:
        tables = np.ascontiguousarray(self.tables, np.float64)
        if tables.ndim != 3 or not tables.size or (len(tables) - 1) % tables.shape[2]:
            raise ValueError(f"tables: found shape {tables.shape}, expected (1 + S K, K, K)")
        for table in tables:
            ConfusionMatrix(table)
        object.__setattr__(self, "tables", tables)

    @classmethod
    def estimate(
        cls, confusion: ConfusionMatrix, predictions: NDArray[np.integer], labels: Labels
    ) -> "ConditionalConfusion":
        """Count on labelled items that no classifier was trained on.

        Most cells of K^3 are never seen. So each column is shrunk (a Dirichlet prior whose concentration makes left-out
        items likeliest) towards independence times six factors: how much more often than an independent classifier this
        one is right, repeats the other's mistake, or makes another one, where the other was right, and where it wasn't.

        Args:
            confusion: of the classifier by itself.
            predictions: (S + 1, n), of the classifiers of the S steps in their order, and, last, of this one.
            labels: (n,).

        Raises:
            ValueError: other shapes, labels outside 0 .. K - 1.
        """
        classes = len(confusion.values)
        for each in (*predictions, labels):
            require_classes("labels", integers("labels", each), classes)
            if len(each) != len(labels):
                raise ValueError(f"predictions: found {len(each)} items, expected {len(labels)}, as many as labels")
        pairs = (_pair_table(confusion.values, before, predictions[-1], labels) for before in predictions[:-1])
        return cls(np.concatenate([confusion.values[None], *pairs]))


@dataclass(frozen=True, eq=False)
class Calibration:
    """Soft labels: a classifier's logits (B, K) as probabilities that are right as often as they say.

    The likelihood of class k is that of softmax(logits / temperature), at least `least`, over `prior`.

    Attributes:
        temperature: above 0 (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017).
        least: the smallest probability of a class, 0 to 1 / K.
        prior: (K,), frequencies of the labels that the classifier was trained for, above 0.
    """

    temperature: float
    least: float
    prior: NDArray[np.float64]

    def __post_init__(self) -> None:
        prior = np.asarray(self.prior, np.float64)
        if prior.ndim != 1 or not (prior > 0).all() or abs(prior.sum() - 1) > 1e-6:
            raise ValueError(f"prior: found {prior}, expected probabilities above 0")
        if not (0 < self.temperature < np.inf and 0 <= self.least <= 1 / len(prior)):
            found = f"temperature {self.temperature}, least {self.least}"
            raise ValueError(f"calibration: found {found}, expected above 0, and 0 to 1/{len(prior)}")
        object.__setattr__(self, "prior", prior)

    @classmethod
    def estimate(cls, logits: ArrayLike, labels: Labels) -> "Calibration":
        """The likeliest temperature, in steps of an eighth of a factor of 2, on items that it was not trained on.

        No class falls below 1 / (n + K): so few items can't tell less from nothing.

        Args:
            logits: (n, K), logarithms of probabilities up to a constant, -inf for the impossible.
            labels: (n,).

        Raises:
            ValueError: other shapes, labels outside 0 .. K - 1.
        """
        values = _logits(logits)
        items, classes = values.shape
        require_classes("labels", integers("labels", labels), classes)
        if len(labels) != items:
            raise ValueError(f"logits: found {items} items, expected {len(labels)}, as many as labels")
        prior = (np.bincount(labels, minlength=classes) + 1) / (items + classes)

        def log_likelihood(temperature: float) -> float:
            likelihood = cls(temperature, 1 / (items + classes), prior).likelihood(values)
            return _log_likelihood(np.log(likelihood * prior), labels)

        return cls(float(max(_TEMPERATURES, key=log_likelihood)), 1 / (items + classes), prior)

    def likelihood(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Of each class, (B, K), up to a factor of each item."""
        values = np.asarray(logits, np.float64)
        probability = np.exp((values - values.max(axis=1, keepdims=True)) / self.temperature)
        probability /= probability.sum(axis=1, keepdims=True)
        return np.maximum(probability, self.least) / self.prior


@dataclass(frozen=True, eq=False)
class Discounted:
    """A classifier, and how much of what is believed already counts beside what it says.

    Classifiers that err alike say the same thing twice. An item's posterior becomes proportional to its likelihood
    times posterior(k)^discount, a power prior (Ibrahim and Chen, "Power Prior Distributions for Regression Models",
    Statistical Science 2000).

    Attributes:
        classifier: by itself.
        discount: (S,), 0 to 1: for each finished step that of items whose last evaluation was in it.
    """

    classifier: ConfusionMatrix | Calibration
    discount: NDArray[np.float64]

    def __post_init__(self) -> None:
        discount = np.asarray(self.discount, np.float64)
        if discount.ndim != 1 or not ((discount >= 0) & (discount <= 1)).all():
            raise ValueError(f"discount: found {discount}, expected one of 0 to 1 a step")
        object.__setattr__(self, "discount", discount)

    @classmethod
    def estimate(
        cls, classifiers: Sequence[ConfusionMatrix | Calibration], predictions: Iterable[NDArray[Any]], labels: Labels
    ) -> "Discounted":
        """The discounts, in twentieths, under which the labels of labelled items are likeliest.

        For each step the items count as evaluated in all steps up to it.

        Args:
            classifiers: S + 1: of the S steps in their order, and, last, the new one.
            predictions: theirs, each (n,) labels or (n, K) logits, of items that none was trained on.
            labels: (n,).

        Raises:
            ValueError: other shapes, labels outside 0 .. K - 1.
        """
        beliefs: list[NDArray[np.float64]] = []
        discount: list[float] = []
        for classifier, given in zip(classifiers, predictions, strict=True):
            predicted = checked_predictions(classifier, given, len(labels))
            likelihood, row, _ = evidence_of(classifier, predicted, None)
            new = np.log(np.maximum(likelihood, _TINY))[row]
            discount = [_likeliest_discount(belief, new, labels) for belief in beliefs]
            beliefs.append(_normalised(discount[-1] * beliefs[-1] + new) if beliefs else _normalised(new))
        return cls(classifiers[-1], np.array(discount))


Classifier: TypeAlias = ConfusionMatrix | ConditionalConfusion | Calibration | Discounted


def shape_of(classifier: Classifier) -> tuple[int, int | None]:
    """K, and the number of steps before the classifier, None where they do not matter to it."""
    match classifier:
        case ConfusionMatrix(values):
            return len(values), None
        case ConditionalConfusion(tables):
            return tables.shape[2], (len(tables) - 1) // tables.shape[2]
        case Calibration():
            return len(classifier.prior), None
        case Discounted(alone, discount):
            return shape_of(alone)[0], len(discount)


def checked_predictions(classifier: Classifier, predictions: ArrayLike, items: int) -> NDArray[Any]:
    """Labels (B,), or logits (B, K) for what takes soft ones; ValueError for anything else, another B, other labels."""
    classes, _ = shape_of(classifier)
    soft = isinstance(classifier.classifier if isinstance(classifier, Discounted) else classifier, Calibration)
    predicted = _logits(predictions) if soft else integers("labels", predictions)
    if len(predicted) != items:
        raise ValueError(f"labels: found {len(predicted)}, expected {items}, one an item")
    if soft and predicted.shape[1] != classes:
        raise ValueError(f"logits: found K = {predicted.shape[1]}, expected {classes}")
    return predicted


def evidence_of(classifier: Classifier, predicted: NDArray[Any], last: NDArray[np.int32] | None) -> Evidence:
    """The evidence of labels (B,) or logits (B, K), of items whose `last` evaluation (B,) is its step times K + label.

    `last` is -1 where there was none, and is not looked at where steps do not matter.
    """
    match classifier:
        case ConfusionMatrix(values):
            return Evidence(values, predicted.astype(np.int64), np.ones(len(predicted)))
        case Calibration():
            return Evidence(classifier.likelihood(predicted), np.arange(len(predicted)), np.ones(len(predicted)))
    assert last is not None
    classes, _ = shape_of(classifier)
    match classifier:
        case ConditionalConfusion(tables):
            row = predicted + classes * (last.astype(np.int64) + 1)
            return Evidence(tables.reshape(-1, classes), row, np.ones(len(predicted)))
        case Discounted(alone, discount):
            # -1 // K is -1, which takes what was put behind: no evaluation before.
            return evidence_of(alone, predicted, None)._replace(weight=np.append(discount, 1.0)[last // classes])


def _pair_table(
    confusion: NDArray[np.float64], before: Labels, predicted: Labels, labels: Labels
) -> NDArray[np.float64]:
    """`table[j, i, k]`, (K, K, K)."""
    classes = len(confusion)
    counts = np.zeros((classes, classes, classes))
    np.add.at(counts, (before, predicted, labels), 1)
    seen = counts.sum(axis=1, keepdims=True)
    j, i, k = np.ogrid[:classes, :classes, :classes]
    # Right, the same mistake, another one: 0, 1, 2 after a mistake, 3, -, 5 after a right label.
    relation = np.where(i == k, 0, np.where(i == j, 1, 2)) + 3 * (j == k)
    factors, observed = np.ones(6), np.bincount(relation.ravel(), counts.ravel(), 6)
    for _ in range(_ROUNDS):
        mean = confusion * factors[relation]
        mean /= mean.sum(axis=1, keepdims=True)
        expected = np.bincount(relation.ravel(), (seen * mean).ravel(), 6)
        factors *= (observed + _HALF) / (expected + _HALF)
    j, i, k = counts.nonzero()

    def log_likelihood(concentration: float) -> float:
        """Of items that are left out, each in turn."""
        others, column = counts[j, i, k] - 1, seen[j, 0, k] - 1
        return float(counts[j, i, k] @ np.log((others + concentration * mean[j, i, k]) / (column + concentration)))

    concentration = max(_CONCENTRATIONS, key=log_likelihood)
    return (counts + concentration * mean) / (seen + concentration)


def _likeliest_discount(belief: NDArray[np.float64], evidence: NDArray[np.float64], labels: Labels) -> float:
    def log_likelihood(discount: float) -> float:
        return _log_likelihood(discount * belief + evidence, labels)

    return float(max(_DISCOUNTS, key=log_likelihood))


def _log_likelihood(logarithms: NDArray[np.float64], labels: Labels) -> float:
    return float(np.take_along_axis(_normalised(logarithms), labels[:, None].astype(np.int64), axis=1).sum())


def _normalised(logarithms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of probabilities (n, K) that sum to 1."""
    relative = logarithms - logarithms.max(axis=1, keepdims=True)
    return relative - np.log(np.exp(relative).sum(axis=1, keepdims=True))


def _logits(values: ArrayLike) -> NDArray[np.floating]:
    array = np.asarray(values)
    if array.ndim != 2 or array.dtype.kind != "f" or not array.shape[1]:
        raise ValueError(f"logits: found {array.dtype} {array.shape}, expected floating-point numbers (B, K)")
    largest = array.max(axis=1)
    if not np.isfinite(largest).all():
        place = int(np.isfinite(largest).argmin())
        raise ValueError(f"logits: found {array[place].tolist()} at place {place}, expected numbers, one above -inf")
    return array
