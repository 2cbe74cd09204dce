"""Selection: exactly the items that sorting finds, however equal their entropies are."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from pseudolidar.updates.selection import most_uncertain, random_items
from tests.updates import reference

# Equal ones, neighbours that differ in the last bit, numbers below the normal range.
_ENTROPIES = st.sampled_from([0.0, 1e-45, 1e-40, 0.5, 0.50000006, 1.0, 1.3862944, 10.397]) | st.floats(0, 11, width=32)
_SEEDS = st.integers(-(2**70), 2**70)


@pytest.fixture
def three_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(threads)


def uncertain(entropy: NDArray[np.float32], budget: int, seed: int) -> NDArray[np.int64]:
    selected = np.full(budget, -1, np.int64)
    most_uncertain(entropy, seed, selected)
    return selected


def at_random(items: int, budget: int, seed: int) -> NDArray[np.int64]:
    selected = np.full(budget, -1, np.int64)
    random_items(items, seed, selected)
    return selected


@settings(deadline=None, max_examples=100)
@given(st.lists(_ENTROPIES, max_size=30), _SEEDS, st.data())
def test_as_by_sorting(values: list[float], seed: int, data: st.DataObject) -> None:
    entropy = np.array(values, np.float32)
    budget = data.draw(st.integers(0, len(values)))
    selected = uncertain(entropy, budget, seed)
    assert_array_equal(selected, reference.most_uncertain(torch.from_numpy(entropy), budget, seed))
    # Whatever the hash: ascending, each once, and nothing left out is more uncertain.
    assert (np.diff(selected) > 0).all()
    left_out = np.delete(entropy, selected)
    if budget and len(left_out):
        assert entropy[selected].min() >= left_out.max()
    assert_array_equal(at_random(len(values), budget, seed), reference.random_items(len(values), budget, seed))


@pytest.mark.parametrize("kinds", [1, 3, 1000])
def test_shares_of_three_threads(three_threads: None, kinds: int) -> None:
    rng = np.random.default_rng(kinds)
    entropy = rng.integers(0, kinds, 700_001).astype(np.float32) / np.float32(kinds)
    for budget in (1, 70_000, 700_000):
        expected = reference.most_uncertain(torch.from_numpy(entropy), budget, 5)
        assert_array_equal(uncertain(entropy, budget, 5), expected)
    assert_array_equal(at_random(len(entropy), 9, 5), reference.random_items(len(entropy), 9, 5))


def test_equal_items_are_taken_evenly_and_by_seed() -> None:
    entropy = np.ones(20_000, np.float32)
    one, other = uncertain(entropy, 5_000, 1), uncertain(entropy, 5_000, 2)
    quarters = np.bincount(one // 5_000, minlength=4)
    assert abs(quarters - 1_250).max() < 5 * np.sqrt(1_250 * 0.75)
    # Independent choices of a quarter share a quarter of what they choose.
    assert abs(len(np.intersect1d(one, other)) - 1_250) < 5 * np.sqrt(1_250 * 0.75)
    assert_array_equal(at_random(20_000, 5_000, 1), one)
