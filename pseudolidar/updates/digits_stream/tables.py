"""The experiment as tables: the classifiers, the claims, every rule under a budget."""

from pseudolidar.updates import Replace, Rule
from pseudolidar.updates.digits_stream.claims import (
    ACCURACY_LOSS,
    FLIPS_SHARE,
    against_replace,
    entropy_against_random,
)
from pseudolidar.updates.digits_stream.experiment import CONFIDENCE, SELECTIONS, Experiment, interval, rule_name
from pseudolidar.updates.digits_stream.runs import ARRIVAL_STEP, Selection
from pseudolidar.viewing import Heading, Row, Table, Value


def classifiers_table(experiment: Experiment) -> Table:
    """The classifiers by themselves."""
    rows = []
    for step, kind in enumerate(experiment.kinds):
        cells: list[Value] = [kind.name]
        for values in (experiment.source_accuracy, experiment.target_accuracy, experiment.newly_wrong):
            cells.append(interval(values[:, step]) if step or values is not experiment.newly_wrong else None)
        rows.append(Row(tuple(cells)))
    return Table(
        "The classifiers in the order of their arrival",
        (
            ("", Heading("accuracy (%)", 2), "right before, wrong now"),
            ("", "source, cross-validated", "target", "(% of the items)"),
        ),
        tuple(rows),
        (
            f"The errors of two of them correlate by {experiment.error_correlation.mean():.2f}, the mean over pairs "
            "and seeds, cross-validated on the source halves.",
            intervals_note(experiment),
        ),
    )


def against_replace_table(experiment: Experiment) -> Table:
    """Whether rules halve replace's negative flips at no more than half a point of accuracy."""
    rows, previous = [], None
    for each in against_replace(experiment):
        setting = _budget(each.budget), _selection(each.selection, each.budget)
        flips: tuple[Value, ...] = (100 * each.share, each.excess, each.flips_verdict)
        cells = (*setting, rule_name(each.rule), *flips, each.accuracy, each.accuracy_verdict)
        rows.append(Row(cells, rule_above=setting != previous))
        previous = setting
    half = f"{100 * FLIPS_SHARE:g} %"
    return Table(
        f"At most {half} of replace's negative flips, at most {ACCURACY_LOSS:g} points of accuracy lost",
        (
            ("", "", "", Heading("accumulated negative flips", 3), Heading("final accuracy", 2)),
            (
                "budget",
                "selection",
                "rule",
                "% of replace's",
                f"minus {half} of replace's",
                f"≤ {half}",
                "minus replace's",
                f"≥ −{ACCURACY_LOSS:g}",
            ),
        ),
        tuple(rows),
        (
            "Differences are paired by seed, to replace with the same budget and selection. A claim holds or fails "
            f"where the {100 * CONFIDENCE:g} % interval lies on one side of the bound; elsewhere it is undecided.",
        ),
        digits=2,
    )


def selection_table(experiment: Experiment) -> Table:
    """Whether entropy selection ends more accurate than random selection."""
    rows, previous = [], None
    for each in entropy_against_random(experiment):
        final = [interval(experiment.of(each.rule, selection, each.budget).accuracy[:, -1]) for selection in SELECTIONS]
        cells: tuple[Value, ...] = (_budget(each.budget), rule_name(each.rule), *final, each.accuracy, each.verdict)
        rows.append(Row(cells, rule_above=each.budget != previous))
        previous = each.budget
    return Table(
        "Entropy selection beside random selection: final accuracy (%)",
        (("budget", "rule", "entropy", "random", "difference (paired)", "entropy is better"),),
        tuple(rows),
    )


def budget_table(experiment: Experiment, budget: float, growing: bool = False) -> Table:
    """Every rule under one budget: final accuracy, accumulated flips, and what differs from replace."""
    selections = SELECTIONS if budget < 1 else SELECTIONS[:1]
    rows = [
        Row(
            (_selection(selection, budget), rule_name(rule), *_cells(experiment, rule, selection, budget, growing)),
            rule_above=rule is experiment.rules[0],
        )
        for selection in selections
        for rule in experiment.rules
    ]
    header: list[str | Heading] = [
        "selection",
        "rule",
        "final accuracy (%)",
        "negative flips",
        "% of items",
        "positive flips",
        "accuracy",
        "negative flips",
    ]
    groups: list[str | Heading] = ["", "", "", Heading("accumulated", 3), Heading("minus replace's", 2)]
    if growing:
        header.append("without label")
        groups.append("")
    title = f"Budget {_budget(budget)} of the items a step"
    if growing:
        title += f", half of them there from step {ARRIVAL_STEP + 1} on"
    return Table(title, (tuple(groups), tuple(header)), tuple(rows), digits=2)


def _cells(experiment: Experiment, rule: Rule, selection: Selection, budget: float, growing: bool) -> tuple[Value, ...]:
    own, replaced = (experiment.of(which, selection, budget, growing) for which in (rule, Replace()))
    negative = own.negative.sum(axis=1)
    differences: tuple[Value, ...] = (None, None)
    if not isinstance(rule, Replace):
        differences = (
            interval(own.accuracy[:, -1] - replaced.accuracy[:, -1], signed=True),
            interval(negative - replaced.negative.sum(axis=1), signed=True),
        )
    return (
        interval(own.accuracy[:, -1]),
        interval(negative),
        interval(100.0 * negative / experiment.items),
        interval(own.positive.sum(axis=1)),
        *differences,
        *((interval(own.unlabelled[:, -1]),) if growing else ()),
    )


def intervals_note(experiment: Experiment) -> str:
    """How to read every interval."""
    return (
        f"Mean and {100 * CONFIDENCE:g} % Student's interval over {experiment.seeds} seeds, whose halves are drawn "
        "from the same images: the intervals speak of these images."
    )


def _budget(share: float) -> str:
    return f"{100 * share:g} %"


def _selection(selection: Selection, budget: float) -> str:
    return selection if budget < 1 else "all"
