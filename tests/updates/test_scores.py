"""Flips and accuracy: counted as by hand, whatever the chunks."""

import math

import numpy as np
import pytest

from pseudolidar.updates import Flips, accuracy, flips, scores


def test_by_hand() -> None:
    truth = np.array([0, 1, 2, 0, 1, 2])
    before = np.array([0, 1, 0, 1, -1, -1], np.int16)
    after = np.array([0, 0, 2, 2, 1, 0], np.int16)
    found = flips(before, after, truth, items=20)
    # The first labels of the last two are no flips; the fourth is wrong before and after.
    assert found == Flips(items=20, evaluated=6, changed=3, negative=1, positive=1)
    assert found.negative_rate == found.positive_rate == 1 / 20
    assert flips(before, after, truth).items == 6
    assert accuracy(before, truth) == 2 / 6 and accuracy(after, truth) == 3 / 6


def test_no_label_is_wrong_even_where_truth_is_unknown() -> None:
    assert accuracy(np.array([-1, 0]), np.array([-1, 0])) == 0.5


def test_nothing() -> None:
    nothing = np.empty(0, np.int16)
    assert math.isnan(accuracy(nothing, nothing))
    assert math.isnan(flips(nothing, nothing, nothing).negative_rate)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    before, after, truth = rng.integers(-1, 3, (3, 1000))
    whole = flips(before, after, truth), accuracy(after, truth)
    monkeypatch.setattr(scores, "_ITEMS_AT_ONCE", 7)
    assert (flips(before, after, truth), accuracy(after, truth)) == whole
    assert whole[0].changed == ((before != after) & (before >= 0)).sum()


def test_lengths_that_differ() -> None:
    with pytest.raises(ValueError, match=r"before: found shape \(2,\), expected \(3,\), as truth"):
        flips(np.zeros(2, int), np.zeros(3, int), np.zeros(3, int))
    with pytest.raises(ValueError, match="labels: found shape"):
        accuracy(np.zeros(2, int), np.zeros(3, int))
