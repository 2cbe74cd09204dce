"""What a classifier says of which label: its confusion matrix, given or estimated on labelled data."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pseudolidar.files import InputError

_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """How a classifier errs.

    Attributes:
        values: float64 (K, K); values[i, k] = P(the classifier says i | the label is k).

    Raises:
        ValueError: another shape, a value outside [0, 1], a column whose sum is off 1 by more than 1e-6.
    """

    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.values, np.float64)
        if values.ndim != 2 or values.shape[0] != values.shape[1] or not values.size:
            raise ValueError(f"confusion matrix: found shape {values.shape}, expected (K, K)")
        inside = (values >= 0) & (values <= 1 + _TOLERANCE)  # false for NaN
        if not inside.all():
            said, label = np.argwhere(~inside)[0]
            found = f"{values[said, label]} in row {said}, column {label}"
            raise ValueError(f"confusion matrix: found {found}, expected probabilities")
        sums = values.sum(axis=0)
        off = np.abs(sums - 1)
        if off.max() > _TOLERANCE:
            column = int(off.argmax())
            raise ValueError(f"confusion matrix: found {sums[column]:.9g} as the sum of column {column}, expected 1")
        object.__setattr__(self, "values", values)

    @classmethod
    def estimate(
        cls, predicted: ArrayLike, labels: ArrayLike, classes: int, smoothing: float = 1.0, diagonal: bool = False
    ) -> "ConfusionMatrix":
        """Count on labelled items that the classifier was not trained on.

        Args:
            predicted: integers (n,), what the classifier says.
            labels: integers (n,), what is true.
            classes: K.
            smoothing: added to every count (Laplace); with 0, what was never seen is held for impossible.
            diagonal: for many classes: only how often a label is recognised is estimated, between the two outcomes
                right and wrong, and the wrong answers are shared evenly among the other classes (Träuble et al. 2021).

        Raises:
            ValueError: other shapes, a label outside 0 .. K - 1, a negative smoothing, or a class without items where
                nothing is smoothed.
        """
        if classes < 1:
            raise InputError(f"classes: found {classes}, expected 1 or more")
        if not 0 <= smoothing < np.inf:
            raise InputError(f"smoothing: found {smoothing}, expected 0 or more")
        said, true = _checked("predicted", predicted, classes), _checked("labels", labels, classes)
        if len(said) != len(true):
            raise ValueError(f"predicted: found {len(said)} items, expected {len(true)}, as many as labels")
        seen = np.bincount(true, minlength=classes)
        if smoothing == 0 and not seen.all():
            label = int(seen.argmin())
            raise InputError(f"labels: found no item of label {label}, expected one of each, or a smoothing above 0")
        if not diagonal:
            counts = np.bincount(said * classes + true, minlength=classes**2).reshape(classes, classes) + smoothing
            return cls(counts / counts.sum(axis=0))
        if classes == 1:
            return cls(np.ones((1, 1)))
        right = (np.bincount(true[said == true], minlength=classes) + smoothing) / (seen + 2 * smoothing)
        values = np.tile((1 - right) / (classes - 1), (classes, 1))
        np.fill_diagonal(values, right)
        return cls(values)


def _checked(name: str, values: ArrayLike, classes: int) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"{name}: found {array.dtype} {array.shape}, expected integers (n,)")
    outside = (array < 0) | (array >= classes)
    if outside.any():
        raise ValueError(f"{name}: found {array[outside.argmax()]}, expected 0 to {classes - 1}")
    return array.astype(np.int64)
