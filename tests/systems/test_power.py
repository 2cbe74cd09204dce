"""Power beside simulated verdicts; noise that is found again; intervals that hold at every look."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from pseudolidar.files import InputError
from pseudolidar.systems import (
    ChangeNoise,
    MeanLoss,
    change,
    items_to_decide,
    look_confidence,
    noise_of_change,
    seeds_to_decide,
    smallest_change,
    verdict_power,
)

NOISES = st.builds(
    ChangeNoise, st.floats(0.01, 10), st.floats(0, 100), st.floats(0, 100), st.floats(0.2, 1, exclude_min=True)
)


def measured(
    size: float, noise: ChangeNoise, seeds: int, items: int, rng: np.random.Generator
) -> tuple[list[MeanLoss], list[MeanLoss]]:
    """Losses before and after a change of a size."""
    names, ones = tuple(map(str, range(items))), np.ones(items)
    after = size + rng.normal(0, noise.seeds, (seeds, 1)) + rng.normal(0, noise.items, items)
    after = after + rng.normal(0, noise.pairs, (seeds, items))
    return [MeanLoss(names, 0 * ones, ones)] * seeds, [MeanLoss(names, row, ones) for row in after]


@pytest.mark.parametrize(
    ("seeds", "items", "noise", "size"),
    [
        (2, 60, ChangeNoise(1, 0), 8.0),
        (3, 60, ChangeNoise(1, 8), 4.0),
        (5, 60, ChangeNoise(1, 4, 6), 2.0),
        (3, 12, ChangeNoise(0.2, 4), 3.0),
        (1, 40, ChangeNoise(0, 4), 1.5),
    ],
)
def test_power_is_that_of_the_verdict(seeds: int, items: int, noise: ChangeNoise, size: float) -> None:
    rng = np.random.default_rng(seeds)
    decided = 0
    for _ in range(300):
        losses = measured(size, noise, seeds, items, rng)
        decided += change("w", *losses, rng, noise.is_trained, replicates=200).word != "undecided"
    # Three standard deviations of the simulation.
    assert decided / 300 == pytest.approx(verdict_power(size, noise, seeds, items), abs=0.085)


def test_without_an_effect_power_is_the_rate_of_false_alarms() -> None:
    for seeds in (2, 3, 10):
        assert verdict_power(0.0, ChangeNoise(1, 0), seeds, 1000) == pytest.approx(0.05, abs=1e-3)
    assert verdict_power(0.0, ChangeNoise(0, 1), 1, 100_000) == pytest.approx(0.05, abs=1e-3)
    assert verdict_power(100.0, ChangeNoise(1, 1), 1, 100) == 0.0, "one seed decides nothing"


@settings(deadline=None, max_examples=30)
@given(NOISES, st.floats(0.1, 20), st.integers(1, 12), st.integers(10, 300))
def test_power_grows_with_seeds_frames_and_size(noise: ChangeNoise, size: float, seeds: int, items: int) -> None:
    found = verdict_power(size, noise, seeds, items)
    assert verdict_power(size, noise, seeds + 1, items) >= found - 1e-3
    assert verdict_power(size, noise, seeds, 2 * items) >= found - 1e-3
    assert verdict_power(1.2 * size, noise, seeds, items) >= found - 1e-9
    smallest = smallest_change(noise, seeds + 1, items)
    assert verdict_power(smallest, noise, seeds + 1, items) == pytest.approx(0.8, abs=1e-6)
    needed = seeds_to_decide(size, noise, items)
    if needed is not None:
        assert verdict_power(size, noise, needed, items) >= 0.8 > verdict_power(size, noise, needed - 1, items)
        assert (items_to_decide(size, noise, needed) or 0) <= items


def test_noise_is_found_again() -> None:
    true = ChangeNoise(1.0, 6.0, 9.0)
    found = noise_of_change(*measured(3.0, true, 60, 300, np.random.default_rng(0)), np.random.default_rng(0))
    assert (found.seeds, found.items, found.pairs) == pytest.approx((1.0, 6.0, 9.0), rel=0.25)
    assert found.scored == 1.0
    one = measured(3.0, true, 1, 3000, np.random.default_rng(0))
    stated = noise_of_change(*one, np.random.default_rng(0), seeds=2.0)
    assert (stated.seeds, stated.items, stated.pairs) == (2.0, pytest.approx(np.hypot(6, 9), rel=0.1), 0.0)
    with pytest.raises(InputError, match="one training"):
        noise_of_change(*one, np.random.default_rng(0))


def simulated_looks(size: float, noise: ChangeNoise, most: int, trials: int) -> tuple[float, float]:
    """Of studies with seeds=auto: the fraction whose intervals all hold the change; the seeds at which they stop."""
    rng = np.random.default_rng(0)
    held, stops = 0, []
    for _ in range(trials):
        before, after = measured(size, noise, most, 40, rng)
        looks = [
            change("w", before[:n], after[:n], rng, True, 200, look_confidence(n, most)) for n in range(2, most + 1)
        ]
        held += all(look.interval.low <= size <= look.interval.high for look in looks)
        stops.append(next((look.seeds for look in looks if look.word != "undecided"), most))
    return held / trials, float(np.mean(stops))


@pytest.mark.parametrize("size", [0.0, 4.0])
def test_intervals_hold_at_every_look(size: float) -> None:
    held, stop = simulated_looks(size, ChangeNoise(1, 2), 5, 200)
    assert held >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 200)
    assert stop > 4.7 if size == 0.0 else stop < 4.5


@settings(deadline=None, max_examples=10)
@given(st.integers(2, 15))
def test_looks_spend_what_there_is(most: int) -> None:
    looks = [look_confidence(seeds, most) for seeds in range(2, most + 1)]
    assert looks == sorted(looks, reverse=True)
    assert all(0.95 - 1e-3 <= look < 1 for look in looks)
    noise = np.random.default_rng(most).normal(size=(4000, most))
    missed = np.zeros(4000, bool)
    for seeds, look in enumerate(looks, start=2):
        missed |= ttest_1samp(noise[:, :seeds], 0.0, axis=1).pvalue < 1 - look
    assert missed.mean() == pytest.approx(0.05, abs=0.012)
