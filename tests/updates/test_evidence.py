"""Past a confusion matrix: pair tables, discounts, soft labels and expected information, against plain arithmetic."""

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from pseudolidar.updates import (
    Calibration,
    Classifier,
    ConditionalConfusion,
    ConfusionMatrix,
    Discounted,
    MaxBelief,
    PredictionStore,
)
from pseudolidar.updates.selection import counts_by_gain, information_gains, spread
from tests.updates import reference


@dataclass(frozen=True)
class Labelled:
    """T classifiers' predictions (T, n) and logits (T, n, K) of labelled items (n,)."""

    predictions: NDArray[np.int64]
    logits: NDArray[np.float64]
    labels: NDArray[np.int64]
    classes: int

    def confusion(self, step: int) -> ConfusionMatrix:
        return ConfusionMatrix.estimate(self.predictions[step], self.labels, self.classes)


def drawn(seed: int, classes: int, items: int, steps: int) -> Labelled:
    """Classifiers of which each repeats some of what the one before said."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=items)
    logits = rng.normal(size=(steps, items, classes)) * 2
    logits[:, np.arange(items), labels] += 2
    for step in range(1, steps):
        logits[step] = np.where(rng.random((items, 1)) < 0.5, logits[step - 1], logits[step])
    return Labelled(logits.argmax(axis=2), logits, labels, classes)


def classifiers_of(kind: str, of: Labelled) -> list[Classifier]:
    """One a step, each estimated with those before it."""
    alone = [of.confusion(step) for step in range(len(of.predictions))]
    soft = [Calibration.estimate(logits, of.labels) for logits in of.logits]
    steps = range(1, len(alone) + 1)
    match kind:
        case "conditional":
            return [ConditionalConfusion.estimate(alone[n - 1], of.predictions[:n], of.labels) for n in steps]
        case "discounted":
            return [Discounted.estimate(alone[:n], list(of.predictions[:n]), of.labels) for n in steps]
        case "soft":
            return list(soft)
        case _:
            return [Discounted.estimate(soft[:n], list(of.logits[:n]), of.labels) for n in steps]


def evidence_by_hand(
    classifier: Classifier, said: int, logits: NDArray[np.float64], last: tuple[int, int] | None
) -> tuple[list[float], float]:
    """The likelihood of each class, and the power of the earlier belief."""
    match classifier:
        case ConditionalConfusion(tables):
            classes = tables.shape[1]
            place = 0 if last is None else 1 + last[0] * classes + last[1]
            return [tables[place, said, k] for k in range(classes)], 1.0
        case Discounted(alone, discount):
            return evidence_by_hand(alone, said, logits, None)[0], 1.0 if last is None else discount[last[0]]
        case ConfusionMatrix(values):
            return values[said].tolist(), 1.0
    weights = np.exp(logits / classifier.temperature)
    return [max(p, classifier.least) / q for p, q in zip(weights / weights.sum(), classifier.prior, strict=True)], 1.0


@pytest.mark.parametrize("kind", ["conditional", "discounted", "soft", "discounted soft"])
@settings(deadline=None, max_examples=8)
@given(st.integers(0, 1000), st.integers(1, 4), st.integers(0, 6))
def test_steps(kind: str, seed: int, classes: int, items: int) -> None:
    """Random requests: items of a step have been evaluated last in different ones."""
    of, new = drawn(seed, classes, 30, 3), drawn(seed + 1, classes, items, 3)
    rng = np.random.default_rng(seed)
    last: list[tuple[int, int] | None] = [None] * items
    with TemporaryDirectory() as folder, PredictionStore.create(folder, items, classes, keep_last=True) as store:
        for step, classifier in enumerate(classifiers_of(kind, of)):
            asked = np.flatnonzero(rng.random(items) < 0.6)
            old = store.posterior.copy()
            said = new.logits[step, asked] if "soft" in kind else new.predictions[step, asked]
            store.update(store.request(asked), said, classifier, MaxBelief())
            rows = [
                evidence_by_hand(classifier, new.predictions[step, item], new.logits[step, item], last[item])
                for item in asked.tolist()
            ]
            likelihood = torch.tensor([row[0] for row in rows], dtype=torch.float64).reshape(-1, classes)
            weight = torch.tensor([row[1] for row in rows], dtype=torch.float64)
            expected = reference.updated_posterior(torch.tensor(old[asked]), likelihood, weight)
            assert_allclose(store.posterior[asked], expected, rtol=3e-6)
            assert_allclose(store.entropy[asked], reference.entropy(expected), atol=1e-5)
            for item in asked.tolist():
                last[item] = step, int(new.predictions[step, item])
            assert store.last is not None
            assert store.last.tolist() == [-1 if one is None else one[0] * classes + one[1] for one in last]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 5), st.integers(0, 8), st.booleans())
def test_expected_information(seed: int, classes: int, items: int, conditional: bool) -> None:
    of, rng = drawn(seed, classes, 20, 2), np.random.default_rng(seed)
    # Some beliefs are certain, or rule a class out.
    posterior = rng.dirichlet(np.full(classes, 0.3), items).astype(np.float32)
    posterior[posterior < 0.05] = 0
    posterior /= posterior.sum(axis=1, keepdims=True)
    tables, last = of.confusion(1).values[None], None
    if conditional:
        tables = ConditionalConfusion.estimate(of.confusion(1), of.predictions, of.labels).tables
        last = rng.integers(-1, classes, items).astype(np.int32)
    gains = np.full(items, np.nan, np.float32)
    information_gains(posterior, last, tables, gains)
    own = tables[np.zeros(items, int) if last is None else last + 1]
    expected = reference.information_gain(torch.tensor(posterior), torch.tensor(own))
    assert_allclose(gains, expected, atol=1e-6)
    # What is known, or will not be told, is worth nothing; the sign bit of -0 would rank above all.
    assert not np.signbit(gains).any() and (gains <= reference.entropy(torch.tensor(posterior)).numpy() + 1e-6).all()


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(st.sampled_from([0.0, 0.1, 0.1001, 0.5, 1.2]), min_size=5, max_size=5), min_size=1), st.data())
def test_a_spread_budget_goes_to_the_highest_gains(values: list[list[float]], data: st.DataObject) -> None:
    gains = np.array(values, np.float32)
    total = data.draw(st.integers(0, gains.size))
    shares = np.array(spread(total, np.array([counts_by_gain(of_step) for of_step in gains])))
    assert shares.sum() == total and (shares >= 0).all()
    # Gains are told apart by sixteen of their bits.
    known = (gains.view(np.uint32) >> 16 << 16).view(np.float32)
    if total:
        least = np.sort(known, axis=None)[-total]
        above, same = (known > least).sum(axis=1), (known == least).sum(axis=1)
        assert_allclose(shares, above + (total - above.sum()) * same / same.sum(), atol=1)


def test_a_budget_for_steps_to_come(tmp_path: Path) -> None:
    """A step whose classifier tells nothing gets nothing; two that tell the same share."""
    good, blind = ConfusionMatrix(np.eye(3) * 0.7 + 0.1), ConfusionMatrix(np.full((3, 3), 1 / 3))
    store = PredictionStore.create(tmp_path / "s", 100, 3)
    assert store.spread_budget(60, [blind, good]) == [0, 60]
    assert store.spread_budget(60, [good, good, blind]) == [30, 30, 0]
    assert store.spread_budget(250, [good, good, blind]) == [100, 100, 50]
    for total, classifiers in ((101, [good]), (-1, [good]), (0, [])):
        with pytest.raises(ValueError, match="total: found"):
            store.spread_budget(total, classifiers)


def test_items_that_no_model_can_tell_are_not_asked_again(tmp_path: Path) -> None:
    """Of classes 0 and 1 a classifier says either: an item between them stays uncertain, but it is not worth asking."""
    blind = ConfusionMatrix(np.array([[0.5, 0.5, 0], [0.5, 0.5, 0.1], [0, 0, 0.9]]))
    store = PredictionStore.create(tmp_path / "s", 2, 3, [0.4, 0.4, 0.2])
    store.update(store.request([0]), [0], blind, MaxBelief())
    store.update(store.request([1]), [1], blind, MaxBelief())
    assert store.request_uncertain(1, 0).tolist() == [1]
    assert store.request_informative(1, 0, blind).tolist() == [1]
    store.update(store.request([1]), [0], blind, MaxBelief())
    assert_allclose(store.entropy, np.log(2), atol=1e-6)
    gains = np.zeros(2, np.float32)
    information_gains(store.posterior, None, blind.values[None], gains)
    assert_allclose(gains, 0, atol=1e-6)
    assert [path.name for path in tmp_path.glob("s/.request*")] == []


def test_correlated_classifiers_are_recognised() -> None:
    rng = np.random.default_rng(0)
    classes, items = 4, 20_000
    labels = rng.integers(classes, size=items)
    first, other = (np.where(rng.random(items) < 0.7, labels, rng.integers(classes, size=items)) for _ in range(2))
    alone = ConfusionMatrix.estimate(first, labels, classes)
    for second, repeats in ((first, True), (other, False)):
        predictions = np.stack([first, second])
        tables = ConditionalConfusion.estimate(alone, predictions, labels).tables
        assert_array_equal(tables[0], alone.values)
        for said in range(classes):
            expected = np.eye(classes)[said][:, None] if repeats else alone.values
            assert_allclose(tables[1 + said], np.broadcast_to(expected, (classes, classes)), atol=0.04)
        discount = Discounted.estimate([alone, alone], list(predictions), labels).discount
        assert_allclose(discount, 0 if repeats else 1, atol=0.1)
    # Few items: a label that was never seen is shrunk to what the others' relations say.
    few = ConditionalConfusion.estimate(alone, np.stack([first, first])[:, :12], labels[:12]).tables
    assert_allclose(few.sum(axis=1), 1)
    assert (few > 0).all() and (few[1:].reshape(4, 4, 4)[np.arange(4), np.arange(4)] > alone.values - 0.05).all()


def pair_table_by_hand(
    alone: NDArray[np.float64], before: list[int], said: list[int], true: list[int]
) -> NDArray[np.float64]:
    """Shrunk counts [j, i, k] from sums over items; each in turn is left out to choose the concentration."""
    classes, items = range(len(alone)), list(zip(before, said, true, strict=True))

    def relation(j: int, i: int, k: int) -> tuple[bool, str]:
        return j == k, "right" if i == k else "same" if i == j else "other"

    factors: dict[tuple[bool, str], float] = dict.fromkeys(
        itertools.product((False, True), ("right", "same", "other")), 1.0
    )
    for _ in range(30):
        mean = np.array(
            [[[alone[i, k] * factors[relation(j, i, k)] for k in classes] for i in classes] for j in classes]
        )
        mean /= mean.sum(axis=1, keepdims=True)
        for one in factors:
            observed = sum(relation(*item) == one for item in items)
            expected = sum(mean[j, i, k] for j, _, k in items for i in classes if relation(j, i, k) == one)
            factors[one] *= (observed + 0.5) / (expected + 0.5)

    def shrunk(j: int, i: int, k: int, concentration: float, kept: list[tuple[int, int, int]]) -> float:
        column = [other[1] for other in kept if (other[0], other[2]) == (j, k)]
        return (column.count(i) + concentration * mean[j, i, k]) / (len(column) + concentration)

    def left_out(concentration: float) -> float:
        return sum(math.log(shrunk(*item, concentration, items[:n] + items[n + 1 :])) for n, item in enumerate(items))

    best = max((2.0**power for power in range(-4, 13)), key=left_out)
    return np.array([[[shrunk(j, i, k, best, items) for k in classes] for i in classes] for j in classes])


@pytest.mark.parametrize(("seed", "classes"), [(0, 1), (1, 2), (2, 3), (3, 4)])
def test_pair_tables_are_those_of_plain_arithmetic(seed: int, classes: int) -> None:
    of = drawn(seed, classes, 30, 2)
    alone = of.confusion(1)
    tables = ConditionalConfusion.estimate(alone, of.predictions, of.labels).tables
    before, said = of.predictions.tolist()
    assert_allclose(tables[1:], pair_table_by_hand(alone.values, before, said, of.labels.tolist()))


@pytest.mark.parametrize("seed", [0, 1])
def test_discounts_are_those_of_plain_arithmetic(seed: int) -> None:
    of = drawn(seed, 3, 40, 3)
    alone = [of.confusion(step) for step in range(3)]
    beliefs: list[NDArray[np.float64]] = []
    for step, matrix in enumerate(alone):
        likelihood = matrix.values[of.predictions[step]]
        found = Discounted.estimate(alone[: step + 1], of.predictions[: step + 1], of.labels).discount
        for belief, own in zip(beliefs, found, strict=True):
            after = {discount: belief**discount * likelihood for discount in np.linspace(0, 1, 21)}
            right = {
                discount: float(np.log(p[np.arange(40), of.labels] / p.sum(axis=1)).sum())
                for discount, p in after.items()
            }
            assert right[own] == pytest.approx(max(right.values()), abs=1e-9)
        joint = beliefs[-1] ** found[-1] * likelihood if beliefs else likelihood
        beliefs.append(joint / joint.sum(axis=1, keepdims=True))


def test_calibration_is_right_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(20_000, 3)) * 2
    weights = np.exp(logits)
    labels = (rng.random((20_000, 1)) > np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)).sum(axis=1)
    for overconfident in (1.0, 8.0):
        found = Calibration.estimate(logits * overconfident, labels)
        assert found.temperature == overconfident
        said = found.likelihood(logits * overconfident) * found.prior
        assert_allclose(said.max(axis=1).mean(), (said.argmax(axis=1) == labels).mean(), atol=0.01)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    of = drawn(0, 3, 30, 2)
    first, second = (ConditionalConfusion.estimate(of.confusion(n), of.predictions[: n + 1], of.labels) for n in (0, 1))
    soft = Calibration.estimate(of.logits[0], of.labels)
    plain = PredictionStore.create(tmp_path / "plain", 2, 3)
    plain.request([0])
    with pytest.raises(ValueError, match=r"classifier: found ConditionalConfusion, .*keep_last=True"):
        plain.update([0], [0], first, MaxBelief())
    store = PredictionStore.create(tmp_path / "last", 2, 3, keep_last=True)
    with pytest.raises(ValueError, match="classifier: found 1 steps before it, expected 0"):
        store.request_informative(1, 0, second)
    store.request([0])
    for said, classifier, message in (
        ([0], soft, r"logits: found int64 \(1,\)"),
        ([[0.0, 1.0]], soft, "logits: found K = 2, expected 3"),
        ([[0.0, np.nan, 1.0]], soft, r"logits: found \[0.0, nan, 1.0\] at place 0"),
        ([[0.0, 0.0, 1.0]], first, "labels: found float64"),
    ):
        with pytest.raises(ValueError, match=message):
            store.update([0], said, classifier, MaxBelief())
    for wrong, message in (
        (lambda: ConditionalConfusion(np.zeros((3, 2, 2))), "as the sum of column"),
        (lambda: ConditionalConfusion(np.full((2, 2, 2), 0.5)), r"tables: found shape \(2, 2, 2\)"),
        (lambda: Discounted(of.confusion(0), np.array([1.5])), "discount: found"),
        (lambda: Calibration(0, 0, np.array([0.5, 0.5])), "calibration: found temperature 0"),
        (lambda: Calibration(1, 0, np.array([0.5, 0.6])), "prior: found"),
        (lambda: ConditionalConfusion.estimate(of.confusion(0), of.predictions, of.labels[:-1]), "found 30 items"),
        (lambda: Calibration.estimate(of.logits[0], of.labels + 1), "labels: found 3"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
