"""Belief updates on the processor: numba kernels over the evaluated items, a thread each chunk of them."""

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kernels import cpu_kernel

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int16 = NDArray[np.int16]
Int64 = NDArray[np.int64]
UInt16 = NDArray[np.uint16]

MAX_BELIEF, MAX_BELIEF_MIN_ENTROPY, COST_RATIO, REPLACE, MAJORITY_VOTE, NEVER = range(6)

_SMALLEST_NORMAL = np.float32(np.finfo(np.float32).tiny)
_MOST = np.uint16(np.iinfo(np.uint16).max)


@cpu_kernel
def first_not_requested(requested: Int64, items: Int64, at: int) -> tuple[int, int]:
    """Where `items` first leaves the order of `requested[at:]`, -1 for nowhere; and where to go on there."""
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
    given: Int16,
    likelihood: Float64,
    rule: int,
    ratio: float,
    posterior: Float32,
    entropy: Float32,
    labels: Int16,
    evaluations: UInt16,
    votes: UInt16,
    new_posterior: Float32,
    new_entropy: Float32,
    before: Int16,
    after: Int16,
    new_evaluations: UInt16,
    new_votes: UInt16,
    chunk: int,
    chunks: int,
) -> int:
    """Rows of the evaluated items (B,) from those of all items, written to the arrays `new_*`, `before` and `after`.

    Args:
        likelihood: (K, K), the confusion matrix.
        rule, ratio: one of the numbers above; the ratio of COST_RATIO.
        votes: (N, K), or (0, K) where none are kept.
        new_votes: (B,), the votes for the given label.

    Returns:
        place of the first item in this chunk whose given label can't be; -1 if there is none.
    """
    classes = posterior.shape[1]
    belief = np.empty(classes, np.float64)
    for place in range(len(items) * chunk // chunks, len(items) * (chunk + 1) // chunks):
        item, label = items[place], given[place]
        # Relative to the likeliest class that is possible: the products cannot all underflow.
        largest = 0.0
        for k in range(classes):
            if posterior[item, k] > 0 and likelihood[label, k] > largest:
                largest = likelihood[label, k]
        if largest == 0:
            return place
        total = 0.0
        for k in range(classes):
            prior = np.float64(posterior[item, k])
            belief[k] = prior * (likelihood[label, k] / largest) if prior > 0 else 0.0
            total += belief[k]
        uncertainty = 0.0
        for k in range(classes):
            p = belief[k] / total
            if p > 0:
                uncertainty -= p * np.log(p)
            stored = np.float32(p)
            # Later evidence can bring back what is only unlikely.
            if stored < _SMALLEST_NORMAL and posterior[item, k] > 0 and likelihood[label, k] > 0:
                stored = _SMALLEST_NORMAL
            new_posterior[place, k] = stored
        new_entropy[place] = uncertainty
        before[place] = labels[item]
        new_evaluations[place] = min(evaluations[item], _MOST - 1) + 1
        if len(votes):
            new_votes[place] = min(votes[item, label], _MOST - 1) + 1
        if rule == REPLACE or (rule == NEVER and labels[item] < 0):
            after[place] = label
        elif rule == NEVER:
            after[place] = labels[item]
        elif rule == MAJORITY_VOTE:
            after[place] = _most_votes(votes[item], label, new_votes[place], labels[item])
        else:
            fell = new_entropy[place] < entropy[item]
            after[place] = _believed(new_posterior[place], labels[item], rule, ratio, fell)
    return -1


@cpu_kernel
def _believed(posterior: Float32, stored: int, rule: int, ratio: float, fell: bool) -> int:
    best = 0 if stored < 0 else stored
    for k in range(len(posterior)):
        if posterior[k] > posterior[best]:
            best = k
    if stored < 0:
        return best
    if rule == MAX_BELIEF_MIN_ENTROPY and not fell:
        return stored
    if rule == COST_RATIO and not np.float64(posterior[best]) > ratio * np.float64(posterior[stored]):
        return stored
    return best


@cpu_kernel
def _most_votes(votes: UInt16, label: int, votes_of_label: int, stored: int) -> int:
    best = 0 if stored < 0 else stored
    most = votes_of_label if best == label else votes[best]
    for k in range(len(votes)):
        count = votes_of_label if k == label else votes[k]
        if count > most:
            best, most = k, count
    return best


@cpu_kernel
def apply_rows(
    items: Int64,
    new_posterior: Float32,
    new_entropy: Float32,
    new_labels: Int16,
    new_evaluations: UInt16,
    posterior: Float32,
    entropy: Float32,
    labels: Int16,
    evaluations: UInt16,
    chunk: int,
    chunks: int,
) -> None:
    """Put rows of the items (B,) into the arrays of all items."""
    for place in range(len(items) * chunk // chunks, len(items) * (chunk + 1) // chunks):
        item = items[place]
        for k in range(posterior.shape[1]):
            posterior[item, k] = new_posterior[place, k]
        entropy[item] = new_entropy[place]
        labels[item] = new_labels[place]
        evaluations[item] = new_evaluations[place]


@cpu_kernel
def apply_votes(items: Int64, given: Int16, new_votes: UInt16, votes: UInt16, chunk: int, chunks: int) -> None:
    """Put votes for the given labels of the items (B,) into those of all items (N, K)."""
    for place in range(len(items) * chunk // chunks, len(items) * (chunk + 1) // chunks):
        votes[items[place], given[place]] = new_votes[place]
