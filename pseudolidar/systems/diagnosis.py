"""Estimators that tell which term of the downstream error grew, each with its assumption.

The terms are those of "Fixes That Fail", section 3. None can be observed, as each is defined by the best possible
model; each estimate here speaks of its term under an assumption that goes with the evidence. With one training seed
nothing is decided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pseudolidar.statistics import NO_INTERVAL, Interval, percentile_interval
from pseudolidar.systems.learning_curve import (
    DRAWS,
    checked_losses,
    drawn_errors,
    drawn_means,
    learning_curve,
    widest_interval,
)
from pseudolidar.systems.losses import ItemLosses, resampled_losses
from pseudolidar.systems.verdicts import Change

Term = Literal["upstream", "downstream", "approximation", "estimation"]
"""A term of the error; downstream: approximation or estimation, or both."""

TERMS: tuple[Term, ...] = get_args(Term)


@dataclass(frozen=True)
class Evidence:
    """A finding, in a clause, about one term of the error.

    Attributes:
        supports: whether the term grew; None: undecided.
        interval: of the growth, in the unit of the loss.
        assumption: under which the finding speaks of the term.
    """

    term: Term
    finding: str
    supports: bool | None
    numbers: Mapping[str, float]
    interval: Interval
    assumption: str


def estimation_growth(
    sizes: Sequence[float], before: NDArray[np.float64], after: NDArray[np.float64], random: np.random.Generator
) -> Evidence:
    """Growth of the downstream estimation error from u to u', by the learning curves of the model behind them.

    `before` and `after` are (K, S) test losses of the downstream model on u and on u'; the rest as in `learning_curve`.
    """
    curves = [learning_curve(sizes, losses, random) for losses in (before, after)]
    here, there = (drawn_errors(curve.sizes, curve.losses, random) for curve in curves)
    interval = widest_interval(there - here)
    care = ""
    if len(sizes) == 2:
        care = " Two sizes: c is taken as 0.5, and the interval holds for every c in [0.3, 1] that both share."
    elif any(curve.at_the_edge for curve in curves):
        care = " Here c is at the end of its range: the loss may fall in another way, and the error be another."
    return _growth(
        "estimation",
        "the part of the loss that more training data would remove",
        {
            "before": curves[0].estimation_error,
            "after": curves[1].estimation_error,
            "exponent before": curves[0].exponent,
            "exponent after": curves[1].exponent,
        },
        interval,
        "The test loss falls with the number n of training examples as L + b n^-c, c between 0.3 and 1, beyond the "
        "sizes that were tried, too; the same training reaches the best model of its kind as n grows. On these test "
        "items; seeds are independent across sizes." + care,
        seeds=min(losses.shape[1] for losses in (before, after)),
    )


def capacity_growth(
    capacities: Sequence[float],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    own: int,
    random: np.random.Generator,
) -> Evidence:
    """Growth of the downstream approximation error from u to u', by models of more capacity.

    How far the loss falls from the model's own capacity to the largest is a lower bound of its approximation error,
    where the larger model's estimation error is no smaller.

    `before` and `after` are (K, S) test losses of the downstream model on u and on u' at K rising capacities, such as
    numbers of parameters; `own` is the index of the capacity in the system. ValueError if that is the largest, or as in
    `checked_losses`.
    """
    sides = (before, after)
    for losses in sides:
        checked_losses("capacities", capacities, losses)
    if not 0 <= own < len(capacities) - 1:
        raise ValueError(f"own: found {own}, expected an index with a larger capacity behind it")
    gaps = [float(losses[own].mean() - losses[-1].mean()) for losses in sides]
    drawn = [drawn_means(losses, random) for losses in sides]
    growth = (drawn[1][:, own] - drawn[1][:, -1]) - (drawn[0][:, own] - drawn[0][:, -1])
    return _growth(
        "approximation",
        "the fall of the loss from the model's own capacity to the largest tried",
        {
            "before": gaps[0],
            "after": gaps[1],
            "smallest to own before": float(sides[0][0].mean() - sides[0][own].mean()),
            "smallest to own after": float(sides[1][0].mean() - sides[1][own].mean()),
        },
        percentile_interval(growth),
        "A larger model fits no worse and estimates no better, so that the fall is a lower bound of the approximation "
        "error; it speaks of growth where what the largest model still lacks is the same on both inputs. On these test "
        "items.",
        seeds=min(losses.shape[1] for losses in sides),
    )


def intervention(full: Change, near_only: Change) -> Evidence:
    """The paper's intervention: is a rise of the loss cured by training on near examples alone?

    The two changes are compared with each other, for one that is significant beside one that is not is no difference
    (Gelman & Stern, The American Statistician 2006). Interval of the difference from theirs: Zou & Donner (Statistics
    in Medicine 2008), as if independent; they share test items and tend to move together, which makes it too wide
    rather than too narrow.

    `full` is the change of the downstream loss, trained on all examples; `near_only` the same, trained on near examples
    alone and tested on the same items.
    """
    difference = near_only.difference - full.difference
    a, b = full.interval, near_only.interval
    low = difference - np.hypot(near_only.difference - b.low, a.high - full.difference)
    high = difference + np.hypot(b.high - near_only.difference, full.difference - a.low)
    supports, reason = None, full.reason or near_only.reason
    if reason:
        finding = f"nothing can be said of near-only training, {reason}"
    elif full.word == "undecided":
        finding = "whether the loss rises, trained on all examples, is undecided, so there may be nothing to cure"
    elif full.word == "improved":
        finding = "trained on all examples the loss falls, so near-only training has nothing to cure"
    elif high < 0:
        supports = True
        cure = "rises less" if near_only.word == "worse" else "is not shown to rise"
        finding = f"the loss rises, trained on all examples, and with near-only training it {cure}"
    elif near_only.word == "worse":
        finding = "the loss rises also with near-only training: far examples are not shown to be any part of the cause"
    else:
        finding = "the loss rises, trained on all examples; whether less so with near-only training is undecided"
    return Evidence(
        "downstream",
        finding,
        supports,
        {"all examples": full.difference, "near only": near_only.difference},
        Interval(float(low), float(high)),
        "Near-only training changes nothing but what the downstream model learns from: its test input, and so the "
        "upstream error, is the same. It doesn't tell approximation from estimation, and it also leaves examples out.",
    )


@dataclass(frozen=True)
class OracleGap:
    """How far an update goes on the way from u to the oracle.

    `gap` is the loss on u - the loss on the oracle: all that a perfect input brings this downstream model. `fraction`,
    with its `interval`, is of the way that the update goes; negative: backwards. NaN where the gap's interval holds 0.
    """

    gap: float
    gap_interval: Interval
    fraction: float
    interval: Interval


def oracle_gap(
    before: Sequence[ItemLosses],
    after: Sequence[ItemLosses],
    oracle: Sequence[ItemLosses],
    random: np.random.Generator,
    trained: bool,
) -> OracleGap:
    """The oracle y as the end of the scale, with intervals over test items and training seeds.

    `before`, `after` and `oracle` are downstream test losses on u, u' and y, one for each training seed, all on the
    same items. If anything on the way is `trained`, one seed of u and u' gives no intervals and no fraction; the
    oracle may have one, whose chance is then not in the intervals.
    """
    sides = (before, after, oracle)
    by_seed = [np.array([loss.value() for loss in side]) for side in sides]
    u, new, y = (float(values.mean()) for values in by_seed)
    if trained and len(before) == 1:
        return OracleGap(u - y, NO_INTERVAL, float("nan"), NO_INTERVAL)
    drawn = resampled_losses(sides, random, DRAWS)
    if trained:
        for replicates, values in zip(drawn, by_seed, strict=True):
            if len(values) > 1:
                replicates += drawn_means(values[None], random)[:, 0] - values.mean()
    drawn = drawn[:, ~np.isnan(drawn).any(axis=0)]
    gap_interval = percentile_interval(drawn[0] - drawn[2])
    if not gap_interval.excludes_zero:
        return OracleGap(u - y, gap_interval, float("nan"), NO_INTERVAL)
    fraction = (drawn[0] - drawn[1]) / (drawn[0] - drawn[2])
    return OracleGap(u - y, gap_interval, (u - new) / (u - y), percentile_interval(fraction))


def conclude(evidence: Sequence[Evidence]) -> list[str]:
    """In words: the terms that grew, those that did not, those left open, and the limits of the evidence."""
    lines = []
    for term in TERMS:
        of_term = [one for one in evidence if one.term == term]
        for supports, says in (
            (True, f"The evidence supports that the {term} error grew"),
            (False, f"The evidence speaks against a growth of the {term} error"),
            (None, f"Whether the {term} error grew is left open"),
        ):
            findings = "; ".join(one.finding for one in of_term if one.supports is supports)
            if findings:
                lines.append(f"{says}: {findings}.")
        if {True, False} <= {one.supports for one in of_term}:
            lines.append(f"On the {term} error the evidence disagrees.")
    unseen = [term for term in TERMS if term != "downstream" and not any(one.term == term for one in evidence)]
    if unseen:
        lines.append(f"Nothing was measured that speaks of the {' or the '.join(unseen)} error.")
    if any(one.supports is not None for one in evidence):
        lines.append(
            "Each finding speaks of its term under its assumption alone; several terms may grow at once, and how much "
            "of the change is due to which is not shown."
        )
    return lines


def _growth(
    term: Term, what: str, numbers: Mapping[str, float], interval: Interval, assumption: str, seeds: int
) -> Evidence:
    supports = interval.low > 0 if interval.excludes_zero else None
    says = "is not shown to grow or shrink" if supports is None else "grows" if supports else "shrinks"
    finding = f"{what} {says} ({numbers['before']:.3g} before, {numbers['after']:.3g} after"
    finding += f", growth {interval.low:.3g} to {interval.high:.3g})" if seeds > 1 else ", one training seed)"
    return Evidence(term, finding, supports, numbers, interval, assumption)
