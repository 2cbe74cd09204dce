"""What to do about an update: of each vertex' versions the best ones under a budget of time, and whether that is shown.

A remedy gives a vertex another version than the plain update does. The choice among them is made on one half of the
test items and reported on the other, for the best of many looks better than it is on the items that it was chosen by.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import InputError
from pseudolidar.statistics import CONFIDENCE, Estimate, holm, signed
from pseudolidar.systems.losses import ItemLosses
from pseudolidar.systems.verdicts import Change, Word, change

PLAIN = "update"
"""The name of the plain update among the remedies."""

_ROUNDING = 1 + 1e-9


@dataclass(frozen=True, eq=False)
class SomeItems:
    """A test loss over n of its items, by their places (n,); an `ItemLosses` itself."""

    loss: ItemLosses
    places: NDArray[np.int64]

    @property
    def items(self) -> tuple[str, ...]:
        """Names of the items at these places."""
        return tuple(self.loss.items[place] for place in self.places)

    @property
    def unit(self) -> str:
        """That of the loss over all items."""
        return self.loss.unit

    @cached_property
    def scored(self) -> int:
        """How many of these items have something to score: the loss of one without, by itself, is NaN."""
        return int(np.isfinite(self.of(np.eye(len(self.places), dtype=np.int64))).sum())

    def of(self, weights: NDArray[np.int64]) -> NDArray[np.float64]:
        """The test loss (R,) for weights (R, n) of these items; all others weigh nothing."""
        every = np.zeros((len(weights), len(self.loss.items)), np.int64)
        every[:, self.places] = weights
        return self.loss.of(every)

    def value(self) -> float:
        """The test loss of these items, each once."""
        return float(self.of(np.ones((1, len(self.places)), np.int64))[0])


@dataclass(frozen=True)
class Tried:
    """A vertex with a remedy.

    Attributes:
        from_old: change of the test loss from the old system's.
        negative, positive: items, percent, that flip from the old system.
        from_update: change of the test loss from the plain update's; None for that itself.
        negative_from_update: change of `negative` from the plain update's, percent; None for that itself.
    """

    from_old: Change
    negative: Estimate
    positive: Estimate
    from_update: Change | None
    negative_from_update: Change | None


def halves(items: int, random: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The places of a random half of so many items, and of the other, each in rising order."""
    order = random.permutation(items)
    return np.sort(order[: items // 2]), np.sort(order[items // 2 :])


@dataclass(frozen=True)
class Version:
    """A way to fill the place of a vertex.

    Attributes:
        losses: test losses of each training seed, of all versions on the same items.
        is_trained: whether another training seed gives other losses.
        parts: what runs for it, by name, s for an item; what two versions name alike runs once for both.
    """

    losses: Sequence[ItemLosses]
    is_trained: bool
    parts: Mapping[str, float]


Versions = Mapping[str, Mapping[str, Version]]
"""By vertex, its versions by the names of the remedies."""


def item_seconds(chosen: Iterable[Version]) -> float:
    """The time of an item in a system of these versions, s: each part once."""
    parts: dict[str, float] = {}
    for version in chosen:
        parts |= version.parts
    return sum(parts.values())


def best_assignment(
    losses: Mapping[str, Mapping[str, float]], versions: Versions, budget_s: float = float("inf")
) -> dict[str, str]:
    """The version of each vertex that makes the sum of losses lowest, where an item takes at most `budget_s`, s.

    `losses`: by vertex, those of the versions that are to choose from. Of equal sums the fastest, then the first named.
    Exact, by dynamic programming over the vertices: of two choices that leave the same parts running for those to come,
    the one that is slower and no better is dropped.

    Raises:
        ValueError: no assignment is that fast.
    """
    names = list(losses)
    states: dict[frozenset[str], list[tuple[float, float, tuple[str, ...]]]] = {frozenset(): [(0.0, 0.0, ())]}
    for place, vertex in enumerate(names):
        to_come = {part for later in names[place + 1 :] for one in losses[later] for part in versions[later][one].parts}
        reached: dict[frozenset[str], list[tuple[float, float, tuple[str, ...]]]] = {}
        for running, choices in states.items():
            for name, loss in losses[vertex].items():
                parts = versions[vertex][name].parts
                more = sum(seconds for part, seconds in parts.items() if part not in running)
                kept = running.union(parts) & to_come
                reached.setdefault(kept, []).extend((s + more, total + loss, (*c, name)) for s, total, c in choices)
        states = {kept: _undominated(choices, budget_s) for kept, choices in reached.items()}
    ends = sorted((total, seconds, number) for number, (seconds, total, _) in enumerate(states[frozenset()]))
    if not ends:
        raise ValueError(f"budget_s: found {budget_s:g}, expected the time of some assignment or more")
    return dict(zip(names, states[frozenset()][ends[0][2]][2], strict=True))


def _undominated(
    choices: list[tuple[float, float, tuple[str, ...]]], budget_s: float
) -> list[tuple[float, float, tuple[str, ...]]]:
    kept: list[tuple[float, float, tuple[str, ...]]] = []
    for choice in sorted(choices, key=lambda one: one[:2]):
        if choice[0] <= budget_s * _ROUNDING and (not kept or choice[1] < kept[-1][1]):
            kept.append(choice)
    return kept


@dataclass(frozen=True)
class Advice:
    """What is chosen for a vertex on one half of the items, and what the other half says of it.

    Attributes:
        chosen: name of the version.
        change: of the test loss from the plain update's, on the other half; None where that itself is chosen.
        is_shown: whether the chosen version is shown to be better than the plain update's, after correction for the
            number of remedies and of vertices.
    """

    chosen: str
    change: Change | None
    is_shown: bool


@dataclass(frozen=True)
class Recommendation:
    """Versions that are recommended over the plain update.

    Attributes:
        plain: name of the plain update's versions.
        advice: by vertex.
        versions: by vertex, those to take: the plain update's where no other is shown to be better.
        items: how many the choice was made by, and how many it is reported on.
        remedies: how many there are at most for a vertex.
        time: of an item, in those of the plain update.
    """

    plain: str
    advice: Mapping[str, Advice]
    versions: Mapping[str, str]
    items: tuple[int, int]
    remedies: int
    time: float

    @property
    def taken(self) -> dict[str, str]:
        """The vertices for which a remedy is recommended, and which."""
        return {vertex: version for vertex, version in self.versions.items() if version != self.plain}

    def sentence(self) -> str:
        """The recommendation in a sentence."""
        by_version: dict[str, list[str]] = {}
        for vertex, version in self.taken.items():
            found = self.advice[vertex].change
            assert found is not None
            digits = found.interval.digits
            low, high = (signed(end, digits) for end in (found.interval.low, found.interval.high))
            by_version.setdefault(version, []).append(f"{vertex} ({signed(found.difference, digits)}, {low} to {high})")
        if not by_version:
            reasons = {one.change.reason for one in self.advice.values() if one.change is not None}
            why = f", {reasons.pop()}" if len(reasons) == 1 and "" not in reasons else ""
            return f"No remedy is shown to be better than the plain update{why}."
        units = {one.change.unit for one in self.advice.values() if one.change is not None}
        of = f" in {units.pop()}" if len(units) == 1 and "" not in units else ""
        words = "; ".join(f"{version} for {' and '.join(vertices)}" for version, vertices in by_version.items())
        rest = "" if len(self.taken) == len(self.versions) else " Everything else is as in the plain update."
        return f"Recommended (change of the test loss against the plain update{of}, 95 % interval): {words}.{rest}"

    def basis(self) -> str:
        """What the recommendation rests on, in a sentence or two."""
        many = (
            "" if self.remedies == 1 else f" {self.remedies} remedies (the trainings are the same in both halves) and"
        )
        return (
            f"Chosen by the test losses on {self.items[0]} items, reported on the {self.items[1]} others, and "
            f"recommended only where the change there is an improvement after correction for{many} "
            f"{len(self.advice)} {'vertex' if len(self.advice) == 1 else 'vertices'} (Holm). An item takes "
            f"{self.time:.2f} x the plain update's time."
        )


def recommend(
    versions: Versions,
    plain: str,
    random: np.random.Generator,
    time_budget: float | None = None,
    confidence: float = 0.95,
) -> Recommendation | None:
    """Choose a version for every vertex on a half of the items, and report on the other half.

    The split keeps what items do by chance out of the report. Trainings are the same in both halves: the version whose
    seeds happen to be good is chosen, and is as good in the report. So each p-value is multiplied by the number of the
    vertex' remedies (Bonferroni), and then corrected for the number of vertices (Holm): where no remedy is better than
    the plain update, one is recommended with a probability of at most (1 - confidence) / 2, whatever chance does to
    items and seeds.

    Args:
        versions: all on the same items, with the plain update's, by the name `plain`, at each vertex.
        time_budget: how long an item may take, in the plain update's time, 1 or more; None: as long as it likes.

    Returns:
        None where there are no two halves with something to score for any vertex.

    Raises:
        InputError: a budget below 1.
    """
    if time_budget is not None and not time_budget >= 1.0:
        raise InputError(f"time_budget: found {time_budget}, expected 1 (the plain update's time) or more")
    items = len(next(iter(next(iter(versions.values())).values())).losses[0].items) if versions else 0
    choosing, reporting = halves(items, random)
    means = {
        vertex: {name: np.array([_mean(one, half) for half in (choosing, reporting)]) for name, one in found.items()}
        for vertex, found in versions.items()
    }
    scored = [vertex for vertex, found in means.items() if np.isfinite([*found.values()]).all()]
    if not scored:
        return None
    plain_s = item_seconds(versions[vertex][plain] for vertex in scored)
    budget_s = float("inf") if time_budget is None else time_budget * plain_s
    first_plain = {vertex: sorted(means[vertex], key=lambda name: name != plain) for vertex in scored}
    losses = {vertex: {name: float(means[vertex][name][0]) for name in first_plain[vertex]} for vertex in scored}
    chosen = best_assignment(losses, versions, budget_s)
    changes: dict[str, Change] = {}
    for vertex, name in chosen.items():
        if name != plain:
            sides = versions[vertex][plain], versions[vertex][name]
            before, after = (_part(side, reporting) for side in sides)
            trained = any(side.is_trained for side in sides)
            changes[vertex] = change(vertex, before, after, random, trained, confidence=confidence)
    tried = {vertex: len(versions[vertex]) - 1 for vertex in scored}
    p_values = [tried[vertex] * changes[vertex].p_value if vertex in changes else np.nan for vertex in scored]
    kept = dict(zip(scored, holm(p_values, 1 - confidence), strict=True))
    advice = {}
    for vertex, name in chosen.items():
        found = changes.get(vertex)
        advice[vertex] = Advice(name, found, kept[vertex] and found is not None and found.word == "improved")
    # Without those that are not shown to be better, others may be too slow: the plain update has to run for the rest.
    left = {
        vertex: {name: loss for name, loss in losses[vertex].items() if name == plain or name == one.chosen}
        if one.is_shown
        else {plain: losses[vertex][plain]}
        for vertex, one in advice.items()
    }
    final = best_assignment(left, versions, budget_s)
    seconds = item_seconds(versions[vertex][name] for vertex, name in final.items())
    time = seconds / plain_s if plain_s else 1.0
    return Recommendation(plain, advice, final, (len(choosing), len(reporting)), max(tried.values()), time)


def corrected_words(changes: Mapping[str, Change]) -> dict[str, Word]:
    """The words of changes, undecided where Holm's correction for their number leaves them so."""
    kept = holm([found.p_value for found in changes.values()], 1 - CONFIDENCE)
    return {
        name: found.word if holds else "undecided" for (name, found), holds in zip(changes.items(), kept, strict=True)
    }


def _part(version: Version, places: NDArray[np.int64]) -> list[SomeItems]:
    return [SomeItems(loss, places) for loss in version.losses]


def _mean(version: Version, places: NDArray[np.int64]) -> float:
    return float(np.mean([loss.value() for loss in _part(version, places)])) if len(places) else float("nan")
