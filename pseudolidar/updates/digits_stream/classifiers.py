"""Streams of classifiers of digits, in order of arrival: their predictions and confusion matrices."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_selection import VarianceThreshold
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from pseudolidar.updates import Calibration, Classifier, ConditionalConfusion, ConfusionMatrix, Discounted

CLASSES = 10
_SIDE = 8
_BRIGHTEST = 16.0
_FOLDS = 5
_SMOOTHINGS = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)

Evidence = Literal["independent", "conditional", "discounted", "soft", "soft, discounted"]
"""What a prediction says: a confusion matrix's row, as `evidence` has it, a calibrated probability, or two of them."""


@dataclass(frozen=True)
class Kind:
    """A family of classifiers: `make(seed)` is an unfitted pipeline or classifier of scikit-learn."""

    name: str
    short_name: str
    make: Callable[[int], Any]


def _ink_of_rows(images: NDArray[np.float64]) -> NDArray[np.float64]:
    return images.reshape(-1, _SIDE, _SIDE).sum(axis=2)


_TREE = Kind("decision tree, depth 5", "tree", lambda seed: DecisionTreeClassifier(max_depth=5, random_state=seed))
_COMPONENTS = Kind(
    "nearest centroid, three principal components", "components", lambda _: make_pipeline(PCA(3), NearestCentroid())
)
_ROWS = Kind(
    "naive Bayes, ink of each row", "rows", lambda _: make_pipeline(FunctionTransformer(_ink_of_rows), GaussianNB())
)
_BAYES = Kind("naive Bayes, pixels", "Bayes", lambda _: GaussianNB())
_DISCRIMINANT = Kind("linear discriminant analysis", "linear", lambda _: LinearDiscriminantAnalysis())
# The spread about a centroid is undefined for pixels that are blank in every image.
_CENTROID = Kind("nearest centroid", "centroid", lambda _: make_pipeline(VarianceThreshold(), NearestCentroid()))
_LOGISTIC = Kind("logistic regression", "logistic", lambda _: LogisticRegression(max_iter=1000))
_SVM = Kind("support vector machine, RBF", "SVM", lambda _: SVC())

# Chosen on parts of source halves: of all chains of five out of sixteen simple classifiers, with 2 to 10 points of
# accuracy from one to the next and a last one of 92 to 94 %, the one whose errors correlate least. Two streams were
# tried before it: the one below, and another like that.
DIVERSE = (_TREE, _COMPONENTS, _ROWS, _BAYES, _DISCRIMINANT)
"""Classifiers that err on different images, each a step better than the one before."""
# Chosen by accuracy on source halves alone.
ALIKE = (_TREE, _BAYES, _CENTROID, _LOGISTIC, _SVM)
"""Classifiers that mostly err on the same images, and a last one that is better than what all of them add up to."""


@dataclass(frozen=True, eq=False)
class DigitsStream:
    """T classifiers in the order of their arrival, on N target images.

    Attributes:
        truth: (N,), the digits; only for scores.
        predictions, logits: (T, N) and (T, N, K), by each classifier.
        labels: (n,), the digits of the labelled source half.
        held_out, held_out_logits: (T, n) and (T, n, K), cross-validated on it.
        confusions: estimated from those.
        source_accuracy: (T,), percent, cross-validated on the source half.
        error_correlation: of whether two classifiers are wrong, over all pairs, on the source half.
    """

    truth: NDArray[np.int16]
    predictions: NDArray[np.int16]
    logits: NDArray[np.float64]
    labels: NDArray[np.int64]
    held_out: NDArray[np.int64]
    held_out_logits: NDArray[np.float64]
    confusions: tuple[ConfusionMatrix, ...]
    source_accuracy: NDArray[np.float64]
    error_correlation: float

    @cached_property
    def classifiers(self) -> dict[Evidence, tuple[Classifier, ...]]:
        """What a prediction of each classifier says, estimated on the source half."""
        soft = [Calibration.estimate(logits, self.labels) for logits in self.held_out_logits]
        upto = range(1, len(soft) + 1)
        return {
            "independent": self.confusions,
            "conditional": self.conditional,
            "discounted": tuple(Discounted.estimate(self.confusions[:n], self.held_out[:n], self.labels) for n in upto),
            "soft": tuple(soft),
            "soft, discounted": tuple(
                Discounted.estimate(soft[:n], self.held_out_logits[:n], self.labels) for n in upto
            ),
        }

    @cached_property
    def conditional(self) -> tuple[ConditionalConfusion, ...]:
        """Pair tables of each classifier with those before it."""
        return tuple(self.conditional_after(step)[0] for step in range(len(self.confusions)))

    def conditional_after(self, steps: int) -> tuple[ConditionalConfusion, ...]:
        """Pair tables of each later classifier with those of the first steps."""
        return tuple(
            ConditionalConfusion.estimate(confusion, np.stack([*self.held_out[:steps], own]), self.labels)
            for confusion, own in zip(self.confusions[steps:], self.held_out[steps:], strict=True)
        )


def digits_stream(kinds: Sequence[Kind], seed: int) -> DigitsStream:
    """Fit classifiers on one half of scikit-learn's 1,797 digits (8 x 8 pixels), and apply them to the other.

    A confusion matrix comes from five-fold cross-validation on the source half: predictions on its own training images
    would make a classifier look better than it is. The seed decides the halves (stratified, the target half shuffled),
    the folds, and classifiers that draw.
    """
    images, digits = load_digits(return_X_y=True)
    source, target, source_digits, target_digits = train_test_split(
        images / _BRIGHTEST, digits, test_size=0.5, stratify=digits, random_state=seed
    )
    folds = list(StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(source, source_digits))
    items, steps = len(source_digits), len(kinds)
    held_out, held_out_logits = np.empty((steps, items), np.int64), np.empty((steps, items, CLASSES))
    predictions, logits, confusions = [], [], []
    for step, kind in enumerate(kinds):
        for training, left_out in folds:
            model = kind.make(seed).fit(source[training], source_digits[training])
            held_out[step, left_out] = model.predict(source[left_out])
            held_out_logits[step, left_out] = _logits(model, source[left_out])
        smoothing = likeliest_smoothing(held_out[step], source_digits)
        confusions.append(ConfusionMatrix.estimate(held_out[step], source_digits, CLASSES, smoothing))
        model = kind.make(seed).fit(source, source_digits)
        predictions.append(model.predict(target).astype(np.int16))
        logits.append(_logits(model, target))
    pairs, wrong = np.triu_indices(steps, 1), held_out != source_digits
    return DigitsStream(
        truth=target_digits.astype(np.int16),
        predictions=np.stack(predictions),
        logits=np.stack(logits),
        labels=source_digits,
        held_out=held_out,
        held_out_logits=held_out_logits,
        confusions=tuple(confusions),
        source_accuracy=100.0 * (1.0 - wrong.mean(axis=1)),
        error_correlation=float(np.corrcoef(wrong)[pairs].mean()),
    )


def _logits(model: Any, images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores (n, K) that are the likelier the higher, as near to logarithms of probabilities as the model has them."""
    if hasattr(model, "decision_function"):
        return np.asarray(model.decision_function(images))
    if hasattr(model, "steps") and isinstance(model[-1], NearestCentroid):
        # Of a Gaussian about each centroid; its spread is the calibration's to find.
        return -0.5 * pairwise_distances(model[:-1].transform(images), model[-1].centroids_) ** 2
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(model.predict_proba(images)))


def likeliest_smoothing(predicted: NDArray[np.integer], labels: NDArray[np.integer]) -> float:
    """The Laplace smoothing of a confusion matrix under which left-out items are likeliest.

    Each item (n,) in turn is left out of the counts and predicted from the others. With some ninety source images for
    each label, adding 1 to every cell would make 98 % right look like 89 %.
    """
    counts = np.zeros((CLASSES, CLASSES))
    np.add.at(counts, (predicted, labels), 1)
    predicted, label = np.nonzero(counts)
    seen, others = counts[predicted, label], counts.sum(axis=0)[label] - 1

    def log_likelihood(smoothing: float) -> float:
        return float(seen @ np.log((seen - 1 + smoothing) / (others + CLASSES * smoothing)))

    return max(_SMOOTHINGS, key=log_likelihood)
