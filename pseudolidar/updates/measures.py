"""Confusion matrices, accuracy, negative and positive flips of labels against the truth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pseudolidar.files import InputError
from pseudolidar.systems import Flips

Labels = NDArray[np.integer]

_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """`values[i, k]` = P(the classifier predicts i | the label is k), (K, K).

    ValueError for another shape, a value outside [0, 1], a column whose sum is off 1 by more than 1e-6.
    """

    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.values, np.float64)
        if values.ndim != 2 or values.shape[0] != values.shape[1] or not values.size:
            raise ValueError(f"confusion matrix: found shape {values.shape}, expected (K, K)")
        inside = (values >= 0) & (values <= 1 + _TOLERANCE)  # false for NaN
        if not inside.all():
            row, column = np.argwhere(~inside)[0]
            found = f"{values[row, column]} in row {row}, column {column}"
            raise ValueError(f"confusion matrix: found {found}, expected probabilities")
        sums = values.sum(axis=0)
        column = int(np.abs(sums - 1).argmax())
        if abs(sums[column] - 1) > _TOLERANCE:
            raise ValueError(f"confusion matrix: found {sums[column]:.9g} as the sum of column {column}, expected 1")
        object.__setattr__(self, "values", values)

    @classmethod
    def estimate(
        cls, predicted: ArrayLike, labels: ArrayLike, classes: int, smoothing: float = 1.0, diagonal: bool = False
    ) -> "ConfusionMatrix":
        """Count on labelled items that the classifier was not trained on; `predicted`, `labels`: integers (n,).

        Args:
            smoothing: added to every count (Laplace); with 0, predictions never seen are taken to be impossible.
            diagonal: for many classes: only how often a label is recognised is estimated, between the two outcomes
                right and wrong, and the wrong predictions are spread evenly over the other classes (Träuble et al.).

        Raises:
            ValueError: other shapes, labels or settings; a class without items where nothing is smoothed.
        """
        if classes < 1:
            raise InputError(f"classes: found {classes}, expected 1 or more")
        if not 0 <= smoothing < np.inf:
            raise InputError(f"smoothing: found {smoothing}, expected 0 or more")
        given, true = integers("predicted", predicted), integers("labels", labels)
        require_classes("predicted", given, classes)
        require_classes("labels", true, classes)
        if len(given) != len(true):
            raise ValueError(f"predicted: found {len(given)} items, expected {len(true)}, as many as labels")
        given, true = given.astype(np.int64), true.astype(np.int64)
        seen = np.bincount(true, minlength=classes)
        if smoothing == 0 and not seen.all():
            label = int(seen.argmin())
            raise InputError(f"labels: found no item of label {label}, expected one of each, or a smoothing above 0")
        if not diagonal:
            counts = np.bincount(given * classes + true, minlength=classes**2).reshape(classes, classes) + smoothing
            return cls(counts / counts.sum(axis=0))
        if classes == 1:
            return cls(np.ones((1, 1)))
        right = (np.bincount(true[given == true], minlength=classes) + smoothing) / (seen + 2 * smoothing)
        values = np.tile((1 - right) / (classes - 1), (classes, 1))
        np.fill_diagonal(values, right)
        return cls(values)


def flips(before: Labels, after: Labels, truth: Labels) -> Flips:
    """Flips of labels (n,), -1 for none; an item's first label is no flip. For a step pass `truth[step.items]`."""
    _require_shape(truth, before=before, after=after)
    had_label = before >= 0
    return Flips(had_label & (before == truth), had_label & (after == truth))


def accuracy(labels: Labels, truth: Labels) -> float:
    """Fraction of the items (n,) whose label is true; no label (-1) counts as wrong; NaN without items."""
    _require_shape(truth, labels=labels)
    return float(np.mean((labels == truth) & (labels >= 0))) if len(truth) else float("nan")


def _require_shape(truth: Labels, **labels: Labels) -> None:
    for name, array in labels.items():
        if array.shape != truth.shape:
            raise ValueError(f"{name}: found shape {array.shape}, expected {truth.shape}, as truth")


def integers(name: str, values: ArrayLike) -> NDArray[np.integer]:
    """The values as an array (n,); ValueError, naming them, if they are not integers."""
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"{name}: found {array.dtype} {array.shape}, expected integers (n,)")
    return array


def require_classes(name: str, labels: Labels, classes: int) -> None:
    """ValueError, naming the labels, for one outside 0 to `classes` - 1."""
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        raise ValueError(f"{name}: found {labels[outside.argmax()]}, expected 0 to {classes - 1}")
