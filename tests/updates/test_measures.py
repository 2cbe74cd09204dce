"""Confusion matrices, flips and accuracy: counted as by hand, checked when they are made."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from pseudolidar.updates import ConfusionMatrix, accuracy, flips


def test_rows_are_what_the_classifier_says_and_columns_the_labels() -> None:
    predicted, labels = [0, 1, 1, 2, 0], [0, 0, 1, 2, 2]
    matrix = ConfusionMatrix.estimate(predicted, labels, 3, smoothing=0)
    assert_array_equal(matrix.values, [[0.5, 0, 0.5], [0.5, 1, 0], [0, 0, 0.5]])
    smooth = ConfusionMatrix.estimate(predicted, labels, 3)
    assert_allclose(smooth.values, np.array([[2 / 5, 1 / 4, 2 / 5], [2 / 5, 2 / 4, 1 / 5], [1 / 5, 1 / 4, 2 / 5]]))


def test_diagonal_shares_what_is_wrong_evenly() -> None:
    matrix = ConfusionMatrix.estimate([0, 0, 1, 0, 2], [0, 0, 1, 1, 1], 4, diagonal=True)
    # Right and wrong are two outcomes: (2 + 1) / (2 + 2), (1 + 1) / (3 + 2), and 1/2 without any item.
    assert_allclose(np.diag(matrix.values), [3 / 4, 2 / 5, 1 / 2, 1 / 2])
    assert_allclose(matrix.values[[1, 2, 3], 0], 1 / 12)
    assert_array_equal(ConfusionMatrix.estimate([0], [0], 1, diagonal=True).values, [[1]])


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 6).flatmap(
        lambda k: st.tuples(st.just(k), st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), max_size=20))
    ),
    st.sampled_from([0.1, 1.0, 3.0]),
    st.booleans(),
)
def test_smoothed_estimates_are_positive_distributions(
    drawn: tuple[int, list[tuple[int, int]]], smoothing: float, diagonal: bool
) -> None:
    classes, pairs = drawn
    predicted, labels = np.array(pairs, np.int64).reshape(-1, 2).T
    values = ConfusionMatrix.estimate(predicted, labels, classes, smoothing, diagonal).values
    assert values.min() > 0
    assert_allclose(values.sum(axis=0), 1, rtol=1e-12)


def test_bad_matrices() -> None:
    good = np.full((3, 3), 1 / 3)
    off = good.copy()
    off[0, 1] += 1e-5
    with pytest.raises(ValueError, match="as the sum of column 1, expected 1"):
        ConfusionMatrix(off)
    ConfusionMatrix(good + 1e-7)
    for bad in (np.nan, -0.1):
        values = good.copy()
        values[2, 0] = bad
        with pytest.raises(ValueError, match=f"found {bad} in row 2, column 0"):
            ConfusionMatrix(values)
    with pytest.raises(ValueError, match=r"shape \(2, 3\), expected \(K, K\)"):
        ConfusionMatrix(good[:2])


def test_bad_counts() -> None:
    with pytest.raises(ValueError, match="labels: found 3, expected 0 to 2"):
        ConfusionMatrix.estimate([0, 1], [0, 3], 3)
    with pytest.raises(ValueError, match="predicted: found -1"):
        ConfusionMatrix.estimate([-1], [0], 3)
    with pytest.raises(ValueError, match="found 1 items, expected 2"):
        ConfusionMatrix.estimate([0], [0, 1], 3)
    with pytest.raises(ValueError, match="predicted: found float64"):
        ConfusionMatrix.estimate([0.5], [0], 3)
    with pytest.raises(ValueError, match="no item of label 1"):
        ConfusionMatrix.estimate([0, 2], [0, 2], 3, smoothing=0)
    with pytest.raises(ValueError, match="smoothing: found -1"):
        ConfusionMatrix.estimate([0], [0], 1, smoothing=-1)


def test_flips_and_accuracy_by_hand() -> None:
    truth = np.array([0, 1, 2, 0, 1, 2])
    before = np.array([0, 1, 0, 1, -1, -1], np.int16)
    after = np.array([0, 0, 2, 2, 1, 0], np.int16)
    found = flips(before, after, truth)
    # The first labels of the last two are no flips; the fourth is wrong before and after.
    assert found.negative.tolist() == [False, True, False, False, False, False]
    assert found.positive.tolist() == [False, False, True, False, False, False]
    assert accuracy(before, truth) == 2 / 6 and accuracy(after, truth) == 3 / 6


def test_no_label_is_wrong_even_where_truth_is_unknown() -> None:
    unknown = np.array([-1, 0])
    assert accuracy(unknown, unknown) == 0.5
    assert not flips(unknown, np.array([1, 1]), unknown).negative[0]


def test_no_items() -> None:
    nothing = np.empty(0, np.int16)
    assert math.isnan(accuracy(nothing, nothing))
    assert sum(flips(nothing, nothing, nothing).counts().values()) == 0


def test_lengths_that_differ() -> None:
    with pytest.raises(ValueError, match=r"before: found shape \(2,\), expected \(3,\), as truth"):
        flips(np.zeros(2, int), np.zeros(3, int), np.zeros(3, int))
    with pytest.raises(ValueError, match="labels: found shape"):
        accuracy(np.zeros(2, int), np.zeros(3, int))
