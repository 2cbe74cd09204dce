"""Remedies for the updates of the paper's figures: which of them changes which error term, exactly."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pseudolidar.illustrations.cases import DOWNSTREAM, Illustration, downstream_losses, make_systems
from pseudolidar.illustrations.decomposition import ErrorDecomposition, decompose
from pseudolidar.illustrations.learners import (
    Calibration,
    ConicClassifier,
    LearnerModel,
    LinearClassifier,
    OutputMap,
    PartnerModel,
    PolynomialClassifier,
    TableClassifier,
    Whitening,
)
from pseudolidar.systems import ArtifactStore, System, Vertex

REMEDIES: Mapping[str, str] = {
    "keep": "w stays on the old model",
    "calibrate": "each output to what is true on average there (isotonic)",
    "whiten": "outputs scaled and turned to covariance 1",
    "mixed": "w trained on both versions' outputs",
    "more data": "twice as many examples for w",
    "larger set": "curves of one degree more for w",
    "both": "w sees both versions' outputs",
    "partner": "v trained anew beside u'",
}
"""What each does; not every illustration has all of them."""
# Points of percent wrong: less is not seen in a table.
_SAME = 0.005


@dataclass(frozen=True, eq=False)
class Remedied:
    """An illustration's decompositions of w's loss, percent wrong: before the update, after it, and with remedies."""

    illustration: Illustration
    before: ErrorDecomposition
    after: ErrorDecomposition
    remedies: Mapping[str, ErrorDecomposition]

    def sentence(self) -> str:
        """What the remedies do, in a line."""
        by_outcome: dict[str, list[str]] = {outcome: [] for outcome in OUTCOMES}
        for name in self.remedies:
            by_outcome[self.outcome(name)].append(name)
        return "; ".join(f"{outcome}: {', '.join(names)}" for outcome, names in by_outcome.items() if names) + "."

    def outcome(self, remedy: str) -> str:
        """What the remedy does to w's total error: one of `OUTCOMES`."""
        total, before, after = self.remedies[remedy].total, self.before.total, self.after.total
        if total <= before + _SAME:
            return OUTCOMES[0]
        return OUTCOMES[1 if total < after - _SAME else 2 if total <= after + _SAME else 3]


OUTCOMES = (
    "w is no worse than before the update with",
    "better than without, but not cured",
    "no change",
    "worse than without",
)
"""Of a remedy."""


def run_remedies(store: ArtifactStore, cases: Sequence[Illustration], workers: int = 1) -> list[Remedied]:
    """Every remedy of every illustration that has some, made where it isn't; InputError if a stage fails."""
    systems = {case.name: dict(remedied_systems(case)) for case in cases}
    made = [case for case in cases if systems[case.name]]
    make_systems(
        store, (one for case in made for one in (case.before, case.after, *systems[case.name].values())), workers
    )

    def decomposed(case: Illustration, system: System) -> ErrorDecomposition:
        return decompose(**downstream_losses(store, case, system))

    return [
        Remedied(
            case,
            decomposed(case, case.before),
            decomposed(case, case.after),
            {name: decomposed(case, system) for name, system in systems[case.name].items()},
        )
        for case in made
    ]


def remedied_systems(case: Illustration) -> Iterator[tuple[str, System]]:
    """The remedies that make sense for an update of one of at most two upstream models, and the systems with them."""
    updated, w = case.update.name, case.before.vertices[DOWNSTREAM]
    assert isinstance(w.model, LearnerModel)
    learner = w.model.learner
    if len(w.parents) > 2 or case.groups:
        return
    yield "keep", case.before
    yield "calibrate", _mapped(case, Calibration())
    if case.examples.target.size:
        yield "whiten", _mapped(case, Whitening())
    old = f"{updated}-before"
    taken = {old: (case.before, updated)}
    mixed = replace(w, model=LearnerModel(learner, older=old, older_of=updated), trained_on={old: "predict"})
    yield "mixed", _with(case, mixed, taken)
    if isinstance(learner, PolynomialClassifier):
        yield (
            "more data",
            case.after.replaced(replace(w, model=LearnerModel(replace(learner, shown=2 * learner.shown)))),
        )
        yield "larger set", case.after.replaced(replace(w, model=LearnerModel(replace(learner, degree=3))))
    if isinstance(learner, LinearClassifier):
        yield "larger set", case.after.replaced(replace(w, model=LearnerModel(ConicClassifier())))
    if isinstance(learner, TableClassifier):
        yield "both", _with(case, replace(w, parents=(*w.parents, old)), taken)
        (other,) = set(w.parents) - {updated}
        yield "partner", case.after.replaced(Vertex(other, PartnerModel(), trained_on={updated: "predict"}))


def _with(case: Illustration, vertex: Vertex, taken: Mapping[str, tuple[System, str]]) -> System:
    """The system after the update with another vertex, and vertices of other systems."""
    vertices = {**case.after.vertices, vertex.name: vertex}
    return System(case.after.data, list(vertices.values()), taken=taken)


def _mapped(case: Illustration, output_map: OutputMap) -> System:
    unmapped = f"{case.update.name}-unmapped"
    vertex = Vertex(case.update.name, LearnerModel(output_map), (unmapped,))
    return _with(case, vertex, {unmapped: (case.after, case.update.name)})
