"""Posteriors and stored labels on the CPU: numba kernels over the evaluated items, one chunk for each thread."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kernels import cpu_kernel

Int16 = NDArray[np.int16]
Int64 = NDArray[np.int64]
UInt16 = NDArray[np.uint16]

# In the order of `rules.Rule`.
MAX_BELIEF, MAX_BELIEF_MIN_ENTROPY, COST_RATIO, REPLACE, MAJORITY_VOTE, NEVER, FLIP_COSTS = range(7)

_SMALLEST_NORMAL = np.float32(np.finfo(np.float32).tiny)
_MOST = np.uint16(np.iinfo(np.uint16).max)


class Columns(NamedTuple):
    """The arrays of n items: of all N in a store, of the B evaluated ones in a step.

    `posterior` (n, K); `entropy` (n,), nats; the stored `labels` (n,), -1 for none yet; `evaluations` (n,), how often
    the item was evaluated; `votes` (N, K), or (B,) for the predicted label alone, and `last` (n,), the number of the
    last evaluation's step times K plus its label, -1 for none: of length 0 where not kept.
    """

    posterior: NDArray[np.float32]
    entropy: NDArray[np.float32]
    labels: Int16
    evaluations: UInt16
    votes: UInt16
    last: NDArray[np.int32]


@cpu_kernel
def first_not_requested(requested: Int64, items: Int64, at: int) -> tuple[int, int]:
    """Index where `items` first leaves the order of `requested[at:]` (-1: nowhere), and where to go on there."""
    for place in range(len(items)):
        while at < len(requested) and requested[at] < items[place]:
            at += 1
        if at == len(requested) or requested[at] != items[place]:
            return place, at
        at += 1
    return -1, at


@cpu_kernel
def new_rows(
    items: Int64,
    predicted: Int16,
    likelihood: NDArray[np.float64],
    row: Int64,
    weight: NDArray[np.float64],
    rule: int,
    negative: float,
    neutral: float,
    stored: Columns,
    new: Columns,
    before: Int16,
    chunk: int,
    chunks: int,
) -> int:
    """Fill `new` for the evaluated items (B,) from what is stored of all items, and `before` with their old labels.

    Returns the index of this chunk's first item whose evidence is impossible, or -1. The evidence of an item is its
    `row` (B,) of `likelihood` (R, K), times the earlier belief to the power of its `weight` (B,). `rule` is one of the
    numbers above, `negative` and `neutral` are the costs of COST_RATIO and FLIP_COSTS.
    """
    classes = stored.posterior.shape[1]
    belief = np.empty(classes, np.float64)
    for place in range(len(items) * chunk // chunks, len(items) * (chunk + 1) // chunks):
        item, label, evidence = items[place], predicted[place], likelihood[row[place]]
        # Relative to the likeliest class that is possible: the products cannot all underflow.
        largest = 0.0
        for k in range(classes):
            if stored.posterior[item, k] > 0 and evidence[k] > largest:
                largest = evidence[k]
        if largest == 0:
            return place
        total = 0.0
        for k in range(classes):
            prior = np.float64(stored.posterior[item, k])
            if weight[place] != 1 and prior > 0:
                prior = prior ** weight[place]
            belief[k] = prior * (evidence[k] / largest) if prior > 0 else 0.0
            total += belief[k]
        uncertainty = 0.0
        for k in range(classes):
            p = belief[k] / total
            if p > 0:
                uncertainty -= p * np.log(p)
            kept = np.float32(p)
            # Later evidence can bring back what is only unlikely.
            if kept < _SMALLEST_NORMAL and stored.posterior[item, k] > 0 and evidence[k] > 0:
                kept = _SMALLEST_NORMAL
            new.posterior[place, k] = kept
        new.entropy[place] = uncertainty
        before[place] = stored.labels[item]
        new.evaluations[place] = min(stored.evaluations[item], _MOST - 1) + 1
        if len(stored.votes):
            new.votes[place] = min(stored.votes[item, label], _MOST - 1) + 1
        old, believed = before[place], new.posterior[place]
        if rule == MAJORITY_VOTE:
            belief[:] = stored.votes[item]
            belief[label] = new.votes[place]
            candidate = _best(belief, old)
        else:
            candidate = _best(believed, old)
        if rule == REPLACE or (rule == NEVER and old < 0):
            new.labels[place] = label
        elif old >= 0 and (
            rule == NEVER
            or (rule == MAX_BELIEF_MIN_ENTROPY and not new.entropy[place] < stored.entropy[item])
            or (
                rule in (COST_RATIO, FLIP_COSTS)
                and not _is_worth_it(np.float64(believed[candidate]), np.float64(believed[old]), negative, neutral)
            )
        ):
            new.labels[place] = old
        else:
            new.labels[place] = candidate
    return -1


@cpu_kernel
def _is_worth_it(new: float, old: float, negative: float, neutral: float) -> bool:
    return new > negative * old + neutral * max(0.0, 1.0 - old - new)


@cpu_kernel
def _best(scores: NDArray[np.floating], stored: int) -> int:
    """The label of the highest score; among equals the stored one, else the lowest."""
    best = max(stored, 0)
    for k in range(len(scores)):
        if scores[k] > scores[best]:
            best = k
    return best


@cpu_kernel
def apply_rows(items: Int64, predicted: Int16, new: Columns, stored: Columns, chunk: int, chunks: int) -> None:
    """Put new rows of the items (B,) into the store; the votes, if kept, are for `predicted` (B,)."""
    for place in range(len(items) * chunk // chunks, len(items) * (chunk + 1) // chunks):
        item = items[place]
        for k in range(stored.posterior.shape[1]):
            stored.posterior[item, k] = new.posterior[place, k]
        stored.entropy[item] = new.entropy[place]
        stored.labels[item] = new.labels[place]
        stored.evaluations[item] = new.evaluations[place]
        if len(stored.votes):
            stored.votes[item, predicted[place]] = new.votes[place]
        if len(stored.last):
            stored.last[item] = new.last[place]


@cpu_kernel
def information_gains(
    posterior: NDArray[np.float32],
    last: NDArray[np.int32],
    tables: NDArray[np.float64],
    entropies: NDArray[np.float64],
    gains: NDArray[np.float32],
    chunk: int,
    chunks: int,
) -> None:
    """Fill `gains` (N,), nats: the mutual information of an item's class and of what a classifier would say of it.

    `tables` (1 + S K, K, K) are P(it says i | what was said before, the class is k): nothing, or the `last` evaluation;
    `entropies` (1 + S K, K) are those of the columns. An array `last` of length 0 stands for nothing.
    """
    classes = posterior.shape[1]
    for item in range(len(gains) * chunk // chunks, len(gains) * (chunk + 1) // chunks):
        context = last[item] + 1 if len(last) else 0
        gain = 0.0
        for k in range(classes):
            gain -= posterior[item, k] * entropies[context, k]
        for i in range(classes):
            p = 0.0
            for k in range(classes):
                p += tables[context, i, k] * posterior[item, k]
            if p > 0:
                gain -= p * np.log(p)
        # Never -0, whose bits would rank above all others.
        gains[item] = gain if gain > 0 else 0.0
