"""Both streams as one report, and an experiment as plain data."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pseudolidar.statistics import Estimate, student_interval
from pseudolidar.tables import Table
from pseudolidar.updates.digits_stream.claims import against_replace, entropy_against_random
from pseudolidar.updates.digits_stream.experiment import Experiment, Scores, rule_name, selections_under
from pseudolidar.updates.digits_stream.runs import ARRIVAL_STEP, Selection
from pseudolidar.updates.digits_stream.tables import (
    against_replace_table,
    budget_table,
    classifiers_table,
    intervals_note,
    selection_table,
    steps_table,
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
_GROWING = (
    f"The second half of the target images arrives with classifier {ARRIVAL_STEP + 1}, without labels and with the "
    "uniform prior, hence with the highest entropy there is. An image that no classifier was asked about yet has no "
    "label and counts as wrong; its first label is no flip."
)
_HOW: Mapping[Selection, str] = {"entropy": "by posterior entropy", "random": "at random"}


def stream_report(
    diverse: Experiment, alike: Experiment, figures: Mapping[Selection, Figure], configuration: str
) -> Report:
    """Classifiers, verdicts, curves and all numbers.

    Args:
        diverse, alike: what was played on either stream.
        figures: the first stream's, by selection, as `stream_figure` made them.
        configuration: the resolved configuration, as text.
    """
    growing = diverse.growing_budget
    note = intervals_note(diverse)
    pictures = tuple(
        Picture(figure, f"Items selected {_HOW[selection]}. {note}") for selection, figure in figures.items()
    )
    compared = (selection_table(diverse),) if len(diverse.selections) > 1 else ()
    sections = [
        Section("The stream", (*_STORY, classifiers_table(diverse))),
        Section("What is claimed", (against_replace_table(diverse), *compared)),
        Section("Over the steps", (*pictures, *_by_step(diverse))),
        Section("Every rule", _all_budgets(diverse)),
        Section(
            "Classifiers that err alike",
            (_ALIKE, classifiers_table(alike), against_replace_table(alike), *_all_budgets(alike)),
        ),
    ]
    if growing is not None:
        tables = (budget_table(diverse, selection, growing, True) for selection in selections_under(growing))
        sections.append(Section("A growing data set", (_GROWING, *tables)))
    return Report(
        title="Prediction updates on a stream of five classifiers",
        lead=_lead(diverse, alike),
        facts=(
            ("data", "scikit-learn's digits"),
            ("target images", str(diverse.items)),
            ("steps", str(len(diverse.kinds))),
            ("seeds", str(diverse.seeds)),
        ),
        sections=tuple(sections),
        configuration=configuration,
    )


def _all_budgets(experiment: Experiment) -> tuple[Table, ...]:
    return tuple(
        budget_table(experiment, selection, budget)
        for budget in experiment.budgets
        for selection in selections_under(budget)
    )


def _by_step(experiment: Experiment) -> tuple[Table, ...]:
    return tuple(steps_table(experiment, selections_under(budget)[0], budget) for budget in experiment.budgets)


def _lead(diverse: Experiment, alike: Experiment) -> str:
    """The sentence that says in how many settings the claims hold."""
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


def stream_data(experiment: Experiment) -> dict[str, Any]:
    """The numbers of an experiment, JSON-able: each policy step by step, its last values seed by seed."""
    return {
        "items": experiment.items,
        "seeds": experiment.seeds,
        "classifiers": [
            {
                "name": kind.name,
                "source_accuracy_percent": _plain(student_interval(experiment.source_accuracy[:, step])),
                "target_accuracy_percent": _plain(student_interval(experiment.target_accuracy[:, step])),
            }
            for step, kind in enumerate(experiment.kinds)
        ],
        "against_replace": [
            {
                "rule": rule_name(each.rule),
                "selection": each.selection,
                "budget": each.budget,
                "share_of_negative_flips": _plain(each.share),
                "flips_verdict": each.flips_verdict,
                "accuracy_points": _plain(each.accuracy),
                "accuracy_verdict": each.accuracy_verdict,
            }
            for each in against_replace(experiment)
        ],
        "entropy_against_random": [
            {
                "rule": rule_name(each.rule),
                "budget": each.budget,
                "accuracy_points": _plain(each.accuracy),
                "verdict": each.verdict,
            }
            for each in entropy_against_random(experiment)
        ],
        "policies": [
            {
                "rule": rule_name(policy.rule),
                "selection": policy.selection,
                "budget": policy.budget,
                "growing": policy.growing,
                **_scores_data(scores),
            }
            for policy, scores in experiment.scores.items()
        ],
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


def _plain(estimate: Estimate) -> dict[str, float]:
    return {"mean": estimate.value, "low": estimate.interval.low, "high": estimate.interval.high}
