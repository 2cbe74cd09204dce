"""A backfill as a figure over budgets and as one report."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pseudolidar.evaluation.flips import ObjectFlips
from pseudolidar.tables import Row, Table
from pseudolidar.updates import Rule
from pseudolidar.updates.backfill.archive import Archive, Waiting
from pseudolidar.updates.backfill.comparison import Policy, Trial
from pseudolidar.updates.backfill.labelling import Truth
from pseudolidar.updates.backfill.scoring import Changes
from pseudolidar.updates.backfill.tables import Stage, confusion_table, coverage_table, objects_table, stages_table
from pseudolidar.viewing import Block, Picture, Report, Section
from pseudolidar.viewing.canvas import PAGE_WIDTH_IN, axes_at, drawing_style, new_figure
from pseudolidar.viewing.colours import THEME

_PANELS = {
    "objects found": lambda trial: trial.mean("found"),
    "objects lost": lambda trial: trial.mean("lost"),
    "false detections, added − removed": lambda trial: trial.mean("added") - trial.mean("removed"),
    "items right (%)": lambda trial: 100 * trial.mean("accuracy"),
}
_COLOURS = [THEME[name][0] for name in ("u-prime", "third", "u", "fourth")]
_WIDTHS = (3.2, 2.3, 1.6, 1.0)
_LEFT_IN = 0.42
_GAP_IN = 0.5
_TOP_IN = 0.3
_HEIGHT_IN = 2.0
_BOTTOM_IN = 0.68


def rule_text(rule: Rule) -> str:
    """Name of the rule in tables and figures, e.g. "cost ratio 3"."""
    words = re.sub(r"(?<=.)([A-Z])", r" \1", type(rule).__name__).lower()
    return " ".join([words, *(f"{getattr(rule, field.name):g}" for field in fields(rule))])


def policy_text(policy: Policy) -> str:
    """E.g. "cost ratio 3, uncertain frames"."""
    return f"{rule_text(policy.rule)}, {'uncertain' if policy.selection == 'entropy' else 'random'} frames"


def budgets_figure(trials: Sequence[Trial], beginning: Changes, frames: int) -> Figure:
    """What each policy finds and loses against the labels at the beginning, over the share of frames that it runs.

    Args:
        trials: at least one, of up to four policies; their order is that of the legend.
        beginning: the labels there against themselves.
        frames: of the archive.
    """
    policies = dict.fromkeys(trial.policy for trial in trials)
    width = (PAGE_WIDTH_IN - len(_PANELS) * _LEFT_IN - (len(_PANELS) - 1) * (_GAP_IN - _LEFT_IN) - 0.1) / len(_PANELS)
    with drawing_style():
        figure = new_figure(PAGE_WIDTH_IN, _TOP_IN + _HEIGHT_IN + _BOTTOM_IN)
        for column, (title, value) in enumerate(_PANELS.items()):
            axes = axes_at(figure, _LEFT_IN + column * (width + _GAP_IN), _TOP_IN, width, _HEIGHT_IN)
            # Thinner and thinner, so that what coincides is seen.
            for policy, colour, linewidth in zip(policies, _COLOURS, _WIDTHS, strict=False):
                own = sorted((trial for trial in trials if trial.policy == policy), key=lambda trial: trial.frames)
                own = [Trial(policy, 0, (beginning,)), *own]
                share = [100 * trial.frames / frames for trial in own]
                axes.plot(share, [value(trial) for trial in own], color=colour, linewidth=linewidth, marker="o",
                          markersize=3 + linewidth / 2, label=policy_text(policy), clip_on=False,
                          zorder=3)  # fmt: skip
            axes.set_title(title)
            axes.set_xlim(0, 100)
            axes.yaxis.set_major_locator(MaxNLocator(6, integer=column < 2))
            axes.grid()
            axes.set_xlabel("frames run (%)", labelpad=2)
            if column < 2:
                axes.set_ylim(bottom=0)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=len(labels))
    return figure


def backfill_report(
    archive: Archive,
    waiting: Waiting | None,
    stages: Sequence[Stage],
    flips: Mapping[str, Mapping[str, ObjectFlips]],
    truth: Truth | None,
    trials: Sequence[Trial],
    figure: Figure | None,
    facts: Mapping[str, str],
    configuration: str,
) -> Report:
    """What was run, what it changed and, on a labelled archive, what that did.

    Args:
        archive: after `Archive.advance`.
        waiting: what is to be run next.
        stages: the labels at the beginning first.
        flips: of objects on the ground, stage -> class; empty without ground truth.
        truth: of the candidates, None without.
        trials: budgets compared; empty where not every version has results on the whole archive.
        figure: of the trials.
        facts: under the first paragraph.
        configuration: resolved, as text.
    """
    blocks: list[Block] = [stages_table(stages)]
    sections = [Section("What changed", tuple(blocks))]
    if flips:
        sections.append(Section("On the ground", (objects_table(flips),)))
    if figure is not None:
        caption = (
            "Each policy against the labels at the beginning, after all versions; where frames are chosen by chance, "
            f"the mean of {max(len(trial.runs) for trial in trials)} choices. Frames run: by each later version. "
            "Replace at 100 % is full backfill."
        )
        sections.append(Section("Other budgets", (Picture(figure, caption), _trials_table(trials))))
    if truth is not None:
        sections.append(Section("What the items are", (coverage_table(truth),)))
    tables: tuple[Table, ...] = tuple(confusion_table(one) for one in archive.classifiers)
    text = (
        "Measured on the labelled frames, with one added to every count. The rules take the versions' errors on one "
        "object for independent; versions that share detectors or images err together, and beliefs are then too sure."
    )
    sections.append(Section("What the versions say", (text, *tables)))
    return Report("Backfill", _lead(waiting, stages), tuple(sections), tuple(facts.items()), configuration)


def _trials_table(trials: Sequence[Trial]) -> Table:
    rows = []
    for i, trial in enumerate(trials):
        first = not i or trials[i - 1].policy != trial.policy
        values = [trial.mean(name) for name in ("found", "lost", "added", "removed")]
        accuracy = 100 * trial.mean("accuracy")
        rows.append(
            Row((policy_text(trial.policy) if first else "", trial.frames, *values, accuracy), rule_above=first)
        )
    header = ("policy", "frames run", "found", "lost", "added", "removed", "right (%)")
    return Table("Budgets compared, over items", (header,), tuple(rows), digits=1)


def _lead(waiting: Waiting | None, stages: Sequence[Stage]) -> str:
    sentences = []
    for stage in stages[1:]:
        text = f"{stage.name}, {stage.frames} of {stages[0].frames} frames: {stage.changed} labels changed"
        if stage.changes is not None:
            one = stage.changes
            text += (
                f", {one.found} objects found and {one.lost} lost, "
                f"{one.added} false detections added and {one.removed} removed"
            )
        sentences.append(f"{text}.")
    if waiting is not None:
        sentences.append(
            f"Next, {waiting.version.name} is to be run on {len(waiting.frames)} frames of the archive; results are "
            f"missing in {len(waiting.missing)} frames, the labelled ones among them."
        )
    return " ".join(sentences or [f"{stages[0].name}: the labels at the beginning; no other version yet."])
