"""The verdict on an update: the change of each test loss in one word, with its interval; is it self-defeating?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr, stdtrit

from pseudolidar.files import InputError
from pseudolidar.statistics import NO_INTERVAL, Interval, holm, signed
from pseudolidar.systems.losses import ItemLosses, resampled_losses

Word = Literal["improved", "worse", "undecided"]

_WORDS: dict[int, Word] = {-1: "improved", 0: "undecided", 1: "worse"}
_ONE_SEED = "since one training seed says nothing about training noise"


@dataclass(frozen=True)
class Change:
    """The change of a vertex' test loss by an update.

    Attributes:
        before, after: the test loss, mean over the training seeds.
        difference: after - before; negative is better.
        interval: of the difference, at `confidence`; over test items alone where `over_seeds` is false.
        by_seed: the difference of each training seed.
        p_value: two-sided, of no change; NaN where training noise is unknown.
        word: improved or worse where the interval excludes 0, undecided otherwise and where nothing can be decided.
        reason: why nothing can be decided, empty otherwise.
    """

    vertex: str
    before: float
    after: float
    difference: float
    interval: Interval
    confidence: float
    by_seed: tuple[float, ...]
    over_seeds: bool
    p_value: float
    word: Word
    reason: str = ""
    unit: str = ""

    @property
    def seeds(self) -> int:
        """How many training seeds there are."""
        return len(self.by_seed)

    def sentence(self) -> str:
        """One sentence for people: the losses before and after, and the change."""
        unit = f" {self.unit}" if self.unit else ""
        if np.isnan(self.interval.low):
            return f"{self.vertex}: {self.word}, {self.reason}."
        digits = self.interval.digits
        low, high = (signed(end, digits) for end in (self.interval.low, self.interval.high))
        over = f"test items and {self.seeds} training seeds" if self.over_seeds else "test items alone"
        change = signed(self.difference, digits)
        losses = f"from {self.before:.{digits}f} to {self.after:.{digits}f}{unit}"
        interval = f"{self.confidence * 100:g} % interval over {over} {low} to {high}"
        because = f", {self.reason}" if self.reason else ""
        return f"{self.vertex}: {self.word}{because}. Its test loss goes {losses}, a change of {change} ({interval})."


def change(
    name: str,
    before: Sequence[ItemLosses],
    after: Sequence[ItemLosses],
    random: np.random.Generator,
    trained: bool,
    replicates: int = 1000,
    confidence: float = 0.95,
) -> Change:
    """Change of a test loss, with an interval over test items and over training seeds.

    The two are crossed: each seed's model is tested on each item, and no bootstrap is exact for crossed factors
    (McCullagh, Bernoulli 2000). Drawing S seeds with replacement, besides, makes their variance too small, by the
    factor (S - 1) / S, and has no tail: with three seeds, such a 95 % interval holds the mean about 73 times in 100. So
    the two are treated apart and then added, as a generalized pivot (Weerahandi, JASA 1993):

    * items: percentile bootstrap, as `evaluation.compare`; the items drawn are the same for all seeds, before and
      after, so that what makes an item hard cancels. Expanded for few items, of which a bootstrap's intervals are too
      narrow (Hesterberg, The American Statistician 2015): by 10 % for 20 of them, 1 % for 200; of those that hold
      something to score, since one such item among a hundred would have an interval of no width. Items count as
      independent; neighbouring frames of a video are not, and make it too narrow;
    * seeds: the mean over seeds of the differences (each over all items) has standard error sqrt(variance / S), and the
      error over it follows Student's t with S - 1 degrees of freedom.

    What a seed does to single items is in both, so that it is taken out of the first: the bootstrap is narrowed to
    the variance that all seeds share. (As of readers and cases in the comparison of diagnostic tests: Obuchowski &
    Rockette, Commun. Stat. Simul. Comput. 1995; Hillis, Stat. Med. 2007.) The interval holds the middle of the
    distribution of the sum, which is an average of t distributions, one around each replicate. It is exact for noise of
    seeds and of what they do to items (if that is normal), and the bootstrap's for item noise alone.

    Pairing by seed makes it valid whatever the seed does to both versions alike, at a price: S - 1 degrees of freedom.
    With two seeds only changes of many times the training noise are seen.

    Args:
        before, after: test losses for each training seed, seeds in the same order, all on the same items.
        trained: whether anything in the vertex' history is trained, so that another seed gives another loss. If so, one
            seed leaves the change undecided.
        replicates: how many draws of the items.

    Raises:
        ValueError: no seeds or unequal numbers of them, other items in one than in another, no items, no replicates, a
            confidence outside of (0, 1).
    """
    _check(before, after, replicates, confidence)
    by_seed = np.array([b.value() - a.value() for a, b in zip(before, after, strict=True)])
    seeds, items = len(by_seed), min(loss.scored for loss in (*before, *after))
    of_all = resampled_losses([[loss] for loss in (*before, *after)], random, replicates)
    drawn_by_seed = of_all[seeds:] - of_all[:seeds]
    # Drawn items may hold nothing to score, where that is rare.
    drawn_by_seed = drawn_by_seed[:, ~np.isnan(drawn_by_seed).any(axis=0)]
    drawn = drawn_by_seed.mean(axis=0)
    reason, interval, p_value = "", NO_INTERVAL, float("nan")
    over_seeds = trained and seeds > 1
    if not len(drawn):
        reason = "there is nothing in the test items to score it by"
    elif items == 1:
        reason = "since one test item with something to score says nothing about others"
    else:
        error = float(np.sqrt(by_seed.var(ddof=1) / seeds)) if over_seeds else 0.0
        # Equal but for rounding.
        error = error if error > 1e-12 * np.abs(drawn).max() else 0.0
        tail = (1 - confidence) / 2
        expansion = np.sqrt(items / (items - 1)) * stdtrit(items - 1, tail) / ndtri(tail)
        if over_seeds and (variance := drawn.var()) > 0:
            expansion *= np.sqrt(min(1.0, variance_components(drawn_by_seed)[0] / variance))
        drawn = by_seed.mean() + expansion * (drawn - by_seed.mean())
        interval = Interval(*(_quantile(drawn, error, seeds - 1, level) for level in (tail, 1 - tail)))
        if trained and not over_seeds:
            reason = _ONE_SEED
        else:
            p_value = _p_value(drawn, error, seeds - 1)
            if not drawn.any() and not by_seed.any():
                reason = "since before and after have the same loss, whatever items are drawn"
    return Change(
        vertex=name,
        before=float(np.mean([loss.value() for loss in before])),
        after=float(np.mean([loss.value() for loss in after])),
        difference=float(by_seed.mean()),
        interval=interval,
        confidence=confidence,
        by_seed=tuple(by_seed.tolist()),
        over_seeds=over_seeds,
        p_value=p_value,
        word="undecided" if reason else _WORDS[interval.direction],
        reason=reason,
        unit=before[0].unit,
    )


@dataclass(frozen=True)
class UpdateVerdict:
    """The changes by replacing one model: its own, and those of its descendants.

    Descendants, by vertex, are retrained with the same algorithm on the new input.
    """

    own: Change
    descendants: Mapping[str, Change]

    @property
    def self_defeating(self) -> bool:
        """The vertex improves, and a descendant gets worse (the paper, Definition 2.1)."""
        return self.own.word == "improved" and bool(self._called("worse"))

    @property
    def worse_after_correction(self) -> tuple[str, ...]:
        """The descendants that are still worse after Holm's correction (Scand. J. Statist. 1979) for their number.

        Among many descendants some look worse by chance alone; with it, the probability that any descendant is called
        worse that is not stays below 1 - confidence.
        """
        worse = self._called("worse")
        kept = holm([found.p_value for found in self.descendants.values()], 1 - self.own.confidence)
        return tuple(name for name, holds in zip(self.descendants, kept, strict=True) if holds and name in worse)

    def sentences(self) -> list[str]:
        """The verdict, the changes, and how their number and the number of seeds limit it."""
        lines = [self._headline(), self.own.sentence(), *(found.sentence() for found in self.descendants.values())]
        if self._called("worse") and len(self.descendants) > 1:
            lines.append(self._correction())
        if any(found.reason == _ONE_SEED for found in (self.own, *self.descendants.values())):
            lines.append(
                "One training seed decides nothing: trained again with another seed, a model has another test loss, "
                "and by how much is not known from one. More seeds: seeds=3."
            )
        return lines

    def _called(self, word: Word) -> list[str]:
        return [name for name, found in self.descendants.items() if found.word == word]

    def _headline(self) -> str:
        own, worse, undecided = self.own.vertex, self._called("worse"), self._called("undecided")
        if self.self_defeating:
            # With one descendant there is nothing to correct for.
            holds = len(self.descendants) == 1 or bool(self.worse_after_correction)
            doubt = "" if holds else " by single intervals, not after correction for their number"
            return f"Self-defeating{doubt}: {own} improves, and {_listed(worse)} behind it {_verb(worse)} worse."
        if self.own.word != "improved":
            besides = f"; {_listed(worse)} behind it {_verb(worse)} worse" if worse else ""
            if self.own.word == "worse":
                return f"Not self-defeating, since not an improvement: {own} itself gets worse{besides}."
            return f"Not found to be self-defeating. Whether {own} improves is undecided{besides}."
        if not self.descendants:
            return f"Nothing is behind {own}, which improves."
        if undecided:
            return (
                f"Not found to be self-defeating: {own} improves, and nothing behind it is shown to get worse; "
                f"{_listed(undecided)} may have changed either way."
            )
        return f"Not self-defeating: {own} improves, and so does everything behind it that was looked at."

    def _correction(self) -> str:
        worse, kept = self._called("worse"), self.worse_after_correction
        looked = f"{len(self.descendants)} descendants were looked at; corrected for their number (Holm)"
        if not kept:
            return f"{looked}, none is shown to get worse: with so many looks, one may seem worse by chance."
        if len(kept) < len(worse):
            return f"{looked}, {_listed(kept)} still {_verb(kept)} worse, the other changes may be chance."
        return f"{looked}, {_listed(kept)} still {_verb(kept)} worse."


def variance_components(drawn: NDArray[np.float64]) -> tuple[float, float]:
    """Of S seeds' changes on R draws of the items, (S, R): the variance that all seeds share, and that of each alone.

    By moments (Searle, Casella & McCulloch, "Variance Components", 1992): a single seed's change has both, the mean
    over seeds the shared one and the S-th part of the other.
    """
    seeds, of_one, of_mean = len(drawn), float(drawn.var(axis=1).mean()), float(drawn.mean(axis=0).var())
    alone = max(0.0, (of_one - of_mean) * seeds / (seeds - 1)) if seeds > 1 else 0.0
    return max(0.0, of_one - alone), alone


def _check(before: Sequence[ItemLosses], after: Sequence[ItemLosses], replicates: int, confidence: float) -> None:
    if not before or len(before) != len(after):
        raise ValueError(f"after: found losses of {len(after)} seeds, expected {len(before) or 'some'}, as before")
    items = before[0].items
    if not items:
        raise ValueError("items: found none, expected one or more to draw from")
    for when, losses in (("before", before), ("after", after)):
        for seed, loss in enumerate(losses):
            if loss.items != items:
                raise ValueError(f"{when}: found other items for seed {seed} than for the first, expected the same")
    if replicates < 1:
        raise InputError(f"replicates: found {replicates}, expected one or more")
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence: found {confidence}, expected a fraction between 0 and 1")


def _probability_below(value: float, drawn: NDArray[np.float64], error: float, freedom: int) -> float:
    """Distribution function of a replicate plus `error` times Student's t."""
    return float(stdtr(freedom, (value - drawn) / error).mean())


def _quantile(drawn: NDArray[np.float64], error: float, freedom: int, level: float) -> float:
    if not error > 0.0:
        return float(np.quantile(drawn, level))
    # Here, since few programs that know verdicts decide one, and it takes a quarter of a second to import.
    from scipy.optimize import brentq

    beyond = error * float(stdtrit(freedom, level))
    # Between the outermost quantiles of the distributions that are averaged, give or take rounding.
    low, high = float(drawn.min()) + beyond - error, float(drawn.max()) + beyond + error
    return float(brentq(lambda value: _probability_below(value, drawn, error, freedom) - level, low, high))


def _p_value(drawn: NDArray[np.float64], error: float, freedom: int) -> float:
    if error > 0.0:
        below = _probability_below(0.0, drawn, error, freedom)
        return 2 * min(below, 1 - below)
    # Counting the data themselves as one draw: no number of draws shows a probability of 0.
    rarer = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (len(drawn) + 1))


def _verb(names: Sequence[str]) -> str:
    return "gets" if len(names) == 1 else "get"


def _listed(names: Sequence[str]) -> str:
    if any("," in name for name in names):
        return "; ".join(names)
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
