"""Stored predictions, and what to do with them when a new model arrives and not everything can be evaluated again."""

from pseudolidar.updates.confusion import ConfusionMatrix
from pseudolidar.updates.journal import Step, StepRecord
from pseudolidar.updates.rules import CostRatio, MajorityVote, MaxBelief, MaxBeliefMinEntropy, Never, Replace, Rule
from pseudolidar.updates.scores import Flips, accuracy, flips
from pseudolidar.updates.store import PredictionStore

__all__ = [
    "ConfusionMatrix",
    "CostRatio",
    "Flips",
    "MajorityVote",
    "MaxBelief",
    "MaxBeliefMinEntropy",
    "Never",
    "PredictionStore",
    "Replace",
    "Rule",
    "Step",
    "StepRecord",
    "accuracy",
    "flips",
]
