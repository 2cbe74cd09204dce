"""Several members as one model: the decomposition of its loss, objectives to train it on, diagnostics of diversity."""

from pseudolidar.ensembles.decomposition import (
    Decomposition,
    cross_entropy_decomposition,
    squared_error_decomposition,
)
from pseudolidar.ensembles.diagnostics import (
    SquaredErrorTally,
    cross_entropy_codependence,
    cross_entropy_debiased_diversity,
)
from pseudolidar.ensembles.objective import augmented_loss

__all__ = [
    "Decomposition",
    "SquaredErrorTally",
    "augmented_loss",
    "cross_entropy_codependence",
    "cross_entropy_debiased_diversity",
    "cross_entropy_decomposition",
    "squared_error_decomposition",
]
