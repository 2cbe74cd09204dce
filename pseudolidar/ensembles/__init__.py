"""Several members as one model: the decomposition of its loss, objectives to train it on, diagnostics of diversity."""

from pseudolidar.ensembles.decomposition import (
    DiversityDecomposition,
    augmented_loss,
    cross_entropy_decomposition,
    squared_error_decomposition,
)
from pseudolidar.ensembles.diagnostics import SquaredErrorTally, bias_share, cross_entropy_codependence
from pseudolidar.ensembles.members import Ensemble
from pseudolidar.ensembles.psmnet_ensemble import TrainedEnsemble, trained_disparity
from pseudolidar.ensembles.training import EnsembleTraining, train_disparity

__all__ = [
    "DiversityDecomposition",
    "Ensemble",
    "EnsembleTraining",
    "SquaredErrorTally",
    "TrainedEnsemble",
    "augmented_loss",
    "bias_share",
    "cross_entropy_codependence",
    "cross_entropy_decomposition",
    "squared_error_decomposition",
    "train_disparity",
    "trained_disparity",
]
