"""A backfill from beginning to end: read, take versions in, write what is to be run and replaced, and the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pseudolidar.detectors.boxes2d import ScoreKind
from pseudolidar.evaluation.flips import ObjectFlips
from pseudolidar.files import require_output_folder
from pseudolidar.kitti import ObjectDataset
from pseudolidar.updates import MaxBelief, Replace, Rule
from pseudolidar.updates.backfill.archive import Archive, Waiting
from pseudolidar.updates.backfill.candidates import read_candidates
from pseudolidar.updates.backfill.comparison import Policy, Trial, compare_policies
from pseudolidar.updates.backfill.frames import Selection, frame_count
from pseudolidar.updates.backfill.labelling import Answers, LabelledFrames
from pseudolidar.updates.backfill.report import backfill_report, budgets_figure, rule_text
from pseudolidar.updates.backfill.scoring import accuracy_change, changes, object_flips
from pseudolidar.updates.backfill.tables import Stage
from pseudolidar.updates.backfill.versions import Classifier, versions_from
from pseudolidar.viewing import Report, save_figure, write_report

_CHANCES = 5
"""Random choices of frames over which a comparison takes the mean."""


@dataclass(frozen=True)
class BackfillSettings:
    """What a backfill is made of; see `configs/backfill.yaml`.

    Attributes:
        data: folder in KITTI's object layout.
        archive: split of the frames with stored detections.
        labelled: split of frames with labels that no version was trained on and that the archive lacks.
        candidates: 2D boxes of both, see `read_candidates`.
        versions: name -> results, see `versions_from`; the first is what is stored.
        min_score: of the detections of versions that don't say one.
        budget: share or number of frames, see `frame_count`.
        selection: of frames.
        rule: when a stored label changes.
        budgets: to compare, where a labelled archive has all results.
        output: folder of the state and of all that is written.
        boxes_scores: what the candidates' scores are.
        candidate_score: lowest score of a candidate, a probability.
        max_overlap: of two candidates in the image.
        min_overlap: of a candidate and what it is matched with.
        seed: of choices by chance.
    """

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
    max_overlap: float
    min_overlap: float
    seed: int


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run came to.

    Attributes:
        report: with all tables.
        results: folder of the stored state as KITTI result files.
        replacements: a CSV file for each version that was taken in, but the first.
        waiting: what is to be run, None when all versions are taken in.
    """

    report: Report
    results: Path
    replacements: tuple[Path, ...]
    waiting: Waiting | None


def run_backfill(settings: BackfillSettings, configuration: str) -> Outcome:
    """Go on as far as there are results; write the results, report.html and, of compared budgets, budgets.png.

    Args:
        settings: of the backfill.
        configuration: the same, as text, for the report.

    Raises:
        FormatError: missing or broken files, see `Archive` and `read_candidates`.
        InputError: settings that make no sense, a file in place of the output folder.
    """
    require_output_folder(settings.output, "the archive")
    frames = ObjectDataset(settings.data, settings.archive)
    for budget in settings.budgets:
        frame_count(budget, len(frames))  # what is wrong is said before anything is taken in
    with open_archive(settings, frames) as archive:
        waiting = archive.advance(settings.budget, settings.rule, settings.selection, settings.seed)
        report = _report(archive, frames, waiting, settings, configuration)
        write_report(report, archive.folder / "report.html")
        replacements = tuple(archive.replacements_file(version) for version in archive.versions[1 : archive.finished])
        return Outcome(report, archive.write_results(), replacements, waiting)


def _report(
    archive: Archive, frames: ObjectDataset, waiting: Waiting | None, settings: BackfillSettings, configuration: str
) -> Report:
    truth = None
    if all(frame.path("label_2").is_file() for frame in frames):
        truth = LabelledFrames.read(frames, archive.candidates, settings.min_overlap)
    complete = _complete(archive) if truth is not None else []
    trials: list[Trial] = []
    figure = None
    if truth is not None and len(complete) == len(archive.versions) > 1 and settings.budgets:
        trials = _trials(archive, truth, complete, settings)
        first = archive.labels_after(0)
        figure = budgets_figure(trials, changes(first, first, truth.truth), len(frames))
        save_figure(figure, archive.folder / "budgets.png")
    facts = {
        "archive": f"{settings.archive}, {len(frames)} frames, {len(archive.candidates)} candidates",
        "labelled": f"{settings.labelled}, {len(archive.labelled.candidates.frame_ids)} frames",
        "rule": rule_text(settings.rule),
        "frames chosen by": settings.selection,
    }
    stages = _stages(archive, truth, complete, settings.seed)
    flips = {} if truth is None else _flips(archive, truth, complete)
    known = truth.truth if truth is not None else None
    return backfill_report(archive, waiting, stages, flips, known, trials, figure, facts, configuration)


def open_archive(settings: BackfillSettings, frames: ObjectDataset) -> Archive:
    """The archive with its candidates and labelled frames, as far as it was taken before."""
    labelled = ObjectDataset(settings.data, settings.labelled)
    own, other = (
        read_candidates(
            settings.candidates, one.frame_ids, settings.max_overlap, settings.candidate_score, settings.boxes_scores
        )
        for one in (frames, labelled)
    )
    return Archive(
        Path(settings.output),
        own,
        LabelledFrames.read(labelled, other, settings.min_overlap),
        versions_from(settings.versions, settings.min_score),
        settings.min_overlap,
    )


def _complete(archive: Archive) -> list[tuple[Classifier, Answers]]:
    """The versions, up to the first that lacks some, that have results on the whole archive, and what they say."""
    ids, complete = archive.candidates.frame_ids, []
    for one in archive.classifiers:
        if one.version.missing(ids):
            break
        complete.append((one, one.classify(archive.candidates)))
    return complete


def _stages(
    archive: Archive, truth: LabelledFrames | None, complete: Sequence[tuple[Classifier, Answers]], seed: int
) -> list[Stage]:
    first = archive.labels_after(0)

    def stage(name: str, frames: Sequence[str], labels: NDArray[np.int16]) -> Stage:
        candidates = archive.candidates
        items = np.isin(np.array(candidates.frame_ids)[candidates.frame], frames).sum()
        changed = int((first != labels).sum())
        if truth is None:
            return Stage(name, len(frames), int(items), changed, None, None)
        # All stages are compared on the same drawn frames.
        wrong = accuracy_change(candidates, first, labels, truth.truth, np.random.default_rng(seed))
        return Stage(name, len(frames), int(items), changed, changes(first, labels, truth.truth), wrong)

    names = [version.name for version in archive.versions]
    stages = [stage(f"{names[0]}, stored", archive.candidates.frame_ids, first)]
    for number in range(1, archive.finished):
        stages.append(stage(f"{names[number]}, backfilled", archive.frames_of(number), archive.labels_after(number)))
    for one, said in complete[1:]:
        stages.append(stage(f"{one.version.name}, all replaced", archive.candidates.frame_ids, said.label))
    return stages


def _flips(
    archive: Archive, truth: LabelledFrames, complete: Sequence[tuple[Classifier, Answers]]
) -> dict[str, dict[str, ObjectFlips]]:
    """Objects on the ground, of each stage but the first; none where a version gives 2D boxes alone."""
    sources = archive.sources()
    for said in (*sources, *(said for _, said in complete)):
        heights = said.detections.objects.box3d[:, 3]
        if len(heights) and (heights <= 0).all():
            return {}
    before = (archive.labels_after(0), sources[:1])
    flips = {}
    for number in range(1, archive.finished):
        after = (archive.labels_after(number), sources[: number + 1])
        name = f"{archive.versions[number].name}, backfilled"
        flips[name] = object_flips(archive.candidates, truth.labels, before, after)
    for one, said in complete[1:]:
        flips[f"{one.version.name}, all replaced"] = object_flips(
            archive.candidates, truth.labels, before, (said.label, [said])
        )
    return flips


def _trials(
    archive: Archive, truth: LabelledFrames, complete: Sequence[tuple[Classifier, Answers]], settings: BackfillSettings
) -> list[Trial]:
    rules = dict.fromkeys([settings.rule, MaxBelief()])
    policies = [Policy(rule, "entropy") for rule in rules]
    policies += [Policy(settings.rule, "random"), Policy(Replace(), "random")]
    seeds = range(settings.seed, settings.seed + _CHANCES)
    unique = list(dict.fromkeys(policies))
    return compare_policies(
        archive.candidates, archive.labelled, truth.truth, complete, unique, settings.budgets, seeds
    )
