"""Diagnostics against brute force: all elements at once, members shifted by hand, every subset visited."""

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.ensembles import (
    SquaredErrorTally,
    bias_share,
    cross_entropy_codependence,
    cross_entropy_decomposition,
    squared_error_decomposition,
)

CASES = st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(0, 2**31))


def tally_of(predictions: torch.Tensor, target: torch.Tensor, chunk: int) -> SquaredErrorTally:
    tally = SquaredErrorTally(len(predictions))
    for part, wanted in zip(predictions.split(chunk, 1), target.split(chunk), strict=True):
        tally.add(part, wanted)
    return tally


@given(CASES, st.integers(1, 50), st.sampled_from([0.0, 1.0, 1e3]))
@settings(deadline=None, max_examples=50)
def test_a_tally_in_chunks_is_brute_force_on_all(case: tuple[int, int, int], chunk: int, bias: float) -> None:
    members, elements, seed = case
    random = torch.Generator().manual_seed(seed)
    shifts = bias * torch.randn(members, 1, generator=random)
    predictions = torch.randn(members, elements, generator=random) + shifts
    target = torch.randn(elements, generator=random)
    tally = tally_of(predictions, target, chunk)
    wanted = squared_error_decomposition(predictions, target)
    found = tally.decomposition()
    assert tally.count == elements
    tolerance = 1e-12 * max(1.0, bias**2)
    for name in ("individual", "diversity", "ensemble"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name), rel=1e-9, abs=tolerance)
    exact = predictions.double()
    deviations = exact - exact.mean(0)
    debiased = (deviations - deviations.mean(1, keepdim=True)).square().mean()
    assert tally.debiased_diversity() == pytest.approx(float(debiased), rel=1e-6, abs=tolerance)
    by_kept = [
        [float((exact[list(kept)].mean(0) - target).square().mean()) for kept in combinations(range(members), count)]
        for count in range(1, members + 1)
    ]
    assert tally.codependence() == pytest.approx([sum(losses) / len(losses) for losses in by_kept], rel=1e-9)


def test_diversity_that_is_only_bias() -> None:
    common = torch.randn(50, generator=torch.Generator().manual_seed(1))
    tally = SquaredErrorTally(2)
    tally.add(torch.stack([common + 3, common - 3]), common)
    assert tally.decomposition().diversity == pytest.approx(9)
    assert tally.decomposition().ensemble == pytest.approx(0, abs=1e-12)
    assert tally.debiased_diversity() == pytest.approx(0, abs=1e-12)


@given(CASES, st.integers(2, 4))
@settings(deadline=None, max_examples=30)
def test_cross_entropy_codependence_visits_every_subset(case: tuple[int, int, int], classes: int) -> None:
    members, items, seed = case
    random = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(members, items, classes, generator=random)
    labels = torch.randint(classes, (items,), generator=random)
    found = cross_entropy_codependence(logits, labels)
    for count in range(1, members + 1):
        losses = [
            cross_entropy_decomposition(logits[list(kept)], labels).ensemble
            for kept in combinations(range(members), count)
        ]
        assert found[count - 1] == pytest.approx(sum(losses) / len(losses), rel=1e-9)
    whole = cross_entropy_decomposition(logits, labels)
    assert (found[0], found[-1]) == pytest.approx((whole.individual, whole.ensemble), rel=1e-9)
    # More members never hurt on average: Jensen's inequality again.
    assert all(after <= before + 1e-9 for before, after in pairwise(found))


@given(st.tuples(st.integers(2, 5), st.integers(2, 40), st.integers(0, 2**31)), st.sampled_from([0.0, 1.0, 1e3]))
@settings(deadline=None, max_examples=30)
def test_the_share_of_bias_is_what_tallies_say_output_by_output(case: tuple[int, int, int], bias: float) -> None:
    members, items, seed = case
    random = torch.Generator().manual_seed(seed)
    predictions = torch.randn(members, items, 3, generator=random) + bias * torch.randn(members, 1, 3, generator=random)
    tallies = [tally_of(predictions[..., output], torch.zeros(items), items) for output in range(3)]
    debiased = sum(tally.debiased_diversity() for tally in tallies)
    diversity = sum(tally.decomposition().diversity for tally in tallies)
    assert bias_share(predictions) == pytest.approx(1 - debiased / diversity, abs=1e-6)


def test_the_share_of_bias_is_all_or_nothing() -> None:
    random = torch.Generator().manual_seed(0)
    common, shifts = torch.randn(1, 20, 2, generator=random), torch.randn(4, 1, 2, generator=random)
    assert bias_share(common + shifts) == pytest.approx(1)
    own = torch.randn(4, 20, 2, generator=random)
    assert bias_share(own - own.mean(1, keepdim=True)) == pytest.approx(0, abs=1e-12)
    assert np.isnan(bias_share(common.expand(4, 20, 2)))
    with pytest.raises(ValueError, match="predictions"):
        bias_share(torch.zeros(3))


def test_bad_input_leaves_a_tally_as_it_was() -> None:
    tally = SquaredErrorTally(2)
    with pytest.raises(ValueError, match="count: found no elements"):
        tally.decomposition()
    tally.add(torch.ones(2, 3), torch.zeros(3))
    before = (tally.count, tally.decomposition(), tally.debiased_diversity())
    with pytest.raises(ValueError, match=r"found shapes \(\(3, 3\), \(3,\)\)"):
        tally.add(torch.ones(3, 3), torch.zeros(3))
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not finite"):
            tally.add(torch.tensor([[1.0], [value]]), torch.zeros(1))
    assert (tally.count, tally.decomposition(), tally.debiased_diversity()) == before
    with pytest.raises(ValueError, match="members: found 0"):
        SquaredErrorTally(0)


def test_too_many_members_to_drop() -> None:
    with pytest.raises(ValueError, match="found 17 members, expected at most 16"):
        cross_entropy_codependence(torch.zeros(17, 1, 2), torch.zeros(1, dtype=torch.int64))
