"""Machine-learning systems of any kind: graphs of models, stages and their artifacts, updates, verdicts, diagnosis."""

from pseudolidar.systems.flips import FATES, Fate, Flips
from pseudolidar.systems.losses import ItemLosses, MeanLoss, MeanOfLosses
from pseudolidar.systems.power import (
    MOST_ITEMS,
    MOST_SEEDS,
    ChangeNoise,
    items_to_decide,
    noise_of_change,
    seeds_to_decide,
    smallest_change,
    verdict_power,
)
from pseudolidar.systems.runner import RunResult, StageFailure, default_workers, make_stages
from pseudolidar.systems.sequential import look_confidence
from pseudolidar.systems.stages import ArtifactStore, Resources, Stage, Task, parents_first
from pseudolidar.systems.system import Inputs, Model, Step, System, Vertex
from pseudolidar.systems.verdicts import Change, UpdateVerdict, change

__all__ = [
    "FATES",
    "MOST_ITEMS",
    "MOST_SEEDS",
    "ArtifactStore",
    "Change",
    "ChangeNoise",
    "Fate",
    "Flips",
    "Inputs",
    "ItemLosses",
    "MeanLoss",
    "MeanOfLosses",
    "Model",
    "Resources",
    "RunResult",
    "Stage",
    "StageFailure",
    "Step",
    "System",
    "Task",
    "UpdateVerdict",
    "Vertex",
    "change",
    "default_workers",
    "items_to_decide",
    "look_confidence",
    "make_stages",
    "noise_of_change",
    "parents_first",
    "seeds_to_decide",
    "smallest_change",
    "verdict_power",
]
