"""The illustrations as tables, as one report, and as plain data."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from pseudolidar.illustrations.cases import DOWNSTREAM, Result, State
from pseudolidar.illustrations.decomposition import EXCESS
from pseudolidar.illustrations.remedies import REMEDIES, Remedied
from pseudolidar.tables import Heading, Row, Table
from pseudolidar.viewing import Block, Picture, Report, Section


def illustration_table(result: Result) -> Table:
    """Test losses of the models and the decomposition of w's, before and after the update."""
    case = result.illustration
    before, after = result.before, result.after
    rows = []
    for name in case.before.order:
        updated = f", then {case.update.title}" if name == case.update.name else ""
        unit = before.learners[name].unit or "squared error"
        rows.append(_row(f"test loss of {name}{updated} ({unit})", before.losses[name], after.losses[name]))
    rows.append(_row("Bayes-optimal loss, of w*", before.bayes, after.bayes, rule_above=True))
    terms = before.decomposition.terms, after.decomposition.terms
    rows += [_row(term, terms[0][term], terms[1][term]) for term in terms[0]]
    totals = before.decomposition.total, after.decomposition.total
    rows.append(_row("total: loss of w minus loss of w*", *totals, rule_above=True))
    remainders = (f"{state.decomposition.remainder:.0e}" for state in (before, after))
    rows.append(Row(("total minus the sum of the terms", *remainders, None)))
    notes: tuple[str, ...] = (
        f"{len(case.examples.x)} equally likely examples. The update replaces {case.update.name} by "
        f"{case.update.title}; w is trained anew. From the Bayes-optimal loss on: % wrong by w.",
    )
    if EXCESS in terms[0]:
        notes += (
            "Excess upstream error: what the best v for this u would leave; with as many answers as there are "
            "classes, the best v leaves nothing, since it answers for w.",
        )
    return Table(case.title, (("", "before", "after", "change"),), tuple(rows), notes, digits=4)


def choices_table(result: Result) -> Table:
    """w's test loss by the upstream models that are replaced."""
    kept = result.choices[()]
    rows = tuple(
        Row((" and ".join(titles) or "none", loss, loss - kept if titles else None), rule_above=len(titles) == 1)
        for titles, loss in result.choices.items()
    )
    return Table("w by what is replaced", (("replaced", "% wrong", "change"),), rows)


def gap_table(result: Result) -> Table:
    """Losses of all models in two groups, and the terms of w's gap between them."""
    groups = result.illustration.groups
    assert groups is not None
    states = (result.before, result.after)

    def row(name: str, by_group: Sequence[float], rule_above: bool = False) -> Row:
        cells = (value for first, second in (by_group[:2], by_group[2:]) for value in (first, second, first - second))
        return Row((name, *cells), rule_above=rule_above)

    decomposed = [of_group for state in states for of_group in state.by_group]
    rows = [
        row(f"test loss of {name}", [of_group[name] for state in states for of_group in state.losses_by_group])
        for name in result.before.learners
    ]
    rows += [
        row(term, [of_group.terms[term] for of_group in decomposed], rule_above=not number)
        for number, term in enumerate(decomposed[0].terms)
    ]
    rows.append(row("total: loss of w minus loss of w*", [each.total for each in decomposed], rule_above=True))
    columns = (*groups, "gap")
    return Table(
        "The same by group (% wrong)",
        (("", Heading("before", 3), Heading("after", 3)), ("", *columns, *columns)),
        tuple(rows),
        ("The gap is the first group's minus the second's. The gaps of the terms add up to the total's.",),
    )


def remedies_table(found: Remedied) -> Table:
    """w's error terms before and after the update, and with every remedy."""
    systems = {"before the update": found.before, "the update": found.after, **found.remedies}
    rows = tuple(
        Row((name, *of.terms.values(), of.total, of.total - found.before.total), rule_above=name in ("keep",))
        for name, of in systems.items()
    )
    header = ("", *map(_short, found.before.terms), "total", "against before")
    return Table("Remedies: where w's errors come from (% wrong)", (header,), rows)


def _short(term: str) -> str:
    return term.removesuffix(" error").removeprefix("downstream ").removeprefix("upstream ")


def cures_table(remedied: Sequence[Remedied]) -> Table:
    """By how much w is worse than before the updates of all illustrations, by remedy."""

    def cells(remedy: str | None) -> Iterator[float | None]:
        for found in remedied:
            of = found.after if remedy is None else found.remedies.get(remedy)
            yield None if of is None else of.total - found.before.total

    rows = [Row(("the update", *cells(None)))]
    rows += [Row((f"{name}: {what}", *cells(name)), rule_above=name == "keep") for name, what in REMEDIES.items()]
    grown = [_short(found.illustration.grown) for found in remedied]
    header = ("", *(found.illustration.title.split(".")[0] for found in remedied))
    note = (
        "Below each figure the error that grew. 0: w is as good as before. No value: the remedy makes no sense there."
    )
    return Table("w against before the update (points of % wrong)", (header, ("", *grown)), tuple(rows), (note,))


def _row(name: str, before: float, after: float, rule_above: bool = False) -> Row:
    return Row((name, before, after, after - before), rule_above=rule_above)


def illustrations_report(
    results: Sequence[Result], remedied: Sequence[Remedied], figures: Mapping[str, Figure], configuration: str
) -> Report:
    """Every illustration with its story, its figure (by name, of `draw_illustration`) and tables, then the remedies."""
    sections = []
    remedies = {found.illustration.name: found for found in remedied}
    for result in results:
        case = result.illustration
        picture = Picture(figures[case.name], sentence(result))
        more: list[Block] = [choices_table(result)] if case.partners else []
        more += [gap_table(result)] if case.groups else []
        if found := remedies.get(case.name):
            more += [f"Remedies: {found.sentence()}", remedies_table(found)]
        sections.append(Section(case.title, (case.story, picture, illustration_table(result), *more)))
    return Report(
        title="How a better model makes a system worse",
        lead=(
            "Each of these systems gets a better model, all that stands behind it is trained anew, and its last model "
            "is worse than before: a self-defeating improvement, as in figures 2 to 4 of Wu et al., Fixes That Fail "
            "(arXiv 2103.11766), and in two more of the kind, on distributions of our own. Since these are known, "
            "every model that the error terms speak of is found, and none of the terms is estimated."
        ),
        sections=(*sections, Section("What cures which", (_CURES, cures_table(remedied)))),
        configuration=configuration,
    )


_CURES = (
    "A remedy helps against the error that grew, and against no other. More labelled examples cure an estimation "
    "error, a larger hypothesis set an approximation error; an estimation error it makes worse. What the new "
    "model does not say any more (compatibility error) only the old one can tell, or another model that is trained "
    "beside the new one: nothing that is done to the new model's outputs or to w. Calibrated coordinate by coordinate, "
    "points move a little to where they should be, and w gains a little. A w that is trained on both versions' outputs "
    "has one more task, and fulfils the one that counts worse."
)


def sentence(result: Result) -> str:
    """The effect of the update in one line."""
    case = result.illustration
    changes = []
    for name in (case.update.name, DOWNSTREAM):
        before, after = result.before.losses[name], result.after.losses[name]
        unit = result.before.learners[name].unit
        verb = "falls" if after < before else "rises"
        changes.append(f"the test loss of {name} {verb} from {before:.3g} to {after:.3g}{unit and ' '}{unit}")
    grown = result.after.decomposition.terms[case.grown] - result.before.decomposition.terms[case.grown]
    text = f"{' and '.join(changes)}; the {case.grown} grows by {grown:.3g} points."
    return text[0].upper() + text[1:]


def illustrations_data(results: Sequence[Result], remedied: Sequence[Remedied]) -> dict[str, Any]:
    """The numbers of all illustrations for JSON."""
    remedies = {
        found.illustration.name: {
            name: {"terms_percent": dict(of.terms), "total_percent": of.total} for name, of in found.remedies.items()
        }
        for found in remedied
    }
    return {
        result.illustration.name: {
            "title": result.illustration.title,
            "update": f"{result.illustration.update.name} to {result.illustration.update.title}",
            "before": _state_data(result.before),
            "after": _state_data(result.after),
            "remedies": remedies.get(result.illustration.name, {}),
            "percent_wrong_by_replaced": {" ".join(titles): loss for titles, loss in result.choices.items()},
        }
        for result in results
    }


def _state_data(state: State) -> dict[str, Any]:
    return {
        "test_loss": {
            name: {"value": loss, "unit": state.learners[name].unit or "squared error"}
            for name, loss in state.losses.items()
        },
        "bayes_percent": state.bayes,
        "terms_percent": dict(state.decomposition.terms),
        "total_percent": state.decomposition.total,
        "remainder_percent": state.decomposition.remainder,
        "by_group": [
            {"test_loss": dict(losses), "terms_percent": dict(terms.terms), "total_percent": terms.total}
            for losses, terms in zip(state.losses_by_group, state.by_group, strict=True)
        ],
        "correlation_of_upstream_errors": state.error_correlation,
    }
