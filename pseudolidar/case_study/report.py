"""The case study's report: verdict first, then the evidence."""

from collections.abc import Iterator, Sequence

from pseudolidar.case_study.diagnosis import diagnosis_blocks
from pseudolidar.case_study.disparity import DISPARITY
from pseudolidar.case_study.pictures import (
    cloud_blocks,
    curve_blocks,
    depth_blocks,
    disparity_blocks,
    flip_blocks,
    remedy_blocks,
    scene_blocks,
    verdict_blocks,
)
from pseudolidar.case_study.power import smallest_changes_table
from pseudolidar.case_study.remedies import recommendation_sentences
from pseudolidar.case_study.settings import UPDATE
from pseudolidar.case_study.study import CaseStudy
from pseudolidar.case_study.tables import (
    RANGE_NAMES,
    depth_error_table,
    source_name,
    table_1,
    table_2,
    table_3,
    verdict_table,
)
from pseudolidar.synthetic import TownData
from pseudolidar.systems import Change, parents_first
from pseudolidar.tables import Row, Table
from pseudolidar.viewing import Block, Report, Section


def case_study_report(study: CaseStudy, configuration: str) -> Report:
    """The report of a case study that has been run; it lists the failures and leaves out their dependants."""
    verdict = study.verdict
    # The changes themselves are in the table.
    said = [] if verdict is None else [change.sentence() for change in (verdict.own, *verdict.descendants.values())]
    sentences = [] if verdict is None else [line for line in verdict.sentences() if line not in said]
    detectors = [table_1(study)]
    if any(place.near_only for place in study.places):
        detectors.append(table_3(study))
    sections = [
        Section("Verdict", tuple(_verdict_blocks(study, sentences[1:]))),
        Section("What is missing", _missing(study)),
        Section("Upstream: the disparity models", (upstream_sentence(study), table_2(study), depth_error_table(study))),
        Section("Downstream: the detectors", tuple(detectors)),
        Section("Why: which term of the error grew", tuple(diagnosis_blocks(study))),
        Section("What to do: remedies", tuple(remedy_blocks(study))),
        Section("By depth", tuple(depth_blocks(study))),
        Section("Negative and positive flips", tuple(flip_blocks(study))),
        Section("Scenes to turn", tuple(scene_blocks(study))),
        Section("Disparity maps", tuple(disparity_blocks(study))),
        Section("Clouds from above, with boxes", tuple(cloud_blocks(study))),
        Section("Precision and recall", tuple(curve_blocks(study))),
    ]
    return Report(
        title=f"Case study {study.settings.name}: u, u' and what depends on them",
        lead=" ".join([*sentences[:1], upstream_sentence(study), *recommendation_sentences(study)[:1]]),
        sections=tuple(section for section in sections if section.blocks),
        facts=_facts(study),
        configuration=configuration,
    )


def _verdict_blocks(study: CaseStudy, sentences: Sequence[str]) -> Iterator[Block]:
    if study.verdict is not None:
        yield verdict_table(study)
        yield from verdict_blocks(study)
        yield from sentences
        yield smallest_changes_table(study)


def upstream_sentence(study: CaseStudy) -> str:
    """Which disparity model has the lower error, overall and by depth, as far as the intervals tell."""
    if not study.is_compared(DISPARITY):
        return "The disparity models are missing."
    names = [source_name(study.settings, source) for source in UPDATE]
    changes = [study.region_change("all", depth) for depth in range(len(RANGE_NAMES))]
    overall = changes[0]
    losses = f"{overall.before:.3f} px by {names[0]}, {overall.after:.3f} px by {names[1]}"
    if not overall.difference:
        return f"Upstream, both disparity models have the same error: {losses}."
    lower = "u'" if overall.difference < 0 else "u"
    alone = "" if overall.over_seeds or not overall.reason else "; on these frames, by one training each"
    text = f"Upstream, {lower} has the lower disparity error{_doubt(overall)}: {losses}{alone}."
    for better, rises in (("u", True), ("u'", False)):
        ranges = [
            f"{name} m{_doubt(change)}"
            for name, change in zip(RANGE_NAMES[1:], changes[1:], strict=True)
            if (change.difference > 0 if rises else change.difference < 0)
        ]
        if ranges:
            text += f" {better} is better at {', '.join(ranges)}."
    return text


def _doubt(change: Change) -> str:
    return "" if change.interval.excludes_zero else " (undecided)"


def _missing(study: CaseStudy) -> tuple[Block, ...]:
    if not study.result.failed:
        return ()
    rows = tuple(Row((str(failure.stage), failure.message)) for failure in study.result.failed)
    skipped = len(study.result.skipped)
    note = f"{skipped} {'stage that depends' if skipped == 1 else 'stages that depend'} on them could not be made."
    return (Table("Stages that failed", (("stage", "why"),), rows, (note,) if skipped else ()),)


def _facts(study: CaseStudy) -> tuple[tuple[str, str], ...]:
    data = study.settings.data
    source = f"synthetic town, preset {data.preset}" if isinstance(data, TownData) else str(data.root)
    stages = [stage for stage in parents_first(study.wanted()) if study.store.is_finished(stage)]
    minutes = sum(study.store.seconds(stage) for stage in stages) / 60
    return (
        ("data", source),
        ("frames", f"{len(study.frames('train'))} for training, {len(study.frames('val'))} for validation"),
        ("training seeds", ", ".join(map(str, study.seeds))),
        ("stages", f"{len(stages)}, {minutes:.0f} minutes of work in all"),
    )
