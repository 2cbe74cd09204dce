"""Stored predictions, updated when a new model arrives and only some items can be evaluated again.

After Träuble et al., "Backward-Compatible Prediction Updates" (NeurIPS 2021).
"""

from pseudolidar.updates.evidence import Calibration, Classifier, ConditionalConfusion, Discounted
from pseudolidar.updates.layout import StepRecord
from pseudolidar.updates.measures import ConfusionMatrix, accuracy, flips
from pseudolidar.updates.redo_log import UpdateStep
from pseudolidar.updates.rules import (
    CostRatio,
    FlipCosts,
    MajorityVote,
    MaxBelief,
    MaxBeliefMinEntropy,
    Never,
    Replace,
    Rule,
    rule_name,
)
from pseudolidar.updates.selection import Selection
from pseudolidar.updates.store import PredictionStore

__all__ = [
    "Calibration",
    "Classifier",
    "ConditionalConfusion",
    "ConfusionMatrix",
    "CostRatio",
    "Discounted",
    "FlipCosts",
    "MajorityVote",
    "MaxBelief",
    "MaxBeliefMinEntropy",
    "Never",
    "PredictionStore",
    "Replace",
    "Rule",
    "Selection",
    "StepRecord",
    "UpdateStep",
    "accuracy",
    "flips",
    "rule_name",
]
