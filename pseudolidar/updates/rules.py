"""When a stored label gives way to a new belief: the rules of Träuble et al. (NeurIPS 2021), one more, and baselines.

The candidate of a rule is the label of highest posterior (of most votes for `MajorityVote`). Among equals it is the
stored label if that is one of them, else the lowest. An item without a stored label takes the candidate; under
`Replace` and `Never` it takes the new label.
"""

import math
from dataclasses import dataclass
from typing import TypeAlias

from pseudolidar.files import InputError


@dataclass(frozen=True)
class MaxBelief:
    """Always the label of highest posterior."""


@dataclass(frozen=True)
class MaxBeliefMinEntropy:
    """The label of highest posterior, but only if the new evaluation lowered the posterior's entropy."""


@dataclass(frozen=True)
class CostRatio:
    """Label l gives way to the label k of highest posterior only if p(k) / p(l) > ratio.

    `ratio` is |c_NF / c_PF|, the cost of a negative flip over the gain of a positive flip; up to 1 it is `MaxBelief`.
    """

    ratio: float

    def __post_init__(self) -> None:
        if not 0 < self.ratio < math.inf:
            raise InputError(f"ratio: found {self.ratio}, expected a positive number")


@dataclass(frozen=True)
class FlipCosts:
    """`CostRatio` where it also costs something to replace a wrong label by another wrong one (a neutral flip).

    Label l gives way to the label k of highest posterior only if p(k) > negative p(l) + neutral (1 - p(l) - p(k)): the
    expected gain of a positive flip is above the costs of a negative and of a neutral one. Both are in units of that
    gain; with `neutral` 0 it is `CostRatio`.
    """

    negative: float
    neutral: float

    def __post_init__(self) -> None:
        if not (0 < self.negative < math.inf and 0 <= self.neutral < math.inf):
            found = f"negative {self.negative}, neutral {self.neutral}"
            raise InputError(f"costs: found {found}, expected a positive number and 0 or more")


@dataclass(frozen=True)
class Replace:
    """The label is always that of the newest evaluation."""


@dataclass(frozen=True)
class MajorityVote:
    """The label that most evaluations of the item gave so far; the store must keep votes."""


@dataclass(frozen=True)
class Never:
    """A stored label never changes."""


# In the order of their numbers in `cpu`.
Rule: TypeAlias = MaxBelief | MaxBeliefMinEntropy | CostRatio | Replace | MajorityVote | Never | FlipCosts


def rule_name(rule: Rule) -> str:
    """Name of a rule in tables and figures, e.g. CostRatio 3."""
    if isinstance(rule, CostRatio):
        return f"CostRatio {rule.ratio:g}"
    if isinstance(rule, FlipCosts):
        return f"FlipCosts {rule.negative:g}, {rule.neutral:g}"
    baselines = {Replace: "replace", MajorityVote: "majority vote", Never: "never"}
    return baselines.get(type(rule), type(rule).__name__)
