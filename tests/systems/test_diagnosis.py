"""Estimators of the error's terms on learners whose terms are known in closed form, and what is concluded from them."""

import re
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pseudolidar.case_study.diagnosis import losses_on_objects, mismatch
from pseudolidar.case_study.disparity import region_loss
from pseudolidar.statistics import Interval
from pseudolidar.stereo import RANGES_M, REGIONS, StereoMetrics
from pseudolidar.systems import Change, ItemLosses, MeanLoss, change
from pseudolidar.systems.diagnosis import (
    Evidence,
    capacity_growth,
    conclude,
    estimation_growth,
    intervention,
    oracle_gap,
)
from pseudolidar.systems.learning_curve import learning_curve

SIZES = (80, 160, 320)


def least_squares(
    rng: np.random.Generator, size: int, weights: NDArray[np.float64], used: int, noise: float = 1.0
) -> float:
    """Expected squared error of a regression on the first features of `size` standard normal examples."""
    features = rng.normal(size=(size, len(weights)))
    target = features @ weights + noise * rng.normal(size=size)
    found = np.zeros(len(weights))
    found[:used] = np.linalg.lstsq(features[:, :used], target, rcond=None)[0]
    return noise**2 + float(((found - weights) ** 2).sum())


def learned(rng: np.random.Generator, weights: int, noise: float = 1.0, seeds: int = 3) -> NDArray[np.float64]:
    """(K, S) losses at `SIZES`; their estimation error is noise^2 weights / (n - weights - 1), all else is noise^2."""
    true = np.zeros(weights)
    return np.array([[least_squares(rng, size, true, weights, noise) for _ in range(seeds)] for size in SIZES])


@settings(deadline=None, max_examples=20)
@given(st.floats(0.3, 1.0), st.floats(0, 5), st.floats(0.01, 5), st.integers(0, 2**32 - 1))
def test_a_curve_without_noise_is_found(exponent: float, asymptote: float, error: float, seed: int) -> None:
    exponent = round(exponent / 0.02) * 0.02
    sizes = np.array([50.0, 100, 300, 700])
    losses = np.repeat((asymptote + error * (sizes / 700) ** -exponent)[:, None], 3, axis=1)
    found = learning_curve(list(sizes), losses, np.random.default_rng(seed))
    assert (found.asymptote, found.estimation_error) == pytest.approx((asymptote, error), abs=1e-6)
    assert found.exponent == pytest.approx(exponent)
    assert (found.interval.low, found.interval.high) == pytest.approx((error, error), abs=1e-6)
    assert found.at_the_edge == (round(exponent, 9) in (0.3, 1.0))


def test_of_two_sizes_all_exponents_are_in_the_interval() -> None:
    losses = np.array([[3.0, 3.0], [2.0, 2.0]])
    found = learning_curve([0.5, 1.0], losses, np.random.default_rng(0))
    assert (found.exponent, found.at_the_edge) == (0.5, False)
    assert found.estimation_error == pytest.approx(1 / (2**0.5 - 1))
    assert (found.interval.low, found.interval.high) == pytest.approx((1 / (2**1.0 - 1), 1 / (2**0.3 - 1)))


def test_a_loss_that_rises_with_the_examples_has_no_estimation_error() -> None:
    losses = np.array([[1.0, 1.1], [1.2, 1.1], [1.4, 1.3]])
    found = learning_curve([1, 2, 3], losses, np.random.default_rng(0))
    assert (found.estimation_error, found.asymptote) == (0.0, pytest.approx(losses.mean()))
    assert found.interval.low == 0.0


def test_the_estimation_error_of_least_squares_is_in_its_interval() -> None:
    rng = np.random.default_rng(0)
    true, trials = 4 / (SIZES[-1] - 5), 40
    found = [learning_curve(SIZES, learned(rng, 4), rng) for _ in range(trials)]
    held = sum(curve.interval.low <= true <= curve.interval.high for curve in found)
    assert held >= 0.85 * trials
    # And the estimate itself is of that size: at the smallest number of examples the error is 4 times as large.
    assert np.median([curve.estimation_error for curve in found]) == pytest.approx(true, abs=1.5 * true)


def test_growth_of_the_estimation_error() -> None:
    rng = np.random.default_rng(1)
    grown = [estimation_growth(SIZES, learned(rng, 3, seeds=5), learned(rng, 20, 1.5, 5), rng) for _ in range(6)]
    same = [estimation_growth(SIZES, learned(rng, 4, seeds=5), learned(rng, 4, seeds=5), rng) for _ in range(12)]
    back = estimation_growth(SIZES, learned(rng, 20, 1.5, 5), learned(rng, 3, seeds=5), rng)
    assert [one.supports for one in grown].count(True) >= 5
    assert [one.supports for one in same].count(None) >= 11
    assert back.supports is False
    assert "grows" in grown[0].finding
    assert grown[0].numbers["after"] > grown[0].numbers["before"]


def test_without_a_second_seed_nothing_is_decided() -> None:
    rng = np.random.default_rng(0)
    found = estimation_growth(SIZES, learned(rng, 3, seeds=1), learned(rng, 20, 2.0, 1), rng)
    assert (found.supports, np.isnan(found.interval.low)) == (None, True)
    assert "one training seed" in found.finding
    rows = np.array([[3.0], [2.0], [1.0]])
    assert capacity_growth((1, 2, 3), rows, 2 * rows, 1, rng).supports is None


def capacities(rng: np.random.Generator, weights: tuple[float, ...]) -> NDArray[np.float64]:
    """(K, S) losses of regressions on the first 1, 2 and all features; what they leave out is the sum of squares."""
    true = np.array(weights)
    return np.array([[least_squares(rng, 300, true, used, 0.3) for _ in range(3)] for used in (1, 2, len(true))])


def test_growth_of_the_approximation_error() -> None:
    rng = np.random.default_rng(0)
    simple, spread = (1.0, 1.0, 0.1, 0.0), (1.0, 1.0, 0.7, 0.6)
    found = capacity_growth((1, 2, 4), capacities(rng, simple), capacities(rng, spread), 1, rng)
    # The terms: what features 3 and 4 explain.
    assert (found.numbers["before"], found.numbers["after"]) == pytest.approx((0.01, 0.85), abs=0.02)
    assert found.supports is True
    assert found.interval.low < 0.84 < found.interval.high
    same = [capacity_growth((1, 2, 4), capacities(rng, spread), capacities(rng, spread), 1, rng) for _ in range(20)]
    assert [one.supports for one in same].count(None) >= 18


def test_sizes_and_losses_that_make_no_sense() -> None:
    rng, losses = np.random.default_rng(0), np.ones((2, 3))
    for sizes in ([1.0], [2.0, 1.0], [0.0, 1.0], [1.0, 1.0]):
        with pytest.raises(ValueError, match="sizes: found"):
            learning_curve(sizes, losses, rng)
    with pytest.raises(ValueError, match=r"losses: found shape \(2, 3\), expected \(3, seeds\)"):
        learning_curve([1, 2, 3], losses, rng)
    with pytest.raises(ValueError, match="not finite"):
        learning_curve([1, 2], losses * np.nan, rng)
    with pytest.raises(ValueError, match="own: found 1"):
        capacity_growth((1, 2), losses, losses, 1, rng)
    with pytest.raises(ValueError, match="capacities: found"):
        capacity_growth((2, 1), losses, losses, 0, rng)


def metrics(rng: np.random.Generator, near: float, far: float) -> StereoMetrics:
    """Disparity errors of 40 frames: 900 near and 100 far pixels, on cars 20 near and 80 far ones, no pedestrians."""
    shape = (40, len(REGIONS), len(RANGES_M))
    pixels, error = np.zeros(shape, np.int64), np.zeros(shape)
    shift = rng.normal(0, 0.01)
    for row, (near_pixels, far_pixels) in enumerate(((900, 100), (20, 80))):
        pixels[:, row, 1], pixels[:, row, 3] = near_pixels, far_pixels
        error[:, row, 1] = near_pixels * (near + shift + rng.normal(0, 0.05, 40))
        error[:, row, 3] = far_pixels * (far + shift + rng.normal(0, 0.05, 40))
    pixels[:, :, 0], error[:, :, 0] = pixels[:, :, 1:].sum(axis=2), error[:, :, 1:].sum(axis=2)
    names = tuple(f"{i:06d}" for i in range(40))
    nothing = np.zeros(shape)
    return StereoMetrics(names, pixels, error, nothing, nothing.astype(np.int64), nothing, float("nan"))


def test_an_error_that_falls_on_average_and_rises_where_it_matters() -> None:
    rng = np.random.default_rng(0)
    before = [metrics(rng, 1.3, 1.1) for _ in range(3)]
    after = [metrics(rng, 1.2, 1.2) for _ in range(3)]

    def changed(losses: Callable[[Sequence[StereoMetrics]], Sequence[ItemLosses]], seeds: int = 3) -> Change:
        return change("u", losses(before[:seeds]), losses(after[:seeds]), rng, trained=True)

    def on_cars(*counts: int, seeds: int = 3) -> Change:
        return changed(lambda of: losses_on_objects(of, "Car", counts), seeds)

    overall = changed(lambda of: [region_loss(one, "all", 0) for one in of])
    assert overall.difference == pytest.approx(-0.1 * 0.9 + 0.1 * 0.1, abs=0.03)
    # Of their pixels eight in ten are far; of their objects that is another question.
    assert on_cars(0, 0, 0).difference == pytest.approx(-0.1 * 0.2 + 0.1 * 0.8, abs=0.03)
    assert on_cars(9, 0, 1).difference == pytest.approx(-0.1 * 0.9 + 0.1 * 0.1, abs=0.03)
    assert on_cars(5, 0, 0).difference == pytest.approx(-0.1, abs=0.03)
    cars = mismatch(overall, on_cars(1, 0, 9))
    assert (cars.term, cars.supports) == ("upstream", True)
    assert re.search(r"rises on its objects \(1\.\d+ to 1\.\d+ px\), and falls over all pixels", cars.finding)
    assert mismatch(overall, on_cars(1, 0, 0)).supports is False
    pedestrians = changed(lambda of: losses_on_objects(of, "Pedestrian", (0, 0, 0)))
    assert mismatch(overall, pedestrians).supports is None
    assert mismatch(overall, on_cars(1, 0, 9, seeds=1)).supports is None, "one seed decides nothing"


def shifted(by: float, seed: int, seeds: int = 4) -> Change:
    """The change of a loss that rises by about `by`."""
    rng = np.random.default_rng(seed)
    items = tuple(str(i) for i in range(60))
    sides = [[MeanLoss(items, rng.normal(mean, 0.1, 60), np.ones(60)) for _ in range(seeds)] for mean in (1, 1 + by)]
    return change("w", sides[0], sides[1], rng, trained=True)


@pytest.mark.parametrize(
    ("full", "near", "supports", "says"),
    [
        (0.5, 0.0, True, "with near-only training it is not shown to rise"),
        (0.5, 0.2, True, "with near-only training it rises less"),
        (0.5, 0.5, None, "rises also with near-only training"),
        (0.0, 0.5, None, "is undecided, so there may be nothing to cure"),
        (-0.5, 0.0, None, "has nothing to cure"),
    ],
)
def test_near_only_training(full: float, near: float, supports: bool | None, says: str) -> None:
    found = intervention(shifted(full, 0), shifted(near, 3))
    assert (found.supports, found.term) == (supports, "downstream")
    assert says in found.finding
    assert found.interval.low < near - full < found.interval.high


def test_a_rise_beside_no_rise_is_no_difference() -> None:
    # Worse and undecided, but by about as much: not what near-only training cures.
    worse = Change("w", 1, 1.3, 0.3, Interval(0.1, 0.6), 0.95, (0.3, 0.3), True, 0.02, "worse")
    undecided = Change("w", 1, 1.2, 0.2, Interval(-0.2, 0.3), 0.95, (0.2, 0.2), True, 0.1, "undecided")
    found = intervention(worse, undecided)
    assert found.supports is None
    assert (found.interval.low, found.interval.high) == pytest.approx((-0.1 - 0.5, -0.1 + 0.05**0.5))
    assert "one training seed" in intervention(worse, shifted(0.0, 0, seeds=1)).finding


def test_fraction_of_the_way_to_the_oracle() -> None:
    rng = np.random.default_rng(0)
    items = tuple(str(i) for i in range(100))
    hard = rng.normal(10, 5, 100)

    def model(mean: float, seeds: int = 3) -> list[MeanLoss]:
        return [MeanLoss(items, hard + mean + rng.normal(0, 0.05, 100), np.ones(100)) for _ in range(seeds)]

    found = oracle_gap(model(2.0), model(1.5), model(0.0), rng, trained=True)
    assert found.gap == pytest.approx(2.0, abs=0.03)
    assert found.gap_interval.low < 2.0 < found.gap_interval.high
    assert found.fraction == pytest.approx(0.25, abs=0.02)
    assert found.interval.low < 0.25 < found.interval.high
    assert found.interval.high - found.interval.low < 0.2
    assert oracle_gap(model(2.0), model(2.5), model(0.0), rng, trained=True).fraction < 0
    # Drawn items that hold nothing to score are left out.
    counts = np.array([1.0, 1, 1] + [0] * 97)
    rare = [[MeanLoss(items, loss * counts, counts)] for loss in (3.0, 2.0, 1.0)]
    assert oracle_gap(rare[0], rare[1], rare[2], rng, trained=False).interval == Interval(0.5, 0.5)
    # No way to go, so no fraction of it; one seed, so no interval; nothing trained, so one is enough.
    assert np.isnan(oracle_gap(model(0.0), model(0.5), model(0.0), rng, trained=True).fraction)
    assert np.isnan(oracle_gap(model(2.0, 1), model(1.5, 1), model(0.0, 1), rng, trained=True).fraction)
    assert oracle_gap(model(2.0, 1), model(1.5, 1), model(0.0, 1), rng, trained=False).interval.low > 0.2


def test_conclusions() -> None:
    def evidence(term: str, supports: bool | None, finding: str) -> Evidence:
        return Evidence(term, finding, supports, {}, Interval(0, 1), "an assumption")  # type: ignore[arg-type]

    found = (("upstream", True, "a"), ("upstream", False, "b"), ("downstream", None, "c"))
    lines = conclude([evidence(*one) for one in found])
    assert lines[:4] == [
        "The evidence supports that the upstream error grew: a.",
        "The evidence speaks against a growth of the upstream error: b.",
        "On the upstream error the evidence disagrees.",
        "Whether the downstream error grew is left open: c.",
    ]
    assert lines[4] == "Nothing was measured that speaks of the approximation or the estimation error."
    assert "how much of the change is due to which is not shown" in lines[5]
    # Without a finding there is nothing to qualify.
    assert len(conclude([evidence("downstream", None, "c")])) == 2
