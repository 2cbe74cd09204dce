"""The report on a backfill: tables, and a figure over budgets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, isnan

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pseudolidar.evaluation import CLASSES, LOOSE_OVERLAP
from pseudolidar.evaluation.flips import ObjectFlips
from pseudolidar.statistics import Estimate
from pseudolidar.systems import Change
from pseudolidar.tables import Heading, Row, Table, Value
from pseudolidar.updates import Rule, Selection, rule_name
from pseudolidar.updates.backfill.archive import Archive, Waiting
from pseudolidar.updates.backfill.labelling import LABELS, Truth
from pseudolidar.updates.backfill.scoring import Changes, Trial
from pseudolidar.updates.backfill.versions import Classifier
from pseudolidar.viewing import Picture, Report, Section
from pseudolidar.viewing.canvas import Grid, drawing_style
from pseudolidar.viewing.colours import THEME

_PANELS = {
    "positive flips (objects)": lambda trial: trial.mean("positive"),
    "negative flips (objects)": lambda trial: trial.mean("negative"),
    "false detections, added − removed": lambda trial: trial.mean("added") - trial.mean("removed"),
    "items right (%)": lambda trial: 100 * trial.mean("accuracy"),
}
_COLOURS = [THEME[name][0] for name in ("u-prime", "third", "u", "fourth")]
_WIDTHS = (3.2, 2.3, 1.6, 1.0)


@dataclass
class StoredLabels:
    """Stored labels at one time, or labels to compare them with.

    Attributes:
        name: which versions gave them.
        frames, items: on which the newest of these versions was run, and the candidates in them.
        changed: items whose label differs from the one stored at the beginning.
        changes, wrong: since the beginning (wrong: of the percentage of wrong labels); None without ground truth.
        objects: by class, flips of objects on the ground; empty without ground truth and at the beginning.
    """

    name: str
    frames: int
    items: int
    changed: int
    changes: Changes | None = None
    wrong: Change | None = None
    objects: Mapping[str, ObjectFlips] = field(default_factory=dict)


def budgets_figure(trials: Sequence[Trial], beginning: Changes, frames: int) -> Figure:
    """Flips and errors of each policy against the labels at the beginning, over the percentage of frames that it runs.

    `trials` has one to four policies, in the order of the legend; `beginning` is the labels at the beginning against
    themselves, `frames` the number of frames in the archive.
    """
    policies = dict.fromkeys((trial.rule, trial.selection) for trial in trials)
    grid = Grid(columns=len(_PANELS), gap_in=0.5, left_in=0.42, right_in=0.1)
    with drawing_style():
        figure, panels = grid.figure(len(_PANELS), height_in=2.0, bottom_in=0.68)
        for axes, (title, value) in zip(panels, _PANELS.items(), strict=True):
            # Thinner and thinner, so that what coincides is seen.
            for policy, colour, linewidth in zip(policies, _COLOURS, _WIDTHS, strict=False):
                own = [Trial(*policy, 0, (beginning,))]
                own += sorted((t for t in trials if (t.rule, t.selection) == policy), key=lambda trial: trial.frames)
                percent = [100 * trial.frames / frames for trial in own]
                axes.plot(percent, [value(trial) for trial in own], color=colour, linewidth=linewidth, marker="o",
                          markersize=3 + linewidth / 2, label=_policy_name(*policy), clip_on=False,
                          zorder=3)  # fmt: skip
            axes.set_title(title)
            axes.set_xlim(0, 100)
            are_flips = axes in panels[:2]
            axes.yaxis.set_major_locator(MaxNLocator(6, integer=are_flips))
            axes.grid()
            axes.set_xlabel("frames run (%)", labelpad=2)
            if are_flips:
                axes.set_ylim(bottom=0)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=len(labels))
    return figure


def _policy_name(rule: Rule, selection: Selection) -> str:
    """E.g. "CostRatio 3, uncertain frames"."""
    return f"{rule_name(rule)}, {'uncertain' if selection == 'entropy' else 'random'} frames"


def backfill_report(
    archive: Archive,
    waiting: Waiting | None,
    stored: Sequence[StoredLabels],
    truth: Truth | None,
    trials: Sequence[Trial],
    figure: Figure | None,
    facts: Mapping[str, str],
    configuration: str,
) -> Report:
    """The report on an archive after `Archive.advance`; `stored` begins with the labels at the beginning.

    `trials` and `figure` are empty and None unless every version has results on the whole archive. `facts` are shown
    under the first paragraph; `configuration` is resolved, as text.
    """
    sections = [Section("What changed", (_stored_table(stored),))]
    if any(one.objects for one in stored):
        sections.append(Section("On the ground", (_objects_table(stored),)))
    if figure is not None:
        caption = (
            "Each policy against the labels at the beginning, after all versions; where frames are chosen at random, "
            f"the mean of {max(len(trial.runs) for trial in trials)} choices. Frames run: by each later version. "
            "Replace at 100 % is full backfill."
        )
        sections.append(Section("Other budgets", (Picture(figure, caption), _trials_table(trials))))
    if truth is not None:
        sections.append(Section("What the items are", (_coverage_table(truth),)))
    text = (
        "Measured on the labelled frames, with one added to every count. The rules take the versions' errors on one "
        "object for independent; versions that share detectors or images err together, and beliefs are then too sure."
    )
    tables = (_confusion_table(one) for one in archive.classifiers)
    sections.append(Section("What the versions predict", (text, *tables)))
    return Report("Backfill", _lead(waiting, stored), tuple(sections), tuple(facts.items()), configuration)


def _lead(waiting: Waiting | None, stored: Sequence[StoredLabels]) -> str:
    sentences = []
    for one in stored[1:]:
        text = f"{one.name}, {one.frames} of {stored[0].frames} frames: {one.changed} labels changed"
        if one.changes is not None:
            text += (
                f", {one.changes.positive} objects found and {one.changes.negative} lost, "
                f"{one.changes.added} false detections added and {one.changes.removed} removed"
            )
        sentences.append(f"{text}.")
    if waiting is not None:
        sentences.append(
            f"Next, {waiting.version.name} is to be run on {len(waiting.frames)} frames of the archive; results are "
            f"missing in {len(waiting.missing)} frames, the labelled ones among them."
        )
    return " ".join(sentences or [f"{stored[0].name}: the labels at the beginning; no other version yet."])


def _stored_table(stored: Sequence[StoredLabels]) -> Table:
    rows = []
    for number, one in enumerate(stored):
        cells: list[Value] = [one.name, one.frames, one.items, one.changed if number else None]
        if one.changes is not None and one.wrong is not None:
            c = one.changes
            gain = Estimate(one.wrong.difference, one.wrong.interval, signed=True).scaled(-1)
            cells += [c.positive, c.negative, c.added, c.removed] if number else [None] * 4
            cells += [100 * c.accuracy, gain if number else None]
        rows.append(Row(tuple(cells)))
    header: tuple[tuple[str | Heading, ...], ...] = (("labels", "frames run", "items", "changed"),)
    notes: tuple[str, ...] = (
        "Frames run, and their items: by that version alone. Changed: the label is not the one stored at "
        "the beginning.",
    )
    if stored[0].changes is not None:
        header = (
            (Heading("", 4), Heading("flips", 2), Heading("false detections", 2), Heading("right (%)", 2)),
            (*header[0], "positive", "negative", "added", "removed", "", "change"),
        )
        notes += (
            "An object is found if its item has the right class: a positive flip finds it, a negative flip loses it. A "
            "false detection is an item that is called a class and is background or of another class. Right: of the "
            "items that count; those on a Van or Person_sitting and in DontCare regions do not. Intervals: 95 %, over "
            "frames.",
        )
    return Table("Stored labels against those at the beginning", header, tuple(rows), notes, digits=1)


def _objects_table(stored: Sequence[StoredLabels]) -> Table:
    rows = []
    for one in stored:
        for number, (class_name, found) in enumerate(one.objects.items()):
            counts = found.flips.counts()
            cells: tuple[Value, ...] = (
                one.name if not number else "",
                class_name,
                *(counts[fate] for fate in ("positive flip", "negative flip", "kept", "missed")),
                *(found.before.false_count, found.after.false_count),
            )
            rows.append(Row(cells, rule_above=not number))
    ious = ", ".join(f"{name} {LOOSE_OVERLAP[name]['bev']:g}" for name in CLASSES)
    return Table(
        "Objects found on the ground",
        (
            (Heading("", 2), Heading("flips", 2), Heading("other objects", 2), Heading("false detections", 2)),
            ("labels", "class", "positive", "negative", "kept", "missed", "before", "after"),
        ),
        tuple(rows),
        (
            f"KITTI's matching in bird's eye view, all difficulties, IoU above: {ious}. Every labelled object "
            "takes part, those that no candidate covers are missed throughout. An object may be lost here that keeps "
            "its label: its newest detection lies elsewhere.",
        ),
    )


def _trials_table(trials: Sequence[Trial]) -> Table:
    rows: list[Row] = []
    previous = ""
    for trial in trials:
        name = _policy_name(trial.rule, trial.selection)
        values = [trial.mean(field) for field in ("positive", "negative", "added", "removed")]
        shown: Value = name if name != previous else ""
        cells = (shown, trial.frames, *values, 100 * trial.mean("accuracy"))
        rows.append(Row(cells, rule_above=name != previous))
        previous = name
    header = (
        (Heading("", 2), Heading("flips", 2), Heading("false detections", 2), ""),
        ("policy", "frames run", "positive", "negative", "added", "removed", "right (%)"),
    )
    return Table("Budgets compared, over items", header, tuple(rows), digits=1)


def _coverage_table(truth: Truth) -> Table:
    rows = []
    for class_name in CLASSES:
        total, covered = truth.objects[class_name], truth.covered[class_name]
        rows.append(Row((class_name, total, covered, total - covered, 100 * covered / total if total else None)))
    return Table(
        "Labelled objects and candidates",
        (("class", "objects", "covered", "not covered", "covered (%)"),),
        tuple(rows),
        ("An object that no candidate covers is no item: no rule can find it, and it is in no number over items.",),
        digits=1,
    )


def _confusion_table(classifier: Classifier) -> Table:
    """A version's predictions for candidates of each label, %, with its operating points."""
    rows = [
        Row((label, *(100 * float(value) for value in values)))
        for label, values in zip(LABELS, classifier.confusion.values, strict=True)
    ]
    scores = ", ".join(
        f"{name} {score:.3g}" if isfinite(score) else f"{name}: none" for name, score in classifier.min_score.items()
    )
    uncovered = 0.0 if isnan(classifier.covered) else 100 * (1 - classifier.covered)
    return Table(
        f"{classifier.version.name}: predicts (%)",
        (("", *(f"for {label}" for label in LABELS)),),
        tuple(rows),
        (
            f"Lowest scores that count: {scores}. Of the detections {uncovered:.1f} % match no candidate; they are "
            "not stored.".replace("-", "−"),
        ),
        digits=1,
    )
