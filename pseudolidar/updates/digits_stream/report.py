"""The report on both streams, its tables, and an experiment as plain data."""

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
from matplotlib.figure import Figure

from pseudolidar.statistics import CONFIDENCE, Estimate, student_interval
from pseudolidar.tables import Heading, Row, Table, Value
from pseudolidar.updates import CostRatio, FlipCosts, Replace, Rule, Selection, rule_name
from pseudolidar.updates.digits_stream.claims import (
    ACCURACY_LOSS,
    FLIPS_FRACTION,
    against_replace,
    beside_replace,
    entropy_against_random,
)
from pseudolidar.updates.digits_stream.classifiers import Evidence
from pseudolidar.updates.digits_stream.experiment import (
    ARRIVAL_STEP,
    SELECTIONS,
    Experiment,
    Scores,
    informed_selections_under,
    selections_under,
)
from pseudolidar.viewing import Picture, Report, Section

_STORY = (
    "Target images keep stored labels. The first classifier labels all of them; at each later step a better one "
    "arrives, and only a budget of the images is shown to it. Beliefs are updated as in Träuble et al., "
    "Backward-Compatible Prediction Updates (NeurIPS 2021), with each classifier's confusion matrix from "
    "cross-validation on the labelled source half.",
    "Beliefs take classifiers for independent given the label. This stream was chosen for that: of chains of five out "
    "of sixteen simple classifiers, with 2 to 10 points of accuracy from one to the next and a last one of 92 to 94 %, "
    "the one whose errors correlate least, by playing on parts of source halves. It is the third stream that was "
    "tried. The first, chosen by accuracy alone, is the one below; a second (tree, naive Bayes, centroid, linear "
    "discriminant, logistic regression) did no better than that. So what holds here holds where errors correlate "
    "little, not of classifiers at large. No score on target images chose a classifier, a cost ratio or the "
    "smoothing of a matrix (by the likelihood of source images left out), but all halves are drawn from the same "
    "images, and it was scores on target images that made the search go on.",
)
_ALIKE = (
    "Five classifiers that were chosen by accuracy alone. Four of them fail on much the same images, which beliefs "
    "take for independent evidence, and the last is better than what all of them add up to: to keep a label against it "
    "costs accuracy."
)
_EXTENSIONS = (
    "What the paper leaves open (its section 4), each alone and together. Pair tables: how a classifier errs given "
    "what the one before said of the image, shrunk towards independence. Discounted: what is believed already counts "
    "to a power below 1. Soft: calibrated probabilities instead of labels. Selected by information: the images of "
    "which the classifier is expected to tell most, by pair tables, or by confusion matrices where the beliefs are the "
    "paper's or soft alone.",
    "All of it is fitted on the labelled source halves, by the likelihood of their labels. What to try was decided by "
    "playing streams on parts of source halves, before any score on target images.",
)
_EVIDENCE: Mapping[Evidence, str] = {
    "independent": "as the paper",
    "conditional": "pair tables",
    "discounted": "discounted",
    "soft": "soft",
    "soft, discounted": "soft, discounted",
}
_GROWING = (
    f"The second half of the target images arrives with classifier {ARRIVAL_STEP + 1}, without labels and with the "
    "uniform prior, hence with the highest entropy there is. An image that no classifier was asked about yet has no "
    "label and counts as wrong; its first label is no flip."
)
_HOW: Mapping[Selection, str] = {
    "entropy": "those of highest entropy",
    "information": "those of which most is expected to be told",
    "random": "any of them",
}


def stream_report(
    diverse: Experiment, alike: Experiment, figures: Mapping[Selection, Figure], configuration: str
) -> Report:
    """Classifiers, verdicts, curves (`stream_figures` of `diverse`) and all numbers of both streams."""
    growing, note = diverse.growing_budget, _intervals_note(diverse)
    pictures = [Picture(figure, f"Items selected: {_HOW[selection]}. {note}") for selection, figure in figures.items()]
    compared = [_selection_table(diverse)] if len(figures) > 1 else []
    by_step = [_steps_table(diverse, selections_under(budget)[0], budget) for budget in diverse.budgets]
    every_rule, of_alike = (
        [_budget_table(one, selection, budget) for budget, selection in one.settings] for one in (diverse, alike)
    )
    sections = [
        Section("The stream", (*_STORY, _classifiers_table(diverse))),
        Section("What is claimed", (_against_replace_table(diverse), *compared)),
        Section("Over the steps", (*pictures, *by_step)),
        Section("Every rule", tuple(every_rule)),
        Section(
            "Classifiers that err alike", (_ALIKE, _classifiers_table(alike), _against_replace_table(alike), *of_alike)
        ),
    ]
    extended = [
        _evidence_table(one, name, budget)
        for one, name in ((diverse, "errors that differ"), (alike, "errors alike"))
        for budget in one.budgets
    ]
    spread = [_spread_table(diverse)] if min(diverse.budgets) < 1 else []
    sections.append(
        Section("Past the paper's assumptions", (*_EXTENSIONS, *extended, _neutral_table(diverse), *spread))
    )
    if growing is not None:
        tables = (_budget_table(diverse, selection, growing, True) for selection in selections_under(growing))
        sections.append(Section("A growing data set", (_GROWING, *tables)))
    facts = {"data": "scikit-learn's digits", "target images": str(diverse.items)}
    facts |= {"steps": str(len(diverse.kinds)), "seeds": str(diverse.seeds)}
    return Report(
        title="Prediction updates on a stream of five classifiers",
        lead=_lead(diverse, alike),
        facts=tuple(facts.items()),
        sections=tuple(sections),
        configuration=configuration,
    )


def _lead(diverse: Experiment, alike: Experiment) -> str:
    counts = []
    for experiment in (diverse, alike):
        beside = against_replace(experiment)
        held = sum(each.flips_verdict == each.accuracy_verdict == "holds" for each in beside)
        counts.append(f"{held} of {len(beside)}")
    chosen = entropy_against_random(diverse)
    better = sum(each.verdict == "holds" for each in chosen)
    return (
        "MaxBelief and CostRatio are to end with at most half of the negative flips of replacing always, and to lose "
        f"at most half a point of accuracy. Where classifiers err on different images, both hold in {counts[0]} "
        f"settings of rule, budget and selection; where they err alike and the last is far ahead, in {counts[1]}. "
        f"Entropy selection ends more accurate than random selection in {better} of {len(chosen)}."
    )


def _classifiers_table(experiment: Experiment) -> Table:
    rows = []
    for step, kind in enumerate(experiment.kinds):
        source, target, newly_wrong = (
            student_interval(values[:, step])
            for values in (experiment.source_accuracy, experiment.target_accuracy, experiment.newly_wrong)
        )
        rows.append(Row((kind.name, source, target, newly_wrong if step else None)))
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
            _intervals_note(experiment),
        ),
    )


def _against_replace_table(experiment: Experiment) -> Table:
    """Whether rules halve replace's negative flips at no more than half a point of accuracy."""
    rows: list[Row] = []
    previous = None
    for each in against_replace(experiment):
        setting = f"{100 * each.budget:g} %", each.selection if each.budget < 1 else "all"
        flips = each.flips_fraction.scaled(100), each.flips_verdict
        cells = (*setting, rule_name(each.rule), *flips, each.accuracy_points, each.accuracy_verdict)
        rows.append(Row(cells, rule_above=setting != previous))
        previous = setting
    half = f"{100 * FLIPS_FRACTION:g} %"
    return Table(
        f"At most {half} of replace's negative flips, at most {ACCURACY_LOSS:g} points less accurate",
        (
            ("", "", "", Heading("accumulated negative flips", 2), Heading("final accuracy", 2)),
            ("budget", "selection", "rule", "% of replace's", f"≤ {half}", "minus replace's", f"≥ −{ACCURACY_LOSS:g}"),
        ),
        tuple(rows),
        (
            "Paired by seed with replace under the same budget and selection. A claim holds or fails where the "
            f"{100 * CONFIDENCE:g} % interval lies on one side of the bound; elsewhere it is undecided.",
        ),
    )


def _evidence_table(experiment: Experiment, name: str, budget: float) -> Table:
    """Every kind of evidence and selection beside replace with entropy selection."""
    replaced, rules = experiment.of(Replace(), "entropy", budget), experiment.weighing_rules
    rows = []
    for selection in informed_selections_under(budget):
        for evidence, described in _EVIDENCE.items():
            cells: list[Value] = []
            for rule in rules:
                fraction, gain = beside_replace(experiment.of(rule, selection, budget, evidence=evidence), replaced)
                cells += [fraction.scaled(100), gain]
            chosen = selection if budget < 1 else "all"
            rows.append(Row((chosen, described, *cells), rule_above=evidence == "independent"))
    return Table(
        f"{name[0].upper()}{name[1:]}, budget {100 * budget:g} %: accumulated negative flips and final accuracy",
        (
            ("", "", *(Heading(rule_name(rule), 2) for rule in rules)),
            ("selection", "beliefs", *["flips (% of replace's)", "accuracy minus replace's"] * len(rules)),
        ),
        tuple(rows),
        ("Paired by seed with replace under entropy selection and the same budget.",),
    )


def _neutral_table(experiment: Experiment) -> Table:
    """Rules that weigh neutral flips, each beside the one that does not."""
    rows = []
    for budget in experiment.budgets:
        for rule in (policy.rule for policy in experiment.scores if policy.budget == budget):
            if isinstance(rule, FlipCosts):
                pair: tuple[Rule, ...] = CostRatio(rule.negative), rule
                for each in pair:
                    own = experiment.of(each, "entropy", budget)
                    flips = (student_interval(of.sum(axis=1)) for of in (own.neutral, own.negative, own.positive))
                    named = f"{100 * budget:g} %", rule_name(each)
                    rows.append(
                        Row((*named, *flips, student_interval(own.final_accuracy)), rule_above=each is not rule)
                    )
    return Table(
        "A cost for neutral flips: wrong before, another wrong label after",
        (
            ("", "", Heading("accumulated flips", 3), "final"),
            ("budget", "rule", "neutral", "negative", "positive", "accuracy (%)"),
        ),
        tuple(rows),
        digits=1,
    )


def _spread_table(experiment: Experiment) -> Table:
    """The same number of evaluations, as many in each step or spread by expected information."""
    rows = []
    for budget in (budget for budget in experiment.budgets if budget < 1):
        for rule in experiment.weighing_rules:
            for spread in (False, True):
                own = experiment.of(rule, "information", budget, evidence="discounted", spread=spread)
                evaluated = "/".join(f"{count:.0f}" for count in own.evaluated[:, 1:].mean(axis=0))
                named = f"{100 * budget:g} %", rule_name(rule), "spread" if spread else "even", evaluated
                over_steps = own.accuracy[:, 1:].mean(axis=1)
                numbers = (student_interval(of) for of in (own.final_accuracy, over_steps, own.negative.sum(axis=1)))
                rows.append(Row((*named, *numbers), rule_above=not spread))
    return Table(
        "One budget for all steps to come, discounted beliefs",
        (
            ("", "", "", "", Heading("accuracy (%)", 2), "accumulated"),
            ("budget", "rule", "steps", "evaluated", "final", "mean of the steps", "negative flips"),
        ),
        tuple(rows),
        ("Spread as if it were known how well, on the source half, each later classifier will do.",),
        digits=1,
    )


def _selection_table(experiment: Experiment) -> Table:
    """Whether entropy selection ends more accurate than random selection."""
    rows = []
    for each in entropy_against_random(experiment):
        final = [experiment.of(each.rule, selection, each.budget).final_accuracy for selection in SELECTIONS]
        cells = (*(student_interval(values) for values in final), each.accuracy_points, each.verdict)
        first = each.rule == experiment.rules[0]
        rows.append(Row((f"{100 * each.budget:g} %", rule_name(each.rule), *cells), rule_above=first))
    return Table(
        "Entropy selection beside random selection: final accuracy (%)",
        (("budget", "rule", "entropy", "random", "difference (paired)", "entropy is better"),),
        tuple(rows),
    )


def _budget_table(experiment: Experiment, selection: Selection, budget: float, growing: bool = False) -> Table:
    """Every rule under one budget and selection: accuracy, accumulated flips, differences from replace."""
    replaced = experiment.of(Replace(), selection, budget, growing)
    rows = []
    for rule in experiment.rules:
        own = experiment.of(rule, selection, budget, growing)
        negative = own.negative.sum(axis=1)
        differences: tuple[Value, ...] = (
            student_interval(own.final_accuracy - replaced.final_accuracy, signed=True),
            student_interval(negative - replaced.negative.sum(axis=1), signed=True),
        )
        cells: tuple[Value, ...] = (
            rule_name(rule),
            student_interval(own.final_accuracy),
            student_interval(negative),
            100.0 * float(negative.mean()) / experiment.items,
            student_interval(own.positive.sum(axis=1)),
            *((None, None) if isinstance(rule, Replace) else differences),
            *((float(own.unlabelled[:, -1].mean()),) if growing else ()),
        )
        rows.append(Row(cells))
    columns = ("rule", "accuracy (%)", "negative flips", "% of items", "positive flips", "accuracy", "negative flips")
    groups = ("", "final", Heading("accumulated", 3), Heading("minus replace's", 2))
    chosen = "all" if budget == 1 else f"{100 * budget:g} % of the items a step, {_HOW[selection]}"
    return Table(
        f"Evaluated: {chosen}{f'; half of them arrive at step {ARRIVAL_STEP + 1}' if growing else ''}",
        ((*groups, ""), (*columns, "unlabelled")) if growing else (groups, columns),
        tuple(rows),
        digits=1,
    )


def _steps_table(experiment: Experiment, selection: Selection, budget: float) -> Table:
    rows = []
    for rule in experiment.rules:
        own = experiment.of(rule, selection, budget)
        later = (own.accuracy.T[1:], np.cumsum(own.negative, axis=1).T[1:])
        rows.append(Row((rule_name(rule), *(float(of_step.mean()) for values in later for of_step in values))))
    names = tuple(kind.short_name for kind in experiment.kinds[1:])
    chosen = "all" if budget == 1 else f"{100 * budget:g} % a step, {_HOW[selection]}"
    return Table(
        f"Step by step, evaluated: {chosen}",
        (
            ("", Heading("accuracy (%) after", len(names)), Heading("accumulated negative flips after", len(names))),
            ("rule", *names, *names),
        ),
        tuple(rows),
        ("Means over the seeds; their intervals are in the figures and in results.json.",),
        digits=1,
    )


def _intervals_note(experiment: Experiment) -> str:
    return (
        f"Mean and {100 * CONFIDENCE:g} % Student's interval over {experiment.seeds} seeds, whose halves are drawn "
        "from the same images: the intervals hold for these images."
    )


def stream_data(experiment: Experiment) -> dict[str, Any]:
    """The numbers of an experiment for JSON: each policy step by step, its last values seed by seed."""
    return {
        "items": experiment.items,
        "seeds": experiment.seeds,
        "classifiers": [
            {
                "name": kind.name,
                "source_accuracy_percent": _plain(student_interval(source)),
                "target_accuracy_percent": _plain(student_interval(target)),
            }
            for kind, source, target in zip(
                experiment.kinds, experiment.source_accuracy.T, experiment.target_accuracy.T, strict=True
            )
        ],
        "against_replace": [_plain_fields(each) for each in against_replace(experiment)],
        "entropy_against_random": [_plain_fields(each) for each in entropy_against_random(experiment)],
        "policies": [{**_plain_fields(policy), **_scores_data(scores)} for policy, scores in experiment.scores.items()],
    }


def _scores_data(scores: Scores) -> dict[str, Any]:
    negative, positive = (np.cumsum(flips, axis=1) for flips in (scores.negative, scores.positive))
    series = {"accuracy_percent": scores.accuracy, "negative_flips": negative, "positive_flips": positive}
    return {
        "by_step": {
            name: [_plain(student_interval(of_step)) for of_step in values.T] for name, values in series.items()
        },
        "final_by_seed": {name: values[:, -1].tolist() for name, values in series.items()},
        "unlabelled": _plain(student_interval(scores.unlabelled[:, -1])),
    }


def _plain_fields(row: object) -> dict[str, Any]:
    return {name: _plain(value) for name, value in vars(row).items()}


def _plain(value: Rule | Estimate | str | float) -> Any:
    if isinstance(value, Estimate):
        return {"mean": value.value, "low": value.interval.low, "high": value.interval.high}
    return rule_name(value) if isinstance(value, get_args(Rule)) else value
