"""What to do about an update: w with each remedy against the old system and the plain update, and advice."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import InputError
from pseudolidar.illustrations.mismatches.figures import level
from pseudolidar.illustrations.mismatches.models import (
    CalibratedValue,
    CongruentDownstream,
    Downstream,
    MixedDownstream,
    SecondTraining,
    Upstream,
    WhitenedFeatures,
)
from pseudolidar.illustrations.mismatches.results import Finished
from pseudolidar.illustrations.mismatches.series import BEST_FUNCTION, BEST_OF_KIND, DOWNSTREAM, Pair, Series
from pseudolidar.statistics import CONFIDENCE
from pseudolidar.systems import ArtifactStore, Change, Flips, MeanLoss, Model, System, Vertex, change, make_stages
from pseudolidar.systems.remedies import PLAIN, Recommendation, Tried, recommend
from pseudolidar.systems.remedies import Version as RemedyVersion

REMEDIES: Mapping[str, str] = {
    PLAIN: "plain update",
    "keep": "keep: w stays on the old one",
    "calibrate": "calibrate: value to what is right on average",
    "whiten": "whiten: features without correlation",
    "mixed": "mixed: w trained on both versions",
    "congruent": "congruent: w held to the old w",
    "both": "both: w sees both versions",
    "ensemble": "ensemble: w sees two trainings of the new one",
    "larger": "larger: one more hidden layer in w",
    "more data": "more data: half of the test images besides",
    "partner": "partner: the other upstream model replaced, too",
}
"""What each does."""
CONGRUENCE = 5.0
"""Weight of what holds w to the old w."""
_WIDTH = 64

Remedy = tuple[System, str, int]
"""A system, the vertex in it that is w, and how many networks run before it."""


def judged_pairs(series: Series) -> list[Pair]:
    """The updates that remedies are tried on: of one upstream model, from one end of the series to the other.

    Chosen before anything is trained: remedies for the update that looks worst would look better than they are.
    """
    return [
        pair
        for pair in dict.fromkeys(series.pairs)
        if len(_replaced(series, pair)) == 1
        and all(BEST_FUNCTION in series.versions[end].system.vertices for end in (pair.before, pair.after))
    ]


def _replaced(series: Series, pair: Pair) -> list[str]:
    places = (series.versions[end].place for end in (pair.before, pair.after))
    return [name for name, a, b in zip(series.upstream, *places, strict=True) if a != b]


def series_remedies(series: Series, pair: Pair) -> dict[str, Remedy]:
    """The plain update and the remedies that make sense for it, in the order of `REMEDIES`."""
    before, after = (series.versions[end].system for end in (pair.before, pair.after))
    (replaced,) = _replaced(series, pair)
    found = dict(update_remedies(before, after, replaced))
    if len(series.upstream) > 1:
        found["partner"] = (series.versions[-1].system, DOWNSTREAM, len(series.upstream))
    return {name: found[name] for name in REMEDIES if name in found}


def update_remedies(before: System, after: System, replaced: str) -> Iterator[tuple[str, Remedy]]:
    """The plain update of one upstream model, and remedies that need no other systems than these."""
    vertex = after.vertices[DOWNSTREAM]
    model, upstream = vertex.model, after.vertices[replaced].model
    assert isinstance(model, Downstream) and isinstance(upstream, Upstream)
    old, old_w, networks = f"{replaced}-before", f"{DOWNSTREAM}-before", len(vertex.parents)
    taken = {parent: (after, parent) for parent in vertex.parents}
    older = taken | {old: (before, replaced)}

    def with_w(name: str, downstream: Vertex, taken: Mapping[str, tuple[System, str]], networks: int) -> Remedy:
        return System(after.data, [downstream], name, taken), DOWNSTREAM, networks

    def mapped(name: str, output_map: Model) -> Remedy:
        unmapped = f"{replaced}-unmapped"
        others = {parent: of for parent, of in taken.items() if parent != replaced} | {unmapped: (after, replaced)}
        return (
            System(after.data, [Vertex(replaced, output_map, (unmapped,)), vertex], name, others),
            DOWNSTREAM,
            networks,
        )

    yield PLAIN, (after, DOWNSTREAM, networks)
    yield "keep", (before, DOWNSTREAM, networks)
    if upstream.passed == "output":
        yield "calibrate", mapped("calibrate", CalibratedValue(upstream.question))
    if upstream.passed == "features":
        yield "whiten", mapped("whiten", WhitenedFeatures())
    mixed = MixedDownstream(**vars(model), replaced=replaced, older=old)
    yield "mixed", with_w("mixed", replace(vertex, model=mixed, trained_on={old: "predict"}), older, networks)
    congruent = CongruentDownstream(**vars(model), replaced=replaced, older=old, downstream=old_w, weight=CONGRUENCE)
    held = replace(vertex, model=congruent, trained_on={old: "predict", old_w: "train"})
    yield "congruent", with_w("congruent", held, older | {old_w: (before, DOWNSTREAM)}, networks)
    yield "both", with_w("both", replace(vertex, parents=(*vertex.parents, old)), older, networks + 1)
    again, parents = f"{replaced}-again", after.vertices[replaced].parents
    second = Vertex(again, SecondTraining(**vars(upstream)), parents)
    wider = replace(vertex, parents=(*vertex.parents, again))
    from_after = taken | {parent: (after, parent) for parent in parents}
    yield "ensemble", (System(after.data, [second, wider], "ensemble", from_after), DOWNSTREAM, networks + 1)
    larger = replace(vertex, model=replace(model, hidden=(*model.hidden, _WIDTH)))
    yield "larger", with_w("larger", larger, taken, networks)
    if BEST_OF_KIND in after.vertices:
        yield "more data", (after, BEST_OF_KIND, networks)


@dataclass(frozen=True)
class TriedNetworks(Tried):
    """w with a remedy, and how many networks run before it; flips are of test images."""

    networks: int


@dataclass(frozen=True, eq=False)
class RemediedUpdate:
    """An update of a series with all remedies, the plain update first; what is recommended."""

    series: Series
    pair: Pair
    tried: Mapping[str, TriedNetworks]
    recommendation: Recommendation


def run_remedies(
    store: ArtifactStore, series: Sequence[Series], seeds: int, workers: int = 1
) -> tuple[RemediedUpdate, ...]:
    """Train and test what is not finished, with seeds 0, 1, ...; InputError if a stage fails."""
    updates = [(each, pair, series_remedies(each, pair)) for each in series for pair in judged_pairs(each)]
    stages = [
        stage
        for *_, remedies in updates
        for system, _, _ in remedies.values()
        for seed in range(seeds)
        for stage in system.stages(seed).values()
    ]
    for failure in make_stages(store, stages, workers).failed:
        raise InputError(f"{failure.stage}: {failure.message}")
    found = []
    for each, pair, remedies in updates:
        losses = {
            name: [_test_loss(store, system, vertex, seed) for seed in range(seeds)]
            for name, (system, vertex, _) in remedies.items()
        }
        networks = {name: count for name, (_, _, count) in remedies.items()}
        found.append(RemediedUpdate(each, pair, tried(losses, networks, seeds), advised(losses, networks, seeds)))
    return tuple(found)


def _test_loss(store: ArtifactStore, system: System, vertex: str, seed: int) -> MeanLoss:
    loss = system.test_loss(store, vertex, seed)
    assert isinstance(loss, MeanLoss)
    return loss


def tried(
    losses: Mapping[str, Sequence[MeanLoss]], networks: Mapping[str, int], seeds: int
) -> dict[str, TriedNetworks]:
    """What remedies do, from w's test losses by seed; `keep` is the old system."""
    random = np.random.default_rng(seeds)

    def changed(a: Sequence[MeanLoss], b: Sequence[MeanLoss]) -> Change:
        return change(DOWNSTREAM, a, b, random, trained=True, confidence=CONFIDENCE)

    found = {}
    plain_negative, _ = _flips(losses["keep"], losses[PLAIN])
    for name, of in losses.items():
        negative, positive = _flips(losses["keep"], of)
        is_plain = name == PLAIN
        found[name] = TriedNetworks(
            changed(losses["keep"], of),
            level(negative),
            level(positive),
            None if is_plain else changed(losses[PLAIN], of),
            None if is_plain else changed(plain_negative, negative),
            networks[name],
        )
    return found


def _flips(old: Sequence[MeanLoss], new: Sequence[MeanLoss]) -> tuple[list[MeanLoss], list[MeanLoss]]:
    """Negative and positive flips of each seed, percent of the images."""
    flips = [Flips(a.total == 0, b.total == 0) for a, b in zip(old, new, strict=True)]

    def losses(sides: Iterable[NDArray[np.bool_]]) -> list[MeanLoss]:
        return [
            MeanLoss(one.items, np.where(side, 100.0, 0.0), one.count, "% of images")
            for one, side in zip(old, sides, strict=True)
        ]

    return losses(of.negative for of in flips), losses(of.positive for of in flips)


def advised(losses: Mapping[str, Sequence[MeanLoss]], networks: Mapping[str, int], seeds: int) -> Recommendation:
    """The remedy to take, chosen on one half of the test images and reported on the other."""
    versions = {
        name: RemedyVersion(of, True, {f"network {number}": 1.0 for number in range(networks[name])})
        for name, of in losses.items()
    }
    found = recommend({DOWNSTREAM: versions}, PLAIN, np.random.default_rng(seeds))
    assert found is not None
    return found


def null_advice(finished: Finished) -> list[Recommendation]:
    """Of each version, what is advised for an update by nothing but other seeds: there is no reason to `keep` any."""
    half = finished.seeds // 2
    networks = {name: len(finished.series.upstream) for name in (PLAIN, "keep")}
    return [
        advised({PLAIN: of[DOWNSTREAM][half : 2 * half], "keep": of[DOWNSTREAM][:half]}, networks, half)
        for of in finished.losses
    ]
