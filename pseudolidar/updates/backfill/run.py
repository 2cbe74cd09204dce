"""A backfill from beginning to end: read, update by each version, write result files and the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pseudolidar.detectors.boxes2d import ScoreKind
from pseudolidar.files import require_output_folder
from pseudolidar.kitti import ObjectDataset
from pseudolidar.updates import MaxBelief, Replace, Rule, Selection, rule_name
from pseudolidar.updates.backfill.archive import Archive, Waiting
from pseudolidar.updates.backfill.candidates import frame_count, read_candidates
from pseudolidar.updates.backfill.labelling import LabelledFrames, Predictions
from pseudolidar.updates.backfill.report import StoredLabels, backfill_report, budgets_figure
from pseudolidar.updates.backfill.scoring import accuracy_change, changes, compare_policies, object_flips
from pseudolidar.updates.backfill.versions import Classifier, versions_from
from pseudolidar.viewing import Report, save_figure, write_report

_RANDOM_RUNS = 5
"""Random choices of frames over which a comparison takes the mean."""


@dataclass(frozen=True)
class BackfillSettings:
    """Settings of a backfill; `configs/backfill.yaml` explains each one."""

    data: str
    archive: str
    labelled: str
    candidates: str
    versions: Mapping[str, Any]
    min_score: float | Mapping[str, float] | None
    budget: float
    selection: Selection
    rule: Rule
    budgets: Sequence[float]
    output: str
    boxes_scores: ScoreKind
    candidate_score: float
    max_iou: float
    min_iou: float
    seed: int


@dataclass(frozen=True, eq=False)
class BackfillResult:
    """The output of a run: the report, and the folder of the stored objects as KITTI result files.

    `replacements`: a CSV file for each finished version after the first. `waiting`: the version to run next, if any.
    """

    report: Report
    results: Path
    replacements: tuple[Path, ...]
    waiting: Waiting | None


def run_backfill(settings: BackfillSettings, configuration: str) -> BackfillResult:
    """Update as far as there are results; write the results, report.html and, if budgets are compared, budgets.png.

    `configuration` is the settings as text, for the report. FormatError for missing or broken files (see `Archive`,
    `read_candidates`) or if the output folder is a file; InputError for settings out of range.
    """
    require_output_folder(settings.output, "the archive")
    frames, labelled = (ObjectDataset(settings.data, split) for split in (settings.archive, settings.labelled))
    for budget in settings.budgets:
        frame_count(budget, len(frames))  # a mistake is reported before anything is taken in
    own, other = (
        read_candidates(
            settings.candidates, one.frame_ids, settings.max_iou, settings.candidate_score, settings.boxes_scores
        )
        for one in (frames, labelled)
    )
    with Archive(
        Path(settings.output),
        own,
        LabelledFrames.read(labelled, other, settings.min_iou),
        versions_from(settings.versions, settings.min_score),
        settings.min_iou,
    ) as archive:
        waiting = archive.advance(settings.budget, settings.rule, settings.selection, settings.seed)
        sources = archive.sources()
        report = _report(archive, frames, waiting, sources, settings, configuration)
        write_report(report, archive.folder / "report.html")
        replacements = tuple(archive.replacements_file(number) for number in range(1, archive.finished))
        return BackfillResult(report, archive.write_results(sources), replacements, waiting)


def _report(
    archive: Archive,
    frames: ObjectDataset,
    waiting: Waiting | None,
    sources: Sequence[Predictions],
    settings: BackfillSettings,
    configuration: str,
) -> Report:
    truth, complete, trials, figure = None, [], [], None
    if all(frame.path("label_2").is_file() for frame in frames):
        truth = LabelledFrames.read(frames, archive.candidates, settings.min_iou)
        for one in archive.classifiers:
            if one.version.missing(archive.candidates.frame_ids):
                break
            complete.append((one, one.classify(archive.candidates, archive.candidates.frame_ids)))
    if truth is not None and len(complete) == len(archive.versions) > 1 and settings.budgets:
        rules = dict.fromkeys([settings.rule, MaxBelief()])
        policies: list[tuple[Rule, Selection]] = [(rule, "entropy") for rule in rules]
        policies += dict.fromkeys([(settings.rule, "random"), (Replace(), "random")])
        seeds = range(settings.seed, settings.seed + _RANDOM_RUNS)
        trials = compare_policies(
            archive.candidates, archive.labelled, truth.truth, complete, policies, settings.budgets, seeds
        )
        first = archive.labels_after(0)
        figure = budgets_figure(trials, changes(first, first, truth.truth), len(frames))
        save_figure(figure, archive.folder / "budgets.png")
    facts = {
        "archive": f"{settings.archive}, {len(frames)} frames, {len(archive.candidates)} candidates",
        "labelled": f"{settings.labelled}, {len(archive.labelled.candidates.frame_ids)} frames",
        "rule": rule_name(settings.rule),
        "frames chosen by": settings.selection,
    }
    stored = _stored_labels(archive, truth, sources, complete, settings.seed)
    known = truth.truth if truth is not None else None
    return backfill_report(archive, waiting, stored, known, trials, figure, facts, configuration)


def _stored_labels(
    archive: Archive,
    truth: LabelledFrames | None,
    sources: Sequence[Predictions],
    complete: Sequence[tuple[Classifier, Predictions]],
    seed: int,
) -> list[StoredLabels]:
    """The labels at the beginning, after each version, and after each complete version as if it had replaced all."""
    candidates, names = archive.candidates, [version.name for version in archive.versions]
    everything, first = candidates.frame_ids, archive.labels_after(0)
    states = [(f"{names[0]}, stored", everything, first, sources[:1])]
    for number in range(1, archive.finished):
        run = tuple(archive.frames_of(number)), archive.labels_after(number), sources[: number + 1]
        states.append((f"{names[number]}, backfilled", *run))
    states += [(f"{one.version.name}, all replaced", everything, own.label, [own]) for one, own in complete[1:]]
    # A version that gives 2D boxes alone has no objects on the ground.
    heights = [own.detections.objects.box3d[:, 3] for own in (*sources, *(own for _, own in complete))]
    on_ground = not any(len(height) and (height <= 0).all() for height in heights)
    stored: list[StoredLabels] = []
    for name, frames, labels, behind in states:
        items = int(np.isin(np.array(everything)[candidates.frame], frames).sum())
        one = StoredLabels(name, len(frames), items, int((first != labels).sum()))
        if truth is not None:
            one.changes = changes(first, labels, truth.truth)
            # All are compared on the same drawn frames.
            one.wrong = accuracy_change(candidates, first, labels, truth.truth, np.random.default_rng(seed))
            if on_ground and stored:
                one.objects = object_flips(candidates, truth.labels, (first, sources[:1]), (labels, behind))
        stored.append(one)
    return stored
