"""The experiment as tables: the classifiers, the claims, every rule under a budget."""

from collections.abc import Mapping

import numpy as np

from pseudolidar.statistics import CONFIDENCE, student_interval
from pseudolidar.tables import Heading, Row, Table, Value
from pseudolidar.updates import Replace
from pseudolidar.updates.digits_stream.claims import ACCURACY_LOSS, FLIPS_SHARE, against_replace, entropy_against_random
from pseudolidar.updates.digits_stream.experiment import SELECTIONS, Experiment, rule_name
from pseudolidar.updates.digits_stream.runs import ARRIVAL_STEP, Selection

_HOW: Mapping[Selection, str] = {"entropy": "those of highest entropy", "random": "any of them"}


def classifiers_table(experiment: Experiment) -> Table:
    """Accuracy (%) of each classifier, and what it newly gets wrong."""
    rows = []
    for step, kind in enumerate(experiment.kinds):
        cells: list[Value] = [kind.name]
        for values in (experiment.source_accuracy, experiment.target_accuracy, experiment.newly_wrong):
            cells.append(student_interval(values[:, step]) if step or values is not experiment.newly_wrong else None)
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
        share = each.share.scaled(100)
        flips: tuple[Value, ...] = (share, each.flips_verdict)
        cells = (*setting, rule_name(each.rule), *flips, each.accuracy, each.accuracy_verdict)
        rows.append(Row(cells, rule_above=setting != previous))
        previous = setting
    half = f"≤ {100 * FLIPS_SHARE:g} %"
    return Table(
        f"At most {100 * FLIPS_SHARE:g} % of replace's negative flips, at most {ACCURACY_LOSS:g} points less accurate",
        (
            ("", "", "", Heading("accumulated negative flips", 2), Heading("final accuracy", 2)),
            ("budget", "selection", "rule", "% of replace's", half, "minus replace's", f"≥ −{ACCURACY_LOSS:g}"),
        ),
        tuple(rows),
        (
            "Paired by seed with replace under the same budget and selection. A claim holds or fails where the "
            f"{100 * CONFIDENCE:g} % interval lies on one side of the bound; elsewhere it is undecided.",
        ),
    )


def selection_table(experiment: Experiment) -> Table:
    """Whether entropy selection ends more accurate than random selection."""
    rows, previous = [], None
    for each in entropy_against_random(experiment):
        final = [
            student_interval(experiment.of(each.rule, selection, each.budget).accuracy[:, -1])
            for selection in SELECTIONS
        ]
        cells: tuple[Value, ...] = (_budget(each.budget), rule_name(each.rule), *final, each.accuracy, each.verdict)
        rows.append(Row(cells, rule_above=each.budget != previous))
        previous = each.budget
    return Table(
        "Entropy selection beside random selection: final accuracy (%)",
        (("budget", "rule", "entropy", "random", "difference (paired)", "entropy is better"),),
        tuple(rows),
    )


def budget_table(experiment: Experiment, selection: Selection, budget: float, growing: bool = False) -> Table:
    """Every rule under one budget and selection: accuracy, accumulated flips, and what differs from replace."""
    replaced = experiment.of(Replace(), selection, budget, growing)
    rows = []
    for rule in experiment.rules:
        own = experiment.of(rule, selection, budget, growing)
        negative = own.negative.sum(axis=1)
        differences: tuple[Value, ...] = (
            student_interval(own.accuracy[:, -1] - replaced.accuracy[:, -1], signed=True),
            student_interval(negative - replaced.negative.sum(axis=1), signed=True),
        )
        cells: tuple[Value, ...] = (
            rule_name(rule),
            student_interval(own.accuracy[:, -1]),
            student_interval(negative),
            100.0 * float(negative.mean()) / experiment.items,
            student_interval(own.positive.sum(axis=1)),
            *((None, None) if isinstance(rule, Replace) else differences),
            *((float(own.unlabelled[:, -1].mean()),) if growing else ()),
        )
        rows.append(Row(cells))
    columns = ("rule", "accuracy (%)", "negative flips", "% of items", "positive flips", "accuracy", "negative flips")
    groups = ("", "final", Heading("accumulated", 3), Heading("minus replace's", 2))
    chosen = "all" if budget == 1 else f"{_budget(budget)} of the items a step, {_HOW[selection]}"
    return Table(
        f"Evaluated: {chosen}{f'; half of them arrive at step {ARRIVAL_STEP + 1}' if growing else ''}",
        ((*groups, ""), (*columns, "unlabelled")) if growing else (groups, columns),
        tuple(rows),
        digits=1,
    )


def steps_table(experiment: Experiment, selection: Selection, budget: float) -> Table:
    """Every rule step by step: accuracy and accumulated negative flips after each classifier."""
    rows = []
    for rule in experiment.rules:
        own = experiment.of(rule, selection, budget)
        negative = np.cumsum(own.negative, axis=1)
        means = [
            float(values[:, step].mean()) for values in (own.accuracy, negative) for step in range(1, values.shape[1])
        ]
        rows.append(Row((rule_name(rule), *means)))
    later = tuple(kind.short_name for kind in experiment.kinds[1:])
    chosen = "all" if budget == 1 else f"{_budget(budget)} a step, {_HOW[selection]}"
    return Table(
        f"Step by step, evaluated: {chosen}",
        (
            ("", Heading("accuracy (%) after", len(later)), Heading("accumulated negative flips after", len(later))),
            ("rule", *later, *later),
        ),
        tuple(rows),
        ("Means over the seeds; their intervals are in the figures and in results.json.",),
        digits=1,
    )


def intervals_note(experiment: Experiment) -> str:
    """The sentence under tables that says what their intervals are."""
    return (
        f"Mean and {100 * CONFIDENCE:g} % Student's interval over {experiment.seeds} seeds, whose halves are drawn "
        "from the same images: the intervals speak of these images."
    )


def _budget(share: float) -> str:
    return f"{100 * share:g} %"


def _selection(selection: Selection, budget: float) -> str:
    return selection if budget < 1 else "all"
