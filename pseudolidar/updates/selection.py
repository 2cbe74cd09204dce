"""Which items to evaluate again: those of highest entropy, or random ones; exact, in a few passes over the entropies.

Items are ordered by a key of 96 bits: 32 of the entropy, highest first, then 64 that a hash makes of seed and index.
Two items never have the same hash, so the order is total. The last key that the budget takes is found 16 bits at a time
(radix select); a non-negative float orders like its bits.
"""

import operator
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kernels import cpu_kernel, in_chunks
from pseudolidar.updates import cpu

Selection = Literal["entropy", "information", "random"]
"""How items are chosen for evaluation: by highest entropy of the posterior, by expected information, or at random."""

Bits = NDArray[np.uint32]

# Items that are worth a thread.
_SMALLEST_CHUNK = 200_000
_ALL_64 = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
# SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (OOPSLA 2014).
_GOLDEN = np.uint64(0x9E37_79B9_7F4A_7C15)
_FIRST = np.uint64(0xBF58_476D_1CE4_E5B9)
_SECOND = np.uint64(0x94D0_49BB_1331_11EB)


def most_uncertain(entropy: NDArray[np.float32], seed: int, selected: NDArray[np.int64]) -> None:
    """Fill `selected` (B,), ascending, with the items of highest entropy (N,), none negative; ties by the hash."""
    bits = entropy.view(np.uint32).view()
    bits.flags.writeable = False
    _select(bits, len(bits), seed, selected)


def information_gains(
    posterior: NDArray[np.float32],
    last: NDArray[np.int32] | None,
    tables: NDArray[np.float64],
    gains: NDArray[np.float32],
) -> None:
    """Fill `gains` (N,), nats: what an evaluation is expected to tell of an item's class.

    It is the mutual information of class and prediction (Lindley, "On a Measure of the Information Provided by an
    Experiment", Annals of Mathematical Statistics 1956): the entropy of what the classifier may say, less that where
    the class is known. So an item is not worth a request where the classifier would say what is believed, or anything.

    Args:
        posterior: (N, K).
        last: (N,), the last evaluations, -1 for none; None: `tables` has but one matrix.
        tables: (1 + S K, K, K), as in `ConditionalConfusion`.
        gains: what is filled.
    """
    entropies = -np.where(tables > 0, tables * np.log(np.where(tables > 0, tables, 1)), 0).sum(axis=1)
    before = np.empty(0, np.int32) if last is None else last
    before = before.view()
    before.flags.writeable = False
    compute = partial(cpu.information_gains, posterior, before, tables, entropies, gains)
    in_chunks(compute, posterior.size // _SMALLEST_CHUNK, None)


def counts_by_gain(gains: NDArray[np.float32]) -> NDArray[np.int64]:
    """How many of the gains (N,), none negative, fall in each of 65,536 bins, highest first, each 0.8 % wide."""
    bits = gains.view(np.uint32).view()
    bits.flags.writeable = False
    nothing = np.uint64(0), 0, np.uint32(0), np.uint64(0)
    counts = in_chunks(partial(_histogram, bits, len(bits), *nothing), len(bits) // _SMALLEST_CHUNK, None)
    return np.sum(counts, axis=0)


def spread(total: int, counts: NDArray[np.int64]) -> list[int]:
    """How many of `total` evaluations each step gets, if they go to the highest gains of all items and steps.

    `counts` (T, bins) is that of `counts_by_gain` for each step. Steps share the last bin in proportion.
    """
    at_least = counts.sum(axis=0).cumsum()
    last = int(np.searchsorted(at_least, total))
    before = counts[:, :last].sum(axis=1)
    shared = np.concatenate([[0], counts[:, last].cumsum()])
    rest = int(total - before.sum()) * shared // max(shared[-1], 1)
    return (before + np.diff(rest)).tolist()


def random_items(items: int, seed: int, selected: NDArray[np.int64]) -> None:
    """Fill `selected` (B,), ascending, with random items of 0 to `items` - 1: those of lowest hash."""
    nothing = np.empty(0, np.uint32)
    nothing.flags.writeable = False
    _select(nothing, items, seed, selected)


def _select(bits: Bits, items: int, seed: int, selected: NDArray[np.int64]) -> None:
    if not len(selected):
        return
    start = np.uint64(_mixed(np.uint64(operator.index(seed) % 2**64)))

    threads_worth = items // _SMALLEST_CHUNK
    key = _last_key(bits, items, start, len(selected))
    counts = in_chunks(partial(_count, bits, items, start, *key), threads_worth, None)
    first = np.cumsum([0, *counts])
    in_chunks(partial(_write, bits, items, start, *key, first, selected), threads_worth, None)


def _last_key(bits: Bits, items: int, start: np.uint64, budget: int) -> tuple[np.uint32, np.uint64]:
    """The key, in its two parts, up to which there are exactly `budget` items."""
    key = 0  # the digits found so far
    # Without entropies all items share the key's first two digits.
    for digit in range(0 if len(bits) else 2, 6):
        histogram = partial(_histogram, bits, items, start, digit, *_parts(key << 16 * (6 - digit)))
        counts = np.sum(in_chunks(histogram, items // _SMALLEST_CHUNK, None), axis=0)
        upto = np.cumsum(counts)
        found = int(np.searchsorted(upto, budget))
        key = key << 16 | found
        budget -= int(upto[found] - counts[found])
        if budget == counts[found]:
            break
    missing = 16 * (5 - digit)
    return _parts((key + 1 << missing) - 1)


def _parts(key: int) -> tuple[np.uint32, np.uint64]:
    return np.uint32(key >> 64), np.uint64(key & int(_ALL_64))


@cpu_kernel
def _mixed(x: np.uint64) -> np.uint64:
    x = (x ^ (x >> np.uint64(30))) * _FIRST
    x = (x ^ (x >> np.uint64(27))) * _SECOND
    return x ^ (x >> np.uint64(31))


@cpu_kernel
def _hash(start: np.uint64, item: int) -> np.uint64:
    return _mixed(start + np.uint64(item) * _GOLDEN)


@cpu_kernel
def _entropy_key(bits: Bits, item: int) -> np.uint32:
    return np.uint32(~bits[item]) if len(bits) else np.uint32(0)


@cpu_kernel
def _histogram(
    bits: Bits, items: int, start: np.uint64, digit: int, high: np.uint32, low: np.uint64, chunk: int, chunks: int
) -> NDArray[np.int64]:
    """Counts of the next 16 bits, over the items whose digits before these are those of the key (high, low)."""
    counts = np.zeros(1 << 16, np.int64)
    first, end = items * chunk // chunks, items * (chunk + 1) // chunks
    if digit == 0:
        for item in range(first, end):
            counts[_entropy_key(bits, item) >> np.uint32(16)] += 1
    elif digit == 1:
        for item in range(first, end):
            key = _entropy_key(bits, item)
            if key >> np.uint32(16) == high >> np.uint32(16):
                counts[key & np.uint32(0xFFFF)] += 1
    else:
        shift = np.uint64(16 * (5 - digit))
        before = shift + np.uint64(15)
        for item in range(first, end):
            if _entropy_key(bits, item) == high:
                key64 = _hash(start, item)
                # In two steps: by 64 at once would not shift at all.
                if (key64 >> before) >> np.uint64(1) == (low >> before) >> np.uint64(1):
                    counts[(key64 >> shift) & np.uint64(0xFFFF)] += 1
    return counts


@cpu_kernel
def _is_selected(bits: Bits, item: int, start: np.uint64, high: np.uint32, low: np.uint64) -> bool:
    key = _entropy_key(bits, item)
    return bool(key < high or (key == high and (low == _ALL_64 or _hash(start, item) <= low)))


@cpu_kernel
def _count(
    bits: Bits, items: int, start: np.uint64, high: np.uint32, low: np.uint64, chunk: int, chunks: int
) -> np.int64:
    count = np.int64(0)
    for item in range(items * chunk // chunks, items * (chunk + 1) // chunks):
        count += np.int64(_is_selected(bits, item, start, high, low))
    return count


@cpu_kernel
def _write(
    bits: Bits,
    items: int,
    start: np.uint64,
    high: np.uint32,
    low: np.uint64,
    first: NDArray[np.int64],
    selected: NDArray[np.int64],
    chunk: int,
    chunks: int,
) -> None:
    at = first[chunk]
    for item in range(items * chunk // chunks, items * (chunk + 1) // chunks):
        if _is_selected(bits, item, start, high, low):
            selected[at] = item
            at += 1
