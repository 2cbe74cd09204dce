"""Versions chosen under a budget of time, against all assignments; a null update, for which nothing is recommended."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pseudolidar.files import InputError
from pseudolidar.systems import MeanLoss
from pseudolidar.systems.losses import ItemLosses
from pseudolidar.systems.remedies import (
    Recommendation,
    SomeItems,
    Version,
    Versions,
    best_assignment,
    halves,
    item_seconds,
    recommend,
)


def losses(by_seed: NDArray[np.float64]) -> list[MeanLoss]:
    """(S, F) losses."""
    items = tuple(str(i) for i in range(by_seed.shape[1]))
    return [MeanLoss(items, row, np.ones(len(items)), "px") for row in by_seed]


@st.composite
def problems(draw: st.DrawFn) -> tuple[dict[str, dict[str, float]], Versions]:
    """Up to four vertices of up to three versions, of whole losses and seconds, whose parts are shared at random."""
    part_s = {part: float(draw(st.integers(0, 4))) for part in "abcde"}
    values: dict[str, dict[str, float]] = {}
    versions: dict[str, dict[str, Version]] = {}
    for vertex in "wxyz"[: draw(st.integers(1, 4))]:
        names = "pqr"[: draw(st.integers(1, 3))]
        values[vertex] = {name: float(draw(st.integers(0, 5))) for name in names}
        versions[vertex] = {
            name: Version((), True, {part: part_s[part] for part in draw(st.sets(st.sampled_from("abcde")))})
            for name in names
        }
    return values, versions


@given(problems(), st.integers(0, 14))
@settings(max_examples=150, deadline=None)
def test_the_best_assignment_is_the_best_of_all(
    problem: tuple[dict[str, dict[str, float]], Versions], budget_s: int
) -> None:
    values, versions = problem
    every = [dict(zip(values, names, strict=True)) for names in itertools.product(*values.values())]

    def outcome(names: dict[str, str]) -> tuple[float, float]:
        return (
            sum(values[vertex][name] for vertex, name in names.items()),
            item_seconds(versions[vertex][name] for vertex, name in names.items()),
        )

    allowed = [outcome(names) for names in every if outcome(names)[1] <= budget_s]
    if not allowed:
        with pytest.raises(ValueError, match="expected the time of some assignment"):
            best_assignment(values, versions, budget_s)
        return
    assert outcome(best_assignment(values, versions, budget_s)) == min(allowed)


def test_a_loss_of_some_items_is_that_of_them_alone() -> None:
    rng = np.random.default_rng(0)
    total, count = rng.normal(size=9), np.array([1.0, 0, 2, 0, 0, 1, 3, 1, 0])
    whole = MeanLoss(tuple("abcdefghi"), total * count, count)
    places = np.array([0, 1, 2, 4, 8])
    part, alone = SomeItems(whole, places), MeanLoss(tuple("abcei"), (total * count)[places], count[places])
    weights = rng.integers(0, 3, (20, 5))
    np.testing.assert_allclose(part.of(weights), alone.of(weights))
    assert (part.items, part.scored, part.value()) == (alone.items, 2, pytest.approx(alone.value()))
    first, second = halves(9, rng)
    assert (len(first), len(second)) == (4, 5) and sorted([*first, *second]) == list(range(9))


def simulated(
    rng: np.random.Generator, better: float = 0.0, seed_noise: float = 0.3, item_noise: float = 1.0, seeds: int = 5
) -> Versions:
    """Two vertices of a plain update and three remedies on 40 items; the second vertex' `mixed` is better by a value.

    Noise of seeds is a version's own at each seed, that of items its own at each item.
    """

    def version(shift: float, hard: NDArray[np.float64]) -> Version:
        own = seed_noise * rng.normal(size=(seeds, 1)) + item_noise * rng.normal(size=(1, 40))
        by_item: list[ItemLosses] = [*losses(hard + own - shift)]
        return Version(by_item, True, {"u'": 1.0})

    found: dict[str, dict[str, Version]] = {}
    for vertex in ("v", "w"):
        hard = 10 + rng.normal(size=(1, 40))
        names = ("update", "keep", "calibrate", "mixed")
        found[vertex] = {n: version(better if (vertex, n) == ("w", "mixed") else 0.0, hard) for n in names}
    return found


@pytest.mark.parametrize(("seed_noise", "item_noise"), [(0.3, 1.0), (1.0, 0.05)])
def test_of_null_updates_at_most_one_in_twenty_is_given_a_remedy(seed_noise: float, item_noise: float) -> None:
    rng = np.random.default_rng(0)
    studies = 200
    advised = 0
    for _ in range(studies):
        found = recommend(simulated(rng, 0.0, seed_noise, item_noise), "update", rng)
        assert found is not None
        advised += bool(found.taken)
    assert advised <= studies / 20


def advice(better: float, seeds: int = 5) -> Recommendation:
    rng = np.random.default_rng(1)
    found = recommend(simulated(rng, better, seeds=seeds), "update", rng)
    assert found is not None
    return found


def test_a_remedy_that_helps_is_recommended_where_it_does() -> None:
    found = advice(3.0)
    assert found.taken == {"w": "mixed"}
    assert "px, 95 % interval): mixed for w (−" in found.sentence()
    assert "else is as in the plain update" in found.sentence()
    assert "on 20 items, reported on the 20 others" in found.basis()


def test_one_seed_recommends_nothing_and_says_why() -> None:
    found = advice(3.0, seeds=1)
    assert not found.taken and found.advice["w"].chosen == "mixed"
    assert "since one training seed says nothing" in found.sentence()


def test_what_is_not_shown_leaves_the_rest_in_the_budget() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(size=(3, 40))

    def version(loss: float, **parts: float) -> Version:
        return Version(losses(hard + loss + 0.01 * rng.normal(size=(3, 40))), True, parts)

    clear = {"update": version(5.0, new=1.0), "keep": version(0.0, old=1.0)}
    # By chance alone the old one looks better, so that everything could stay on it.
    equal = {"update": version(1e-4, new=1.0), "keep": version(-1e-4, old=1.0)}
    free = recommend({"v": clear, "w": equal}, "update", np.random.default_rng(0))
    bound = recommend({"v": clear, "w": equal}, "update", np.random.default_rng(0), time_budget=1.0)
    assert free is not None and bound is not None
    assert (free.taken, free.time) == ({"v": "keep"}, 2.0)
    assert (bound.taken, bound.time) == ({}, 1.0), "both upstream models would have to run"
    with pytest.raises(InputError, match=r"found 0\.5, expected 1 "):
        recommend({"v": clear}, "update", rng, time_budget=0.5)


def test_without_two_halves_to_score_there_is_no_recommendation() -> None:
    rng = np.random.default_rng(0)
    one = {name: Version(losses(np.ones((3, 1))), True, {}) for name in ("update", "keep")}
    assert recommend({"v": one}, "update", rng) is None
    assert recommend({}, "update", rng) is None
