"""The illustrations as tables, as one report, and as plain data."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from pseudolidar.illustrations.cases import DOWNSTREAM, Result, State
from pseudolidar.illustrations.decomposition import EXCESS
from pseudolidar.tables import Heading, Row, Table
from pseudolidar.viewing import Picture, Report, Section


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


def _row(name: str, before: float, after: float, rule_above: bool = False) -> Row:
    return Row((name, before, after, after - before), rule_above=rule_above)


def illustrations_report(results: Sequence[Result], figures: Mapping[str, Figure], configuration: str) -> Report:
    """Every illustration with its story, its figure (by name, of `draw_illustration`) and its table."""
    sections = []
    for result in results:
        case = result.illustration
        picture = Picture(figures[case.name], sentence(result))
        more = [choices_table(result)] if case.partners else []
        more += [gap_table(result)] if case.groups else []
        sections.append(Section(case.title, (case.story, picture, illustration_table(result), *more)))
    return Report(
        title="How a better model makes a system worse",
        lead=(
            "Each of these systems gets a better model, all that stands behind it is trained anew, and its last model "
            "is worse than before: a self-defeating improvement, as in figures 2 to 4 of Wu et al., Fixes That Fail "
            "(arXiv 2103.11766), and in two more of the kind, on distributions of our own. Since these are known, "
            "every model that the error terms speak of is found, and none of the terms is estimated."
        ),
        sections=tuple(sections),
        configuration=configuration,
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


def illustrations_data(results: Sequence[Result]) -> dict[str, Any]:
    """The numbers of all illustrations for JSON."""
    return {
        result.illustration.name: {
            "title": result.illustration.title,
            "update": f"{result.illustration.update.name} to {result.illustration.update.title}",
            "before": _state_data(result.before),
            "after": _state_data(result.after),
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
