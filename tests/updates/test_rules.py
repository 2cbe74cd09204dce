"""Beliefs and rules: the store, the reference in PyTorch and a loop in plain Python agree."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from pseudolidar.updates import (
    ConfusionMatrix,
    CostRatio,
    FlipCosts,
    MajorityVote,
    MaxBelief,
    MaxBeliefMinEntropy,
    Never,
    PredictionStore,
    Replace,
    Rule,
)
from tests.updates import reference

RULES = [
    MaxBelief(),
    MaxBeliefMinEntropy(),
    CostRatio(0.5),
    CostRatio(2.0),
    FlipCosts(2.0, 0.5),
    Replace(),
    MajorityVote(),
    Never(),
]


@dataclass(frozen=True)
class Stream:
    """N items with K classes, and T classifiers that label all of them."""

    prior: NDArray[np.float64]
    confusions: list[ConfusionMatrix]
    labels: list[list[int]]


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    classes, items, steps = draw(st.integers(1, 5)), draw(st.integers(0, 6)), draw(st.integers(1, 4))

    def distribution(least: int) -> NDArray[np.float64]:
        # Small integers: many equal beliefs, and zeros where they are allowed.
        counts = draw(st.lists(st.integers(least, 3), min_size=classes, max_size=classes))
        weights = np.array(counts, np.float64)
        weights[draw(st.integers(0, classes - 1))] += weights.sum() == 0
        return weights / weights.sum()

    prior = distribution(0)
    # Zeros off the diagonal; labels are the first class's or what it may be said to be, so that none is impossible.
    certain = int(prior.argmax())
    confusions = [ConfusionMatrix(np.stack([distribution(0) for _ in range(classes)], axis=1)) for _ in range(steps)]
    labels = [
        draw(st.lists(st.sampled_from(matrix.values[:, certain].nonzero()[0].tolist()), min_size=items, max_size=items))
        for matrix in confusions
    ]
    return Stream(prior, confusions, labels)


def entropy(posterior: Iterable[float]) -> float:
    return -sum(p * math.log(p) for p in posterior if p > 0)


def cost(rule: FlipCosts, stored: float, candidate: float) -> float:
    return rule.negative * stored + rule.neutral * max(0.0, 1.0 - stored - candidate)


def stored_by_hand(
    rule: Rule, stored: int, label: int, posterior: Sequence[float], fell: bool, votes: Sequence[int]
) -> int:
    scores: Sequence[float] = votes if isinstance(rule, MajorityVote) else posterior
    best = [k for k, score in enumerate(scores) if score == max(scores)]
    candidate = stored if stored in best else best[0]
    if isinstance(rule, Replace) or (isinstance(rule, Never) and stored == -1):
        return label
    if stored == -1:
        return candidate
    stays = (
        isinstance(rule, Never)
        or (isinstance(rule, MaxBeliefMinEntropy) and not fell)
        or (isinstance(rule, CostRatio) and posterior[candidate] <= rule.ratio * posterior[stored])
        or (isinstance(rule, FlipCosts) and posterior[candidate] <= cost(rule, posterior[stored], posterior[candidate]))
    )
    return stored if stays else candidate


@pytest.mark.parametrize("rule", RULES, ids=str)
@settings(deadline=None, max_examples=25)
@given(streams())
def test_steps(rule: Rule, stream: Stream) -> None:
    items, classes = len(stream.labels[0]), len(stream.prior)
    with TemporaryDirectory() as folder, PredictionStore.create(folder, items, classes, stream.prior, True) as store:
        joint = np.tile(stream.prior, (items, 1))
        votes = np.zeros((items, classes), np.int64)
        assert_allclose(store.entropy, [entropy(stream.prior)] * items, atol=1e-6)
        for confusion, labels in zip(stream.confusions, stream.labels, strict=True):
            before, old_entropy, old_posterior = store.labels.copy(), store.entropy.copy(), store.posterior.copy()
            step = store.update(store.request_random(items, 0), labels, confusion, rule)
            # All evaluations at once, from the joint probability of class and labels.
            for item, label in enumerate(labels):
                joint[item] *= confusion.values[label]
                votes[item, label] += 1
            posterior = joint / joint.sum(axis=1, keepdims=True)
            assert_allclose(store.posterior, posterior, atol=2e-6)
            assert_array_equal(store.posterior > 0, posterior > 0)
            assert_allclose(store.entropy, [entropy(p) for p in posterior], atol=2e-5)
            assert store.votes is not None
            assert_array_equal(store.votes, votes)
            assert_array_equal(store.evaluations, np.full(items, len(store.steps)))

            given_labels = torch.tensor(labels, dtype=torch.int64)
            by_torch = reference.updated_posterior(
                torch.tensor(old_posterior), torch.tensor(confusion.values)[given_labels], torch.ones(items)
            )
            assert_allclose(store.posterior, by_torch, rtol=3e-7)
            assert_allclose(store.entropy, reference.entropy(by_torch), atol=1e-6)

            # Rules act on the stored numbers, so that equal ones are equal for all.
            fell = store.entropy < old_entropy
            expected = [
                stored_by_hand(rule, *row)
                for row in zip(before.tolist(), labels, store.posterior.tolist(), fell, votes.tolist(), strict=True)
            ]
            assert store.labels.tolist() == expected
            stored = reference.stored_labels(
                rule,
                torch.tensor(before, dtype=torch.int64),
                given_labels,
                torch.tensor(store.posterior),
                torch.tensor(fell),
                torch.tensor(votes),
            )
            assert stored.tolist() == expected
            assert (step.before.tolist(), step.after.tolist()) == (before.tolist(), expected)
            changed = sum(old not in (-1, new) for old, new in zip(before, expected, strict=True))
            assert store.steps[-1].changed == changed


@pytest.mark.parametrize(("ratio", "label"), [(1.99, 1), (2.0, 0)])
def test_the_ratio_itself_is_not_enough(ratio: float, label: int) -> None:
    says_nothing = ConfusionMatrix(np.full((2, 2), 0.5))
    with TemporaryDirectory() as folder, PredictionStore.create(folder, 1, 2, [1 / 3, 2 / 3]) as store:
        store.update(store.request([0]), [0], says_nothing, Replace())
        store.update(store.request([0]), [0], says_nothing, CostRatio(ratio))
        assert store.labels.tolist() == [label]


def test_what_is_unlikely_can_come_back() -> None:
    confident = ConfusionMatrix(np.array([[1 - 1e-12, 1e-12], [1e-12, 1 - 1e-12]]))
    with TemporaryDirectory() as folder, PredictionStore.create(folder, 1, 2) as store:
        for _ in range(10):
            store.update(store.request_random(1, 0), [0], confident, MaxBelief())
        assert store.posterior[0, 0] == 1 and store.posterior[0, 1] == np.finfo(np.float32).tiny
        assert 0 <= store.entropy[0] < 1e-30
        for _ in range(4):
            store.update(store.request_random(1, 0), [1], confident, MaxBelief())
        assert store.labels.tolist() == [1] and store.posterior[0, 1] > 0.999


def test_evidence_below_the_smallest_number_is_still_evidence() -> None:
    # Class 1 is out of the question; of what is left, both say label 1 with a probability that float64 barely holds.
    values = np.array([[1, 0.5, 1], [1e-320, 0.5, 2e-320], [0, 0, 0]])
    with TemporaryDirectory() as folder, PredictionStore.create(folder, 1, 3, [0.5, 0, 0.5]) as store:
        store.update(store.request_random(1, 0), [1], ConfusionMatrix(values), MaxBelief())
        assert_allclose(store.posterior, [[1 / 3, 0, 2 / 3]], rtol=1e-3)


def test_many_classes() -> None:
    classes, items = 2_000, 300
    rng = np.random.default_rng(0)
    truth = rng.integers(0, classes, items)
    said = np.where(rng.random(items) < 0.7, truth, rng.integers(0, classes, items))
    confusion = ConfusionMatrix.estimate(said, truth, classes, diagonal=True)
    with TemporaryDirectory() as folder, PredictionStore.create(folder, items, classes) as store:
        for _ in range(2):
            old = torch.tensor(store.posterior)
            store.update(store.request_random(items, 0), said, confusion, MaxBelief())
            expected = reference.updated_posterior(old, torch.tensor(confusion.values[said]), torch.ones(items))
            assert_allclose(store.posterior, expected, rtol=1e-6)
            assert_allclose(store.entropy, reference.entropy(expected), atol=1e-5)
        assert_array_equal(store.labels, said)


def test_counting_ends() -> None:
    with TemporaryDirectory() as folder, PredictionStore.create(folder, 1, 2, keep_votes=True) as store:
        for name in ("evaluations", "votes"):
            np.load(store.folder / f"{name}.npy", mmap_mode="r+")[:] = 65_534
        for _ in range(3):
            step = store.update(store.request_random(1, 0), [1], ConfusionMatrix(np.eye(2)), MajorityVote())
        assert store.evaluations.tolist() == [65_535] and store.votes is not None
        assert store.votes.tolist() == [[65_534, 65_535]] and step.after.tolist() == [1]


def test_neutral_flips_can_cost_more_than_they_bring() -> None:
    # Stored 0, believed 1 at 0.5: of the rest, 0.4 would go from wrong to wrong.
    prior, says_nothing = [0.1, 0.5, 0.4], ConfusionMatrix(np.full((3, 3), 1 / 3))
    for rule, label in ((FlipCosts(2.0, 0.7), 1), (FlipCosts(2.0, 0.8), 0), (CostRatio(2.0), 1)):
        with TemporaryDirectory() as folder, PredictionStore.create(folder, 1, 3, prior) as store:
            store.update(store.request([0]), [0], says_nothing, Replace())
            store.update(store.request([0]), [0], says_nothing, rule)
            assert store.labels.tolist() == [label]


@pytest.mark.parametrize("ratio", [0, -1, math.inf, math.nan])
def test_bad_costs(ratio: float) -> None:
    with pytest.raises(ValueError, match="ratio: found"):
        CostRatio(ratio)
    with pytest.raises(ValueError, match="costs: found negative"):
        FlipCosts(ratio, 0)
    with pytest.raises(ValueError, match="costs: found negative"):
        FlipCosts(1, ratio or -1)
