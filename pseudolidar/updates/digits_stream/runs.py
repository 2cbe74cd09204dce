"""One policy on one stream: which items are evaluated at each step, and the labels stored after it."""

from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import InputError
from pseudolidar.updates import MajorityVote, PredictionStore, Rule
from pseudolidar.updates.digits_stream.classifiers import CLASSES, DigitsStream

Selection = Literal["entropy", "random"]

ARRIVAL_STEP = 2
"""The step at which a growing data set's second half arrives: with the third classifier."""


@dataclass(frozen=True)
class Policy:
    """How stored predictions are kept up to date.

    Attributes:
        rule: what becomes of an evaluated item's label.
        selection: which items are evaluated: those of the highest posterior entropy, or any.
        budget: share of the items that a step may evaluate, in (0, 1]; the first step evaluates all.
        growing: half of the items arrive only at `ARRIVAL_STEP`.

    Raises:
        InputError: a budget outside of (0, 1].
    """

    rule: Rule
    selection: Selection
    budget: float
    growing: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.budget <= 1.0:
            raise InputError(f"budget: found {self.budget}, expected a share of the items above 0 and at most 1")


@dataclass(frozen=True, eq=False)
class Run:
    """What a policy did with N items in T steps.

    Attributes:
        labels: int16 (T, N), stored after each step; -1 where there is none.
        evaluated: bool (T, N).
        present: int64 (T,), how many items, from the first on, there were at each step.
    """

    labels: NDArray[np.int16]
    evaluated: NDArray[np.bool_]
    present: NDArray[np.int64]


def run_policy(stream: DigitsStream, policy: Policy, seed: int) -> Run:
    """Play a stream through a store with a uniform prior; the seed decides what is drawn, and between equals."""
    steps, items = stream.predictions.shape
    labels = np.full((steps, items), -1, np.int16)
    evaluated = np.zeros((steps, items), np.bool_)
    present = np.full(steps, items)
    if policy.growing:
        present[:ARRIVAL_STEP] = items // 2
    keep_votes = isinstance(policy.rule, MajorityVote)
    with (
        TemporaryDirectory() as folder,
        PredictionStore.create(folder, int(present[0]), CLASSES, keep_votes=keep_votes) as store,
    ):
        request = store.request_uncertain if policy.selection == "entropy" else store.request_random
        for step, count in enumerate(present.tolist()):
            if count > store.items:
                store.add(count - store.items)
            budget = round(policy.budget * count) if step else count
            asked = request(budget, seed * steps + step)
            store.update(asked, stream.predictions[step, asked], stream.confusions[step], policy.rule)
            evaluated[step, asked] = True
            labels[step, :count] = store.labels
    return Run(labels, evaluated, present)
