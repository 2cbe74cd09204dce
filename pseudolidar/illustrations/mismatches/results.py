"""What the four systems show: verdicts on updates, corrected for their number, error terms, and the null control."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import InputError
from pseudolidar.illustrations.decomposition import APPROXIMATION, COMPATIBILITY, ESTIMATION, UPSTREAM
from pseudolidar.illustrations.mismatches.models import read_answers
from pseudolidar.illustrations.mismatches.series import BEST_FUNCTION, BEST_OF_KIND, DOWNSTREAM, Pair, Series
from pseudolidar.statistics import CONFIDENCE, holm
from pseudolidar.systems import ArtifactStore, Change, Flips, MeanLoss, UpdateVerdict, change, make_stages

LEAST_SEEDS = 4
"""So that the null control, half against half, has two and two."""


@dataclass(frozen=True, eq=False)
class Update:
    """The verdict on one pair of a series' versions.

    Attributes:
        own: changes of the upstream models that differ, by vertex.
        downstream: change of w.
        terms: changes of the error terms, estimates; empty where they were not estimated.
        p_value: of its being self-defeating: the largest of its changes', each in the direction that makes it so; 1
            where one goes the other way.
        holds: whether it is self-defeating after Holm's correction for the number of the series' pairs.
    """

    pair: Pair
    own: Mapping[str, Change]
    downstream: Change
    terms: Mapping[str, Change]
    p_value: float
    holds: bool

    @property
    def self_defeating(self) -> bool:
        """By itself, without correction: every replaced model improves, and w gets worse."""
        verdicts = (UpdateVerdict(own, {DOWNSTREAM: self.downstream}) for own in self.own.values())
        return all(verdict.self_defeating for verdict in verdicts)


@dataclass(frozen=True, eq=False)
class Finished:
    """A finished series.

    Attributes:
        losses: test losses by version, vertex and seed.
        terms: of each decomposed version, by number: the estimated error terms, item by item, by seed.
        updates: in the order of the series' pairs.
        controls: of each version, the update by nothing but other seeds: half of the seeds against the other half.
    """

    series: Series
    seeds: int
    losses: tuple[Mapping[str, tuple[MeanLoss, ...]], ...]
    updates: tuple[Update, ...]
    controls: tuple[Update, ...]


def run_mismatches(
    store: ArtifactStore, series: Sequence[Series], seeds: int, workers: int = 1
) -> tuple[Finished, ...]:
    """Train and test what is not finished, with seeds 0, 1, ...; InputError if a stage fails, or for too few seeds."""
    if seeds < LEAST_SEEDS:
        raise InputError(f"seeds: found {seeds}, expected {LEAST_SEEDS} or more, for an interval of each half of them")
    stages = [
        stage
        for each in series
        for version in each.versions
        for seed in range(seeds)
        for stage in version.system.stages(seed).values()
    ]
    for failure in make_stages(store, stages, workers).failed:
        raise InputError(f"{failure.stage}: {failure.message}")
    return tuple(_finished(store, each, seeds) for each in series)


def _finished(store: ArtifactStore, series: Series, seeds: int) -> Finished:
    losses = tuple(_test_losses(store, series, number, seeds) for number in range(len(series.versions)))
    updates = [judged(series, pair, losses[pair.before], losses[pair.after], seeds) for pair in series.pairs]
    half = seeds // 2
    controls = [
        judged(
            series,
            Pair(number, number, "other seeds"),
            {name: of_seeds[:half] for name, of_seeds in own.items()},
            {name: of_seeds[half : 2 * half] for name, of_seeds in own.items()},
            half,
        )
        for number, own in enumerate(losses)
    ]
    return Finished(series, seeds, losses, corrected(updates), corrected(controls))


def _test_losses(store: ArtifactStore, series: Series, number: int, seeds: int) -> Mapping[str, tuple[MeanLoss, ...]]:
    system = series.versions[number].system
    losses: dict[str, tuple[MeanLoss, ...]] = {}
    for name in system.order:
        if "test" in system.vertices[name].model.steps:
            found = [system.test_loss(store, name, seed) for seed in range(seeds)]
            losses[name] = tuple(loss for loss in found if isinstance(loss, MeanLoss))
    return losses


def error_terms(series: Series, losses: Mapping[str, tuple[MeanLoss, ...]]) -> Mapping[str, tuple[MeanLoss, ...]]:
    """Estimates of the terms of w's test loss, item by item, for each seed; empty where they can't be estimated.

    Behind two upstream models all of the upstream error is compatibility error: the best second model answers for w.

    The best function of w's inputs is estimated by their nearest neighbours, the best of w's kind by one that is
    trained on the test images, too (not on those that it answers). The Bayes-optimal loss is taken for 0: people know
    a digit when they see it. An estimate may be negative.
    """
    if BEST_FUNCTION not in losses:
        return {}
    fitted, of_kind, best = (losses[name] for name in (DOWNSTREAM, BEST_OF_KIND, BEST_FUNCTION))
    first = COMPATIBILITY if len(series.upstream) > 1 else UPSTREAM
    return {first: best, APPROXIMATION: _minus(of_kind, best), ESTIMATION: _minus(fitted, of_kind)}


def _minus(a: Sequence[MeanLoss], b: Sequence[MeanLoss]) -> tuple[MeanLoss, ...]:
    return tuple(
        MeanLoss(one.items, one.total - other.total, one.count, one.unit) for one, other in zip(a, b, strict=True)
    )


def judged(
    series: Series,
    pair: Pair,
    before: Mapping[str, tuple[MeanLoss, ...]],
    after: Mapping[str, tuple[MeanLoss, ...]],
    seeds: int,
) -> Update:
    """The verdict on one update from the test losses by vertex and seed, not corrected yet."""
    places = (series.versions[number].place for number in (pair.before, pair.after))
    replaced = [
        name for name, a, b in zip(series.upstream, *places, strict=True) if a != b or pair.before == pair.after
    ]
    random = np.random.default_rng(seeds)

    def changed(name: str, a: Sequence[MeanLoss], b: Sequence[MeanLoss]) -> Change:
        return change(name, a, b, random, trained=True, confidence=CONFIDENCE)

    own = {name: changed(name, before[name], after[name]) for name in replaced}
    downstream = changed(DOWNSTREAM, before[DOWNSTREAM], after[DOWNSTREAM])
    terms_before, terms_after = (error_terms(series, losses) for losses in (before, after))
    terms = {term: changed(term, terms_before[term], terms_after[term]) for term in terms_before if term in terms_after}
    right_way = all(one.difference < 0 for one in own.values()) and downstream.difference > 0
    p_values = np.nan_to_num([one.p_value for one in (*own.values(), downstream)], nan=1.0)
    return Update(pair, own, downstream, terms, float(p_values.max()) if right_way else 1.0, False)


def corrected(updates: Sequence[Update]) -> tuple[Update, ...]:
    """The same updates, those that hold after Holm's correction for their number marked."""
    kept = holm([update.p_value for update in updates], 1 - CONFIDENCE)
    return tuple(
        replace(update, holds=holds and update.self_defeating) for update, holds in zip(updates, kept, strict=True)
    )


@dataclass(frozen=True, eq=False)
class FlippedImages:
    """w's answers to test images, by number (N,), of all seeds: float64 (S, N) before and after, and the right ones."""

    images: NDArray[np.int64]
    right: NDArray[np.float64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]

    @property
    def flips(self) -> Flips:
        """Of every seed's w on every image, (S x N,)."""
        return Flips((self.before == self.right).reshape(-1), (self.after == self.right).reshape(-1))

    def most_often(self, count: int) -> NDArray[np.int64]:
        """Places in `images` of those that flip from right to wrong with most seeds, most first."""
        negative = self.flips.negative.reshape(self.before.shape).sum(axis=0)
        order = np.argsort(-negative, kind="stable")[:count]
        return np.asarray(order[negative[order] > 0])


def flipped_images(store: ArtifactStore, finished: Finished, pair: Pair, digits: NDArray[np.int64]) -> FlippedImages:
    """What w answers before and after an update to the test images that it is tested on; `digits` are all images'."""
    images = np.array([int(name) for name in finished.losses[pair.before][DOWNSTREAM][0].items])
    answers = []
    for number in (pair.before, pair.after):
        system = finished.series.versions[number].system
        folders = [store.folder(system.stages(seed)[DOWNSTREAM, "predict"]) for seed in range(finished.seeds)]
        answers.append(np.stack([read_answers(folder)[images] for folder in folders]))
    right = finished.series.downstream.question.answers(digits[images])
    return FlippedImages(images, right.astype(np.float64), *answers)
