"""A backfill as tables: stored labels by version, objects on the ground, coverage, confusion matrices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isnan

from pseudolidar.evaluation import CLASSES, LOOSE_OVERLAP
from pseudolidar.evaluation.flips import ObjectFlips
from pseudolidar.statistics import Estimate
from pseudolidar.systems import Change
from pseudolidar.tables import Heading, Row, Table, Value
from pseudolidar.updates.backfill.labelling import LABELS, Truth
from pseudolidar.updates.backfill.scoring import Changes
from pseudolidar.updates.backfill.versions import Classifier


@dataclass(frozen=True)
class Stage:
    """Stored labels at some time.

    Attributes:
        name: which versions are in them.
        frames: that the newest of them was run on.
        items: candidates in those frames.
        changed: items whose label is not the one stored at the beginning.
        changes: against the labels at the beginning; None without ground truth.
        wrong: change of the share of wrong labels, likewise.
    """

    name: str
    frames: int
    items: int
    changed: int
    changes: Changes | None
    wrong: Change | None


def stages_table(stages: Sequence[Stage]) -> Table:
    """What was run and what it changed, the labels stored at the beginning first."""
    scored = any(stage.changes is not None for stage in stages)
    rows = []
    for number, stage in enumerate(stages):
        cells: list[Value] = [stage.name, stage.frames, stage.items]
        cells.append(stage.changed if number else None)
        if stage.changes is not None:
            one = stage.changes
            cells += [one.found, one.lost, one.added, one.removed] if number else [None] * 4
            cells.append(100 * one.accuracy)
            cells.append(_gain(stage.wrong) if number and stage.wrong is not None else None)
        rows.append(Row(tuple(cells)))
    header: tuple[tuple[str | Heading, ...], ...] = (("labels", "frames run", "items", "changed"),)
    notes: tuple[str, ...] = (
        "Frames run, and their items: by that version alone. Changed: the label is not the one stored at "
        "the beginning.",
    )
    if scored:
        header = (
            (Heading("", 4), Heading("objects", 2), Heading("false detections", 2), Heading("right (%)", 2)),
            (*header[0], "found", "lost", "added", "removed", "", "change"),
        )
        notes += (
            "An object is found if its item has the right class; a false detection is an item that is called a class "
            "and is background or of another class. Right: of the items that count; those on a Van or Person_sitting "
            "and in DontCare regions do not. Intervals: 95 %, over frames.",
        )
    return Table("Stored labels against those at the beginning", header, tuple(rows), notes, digits=1)


def _gain(wrong: Change) -> Estimate:
    return Estimate(wrong.difference, wrong.interval, signed=True).scaled(-1)


def objects_table(flips: Mapping[str, Mapping[str, ObjectFlips]]) -> Table:
    """Objects by their place on the ground, stage -> class -> flips, with false detections before and after."""
    rows = []
    for stage, by_class in flips.items():
        for number, (class_name, one) in enumerate(by_class.items()):
            counts = one.flips.counts()
            false = one.before.false_count, one.after.false_count
            name = stage if not number else ""
            numbers = (counts["positive flip"], counts["negative flip"], counts["kept"], counts["missed"], *false)
            rows.append(Row((name, class_name, *numbers), rule_above=not number))
    overlaps = ", ".join(f"{name} {LOOSE_OVERLAP[name]['bev']:g}" for name in CLASSES)
    return Table(
        "Objects found on the ground",
        (
            (Heading("", 2), Heading("objects", 4), Heading("false detections", 2)),
            ("labels", "class", "found", "lost", "kept", "missed", "before", "after"),
        ),
        tuple(rows),
        (
            f"KITTI's matching in bird's eye view, all difficulties, IoU above: {overlaps}. Every labelled object "
            "takes part, those that no candidate covers are missed throughout. An object may be lost here that keeps "
            "its label: its newest detection lies elsewhere.",
        ),
    )


def coverage_table(truth: Truth) -> Table:
    """How many labelled objects the candidates cover."""
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


def confusion_table(classifier: Classifier) -> Table:
    """What a version says of candidates of each kind, %, with its operating points."""
    rows = [
        Row((label, *(100 * float(value) for value in values)))
        for label, values in zip(LABELS, classifier.confusion.values, strict=True)
    ]
    scores = ", ".join(
        f"{name} {score:.3g}" if isfinite(score) else f"{name}: none" for name, score in classifier.min_score.items()
    )
    uncovered = 0.0 if isnan(classifier.covered) else 100 * (1 - classifier.covered)
    return Table(
        f"{classifier.version.name}: says (%)",
        (("", *(f"of {label}" for label in LABELS)),),
        tuple(rows),
        (
            f"Lowest scores that count: {scores}. Of the detections {uncovered:.1f} % speak of no candidate; they are "
            "not stored.".replace("-", "−"),
        ),
        digits=1,
    )
