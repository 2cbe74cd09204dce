"""What to do about the update: each detector with each remedy against u and against the plain update, and advice."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pseudolidar.case_study.detectors import BOXES2D
from pseudolidar.case_study.disparity import WEIGHTS
from pseudolidar.case_study.settings import DetectorPlace, Source
from pseudolidar.case_study.study import CaseStudy
from pseudolidar.case_study.tables import signed_change
from pseudolidar.evaluation.flips import ObjectFlips
from pseudolidar.statistics import signed
from pseudolidar.systems import MeanLoss, Stage, parents_first
from pseudolidar.systems.remedies import PLAIN, Recommendation, Tried, Version, corrected_words, recommend
from pseudolidar.tables import Row, Table, Value

_WHAT = {
    "keep": "stays on u",
    "calibrate": "u' calibrated",
    "mixed": "trained on u and u'",
    "congruent": "held to the one on u",
    "near_only": "trained on what is near",
    "ensemble": "u' of several networks",
    "fuse": "boxes found on u and on u'",
}
# What no frame waits for: weights to start from, and 2D boxes, which are the same for all.
_NOT_COUNTED = ("data", "train", WEIGHTS, BOXES2D)


@dataclass(frozen=True)
class TriedDetector(Tried):
    """A detector with a remedy: the system, and the place in it, where the study has it; flips are of objects."""

    source: Source
    place: DetectorPlace


def tried_places(study: CaseStudy) -> list[DetectorPlace]:
    """The detectors with a remedy that is there beside the plain update."""
    return [place for place in study.places if len(_sources(study, place)) > 1]


def _sources(study: CaseStudy, place: DetectorPlace) -> dict[str, tuple[Source, DetectorPlace]]:
    """By remedy, the plain update first, where the study has a detector; what isn't finished is left out."""
    if not study.is_compared(place.vertex):
        return {}
    found: dict[str, tuple[Source, DetectorPlace]] = {PLAIN: ("u'", place)}
    for remedy in study.settings.remedies:
        version = study.remedied(remedy, place)
        if version is not None and study.is_there(version[0], version[1].vertex):
            found[remedy] = version
    return found


@cache
def tried(study: CaseStudy, place: DetectorPlace) -> dict[str, TriedDetector]:
    """A detector with every remedy that is there, and, first, without."""
    found: dict[str, TriedDetector] = {}
    old = study.losses("u", place.vertex)
    for remedy, (source, other) in _sources(study, place).items():
        trained = study.is_trained(place.vertex) or study.systems[source].is_trained(other.vertex)
        losses = study.losses(source, other.vertex)
        flips = [_flip_losses(study, place, source, other, seed) for seed in study.seeds]
        negative, positive = ([pair[kind] for pair in flips] for kind in (0, 1))
        from_update = negative_from_update = None
        if remedy != PLAIN:
            plain = study.losses("u'", place.vertex)
            from_update = study.difference(plain, losses, trained, str(place))
            plain_negative = [_flip_losses(study, place, "u'", place, seed)[0] for seed in study.seeds]
            negative_from_update = study.difference(plain_negative, negative, trained, str(place))
        found[remedy] = TriedDetector(
            study.difference(old, losses, trained, str(place)),
            study.level(negative, trained),
            study.level(positive, trained),
            from_update,
            negative_from_update,
            source,
            other,
        )
    return found


def _flip_losses(
    study: CaseStudy, place: DetectorPlace, source: Source, other: DetectorPlace, seed: int
) -> tuple[MeanLoss, MeanLoss]:
    """Negative and positive flips from the old system, percent of the objects, by frame."""
    objects = ObjectFlips(study.found("u", place, seed), study.found(source, other, seed))
    frames = objects.before.frame_ids

    def by_frame(flipped: NDArray[np.bool_] | None) -> NDArray[np.float64]:
        return np.bincount(objects.before.frame, flipped, minlength=len(frames)).astype(np.float64)

    count = by_frame(None)
    sides = objects.flips.negative, objects.flips.positive
    negative, positive = (MeanLoss(frames, 100 * by_frame(side), count, "% of objects") for side in sides)
    return negative, positive


@cache
def recommendation(study: CaseStudy) -> Recommendation | None:
    """The remedies to take; None where none is there, or nothing is there to score."""
    versions: dict[str, dict[str, Version]] = {}
    for place in tried_places(study):
        versions[str(place)] = {}
        for remedy, (source, other) in _sources(study, place).items():
            trained = study.systems[source].is_trained(other.vertex)
            parts = frame_parts(study, source, other)
            versions[str(place)][remedy] = Version(study.losses(source, other.vertex), trained, parts)
    return recommend(versions, PLAIN, study.random("halves"), study.settings.time_budget) if versions else None


def frame_parts(study: CaseStudy, source: Source, place: DetectorPlace) -> dict[str, float]:
    """By the stage that predicts, the time of a frame of all models that run for a detector, s, 2D boxes aside.

    As it took when the stages were made, reading and writing included.
    """
    split_ids = {frame_id for split in ("train", "val") for frame_id in study.frames(split).frame_ids}
    parts = {}
    for stage in _running(study.stage(source, place.vertex, "predict", study.seeds[0])):
        frames = len({path.stem for path in study.store.folder(stage).iterdir()} & split_ids)
        parts[stage.folder_name] = study.store.seconds(stage) / frames
    return parts


def _running(stage: Stage) -> Iterator[Stage]:
    yield stage
    for role, parent in stage.parents.items():
        if role not in _NOT_COUNTED:
            yield from _running(parent)


def _training_seconds(study: CaseStudy, source: Source, place: DetectorPlace) -> float:
    """Of the detector, beside u, u' and what the old system has; mean over the seeds, 0 without training."""
    seconds = 0.0
    for seed in study.seeds:
        old = {one.fingerprint for one in parents_first([study.stage("u", place.vertex, "test", seed)])}
        for one in parents_first([study.stage(source, place.vertex, "test", seed)]):
            if one.name == f"train-{place.vertex}" and one.fingerprint not in old:
                seconds += study.store.seconds(one)
    return seconds / len(study.seeds)


def remedies_tables(study: CaseStudy) -> tuple[Table, Table]:
    """Every detector without and with each remedy: losses and flips against u; against the plain update, and cost."""
    against_u, against_update, remedies = [], [], []
    for place in tried_places(study):
        found = tried(study, place)
        # The old system against itself is no try.
        from_u = corrected_words({name: one.from_old for name, one in found.items() if name not in (PLAIN, "keep")})
        from_update = corrected_words({n: one.from_update for n, one in found.items() if one.from_update is not None})
        remedies += [name for name in found if name != PLAIN]
        for remedy, one in found.items():
            first = remedy == PLAIN
            named = (str(place) if first else "", _called(remedy))
            frame_s = sum(frame_parts(study, one.source, one.place).values())
            cost = _training_seconds(study, one.source, one.place), 1000 * frame_s
            if remedy != "keep":
                word = one.from_old.word if first else from_u[remedy]
                cells = (*named, signed_change(one.from_old), word, one.negative, one.positive)
                against_u.append(Row(cells, rule_above=first))
            changes: tuple[Value, ...] = ("", "", "")
            if one.from_update is not None and one.negative_from_update is not None:
                flips = signed_change(one.negative_from_update)
                changes = (signed_change(one.from_update), from_update[remedy], flips)
            against_update.append(Row((*named, *changes, *cost), rule_above=first))
    units = sorted({change.unit for place in tried_places(study) for change in [tried(study, place)[PLAIN].from_old]})
    over = "frames alone, one training seed" if len(study.seeds) == 1 else f"frames and {len(study.seeds)} seeds"
    words = (
        f"Test losses in {', '.join(units)}, lower is better; 95 % intervals over {over}, each by itself. Words "
        "are corrected for the number of remedies of a detector (Holm).",
        "; ".join(f"{_called(name)}: {_WHAT[name]}" for name in dict.fromkeys(remedies)) + ".",
    )
    return (
        Table(
            "Remedies against the old system, on u",
            (("", "", "test loss", "", "negative flips (%)", "positive flips (%)"),),
            tuple(against_u),
            (
                *words,
                "Flips: objects found on u and not here (negative), or the reverse, at each detector's score of "
                "highest F1 and the looser IoU. With keep there are none.",
            ),
            digits=1,
        ),
        Table(
            "Remedies against the plain update, to u', and what they cost",
            (("", "", "test loss", "", "negative flips (%)", "train (s)", "frame (ms)"),),
            tuple(against_update),
            (
                "Training of the detector; 0: the old one stays. Frame: all that runs for this detector, as measured "
                "when its stages were made, 2D boxes aside. A detector that stays on u has u run beside u', which "
                "costs nothing more only where all stay. mixed needs u on the training frames. fuse runs both whole "
                "systems; its scores are log odds of being right, those of each half of the validation frames from "
                "the labels of the other half.",
            ),
            digits=1,
        ),
    )


def _called(remedy: str) -> str:
    return "plain update" if remedy == PLAIN else remedy


def remedies_summary(study: CaseStudy) -> tuple[Table, ...]:
    """What each remedy does to each detector's average precision against the old system, without intervals."""
    columns = {place: tried(study, place) for place in tried_places(study)}
    # The old system against itself is no try.
    names = [name for name in (PLAIN, *_WHAT) if name != "keep" and any(name in found for found in columns.values())]
    if not names:
        return ()
    cells: dict[str, list[str]] = {name: [] for name in names}
    for found in columns.values():
        changes = {name: one.from_old for name, one in found.items() if name != "keep"}
        words = corrected_words(changes)
        for name, column in cells.items():
            known = "" if words.get(name, "undecided") == "undecided" else "*"
            column.append(f"{signed(-changes[name].difference, 1)}{known}" if name in changes else "")
    classes, kinds = zip(*(str(place).removesuffix(" only").split(", ", 1) for place in columns), strict=True)
    rows = tuple(Row((_called(name), *column)) for name, column in cells.items())
    note = "*: not by chance, after correction for the number of remedies. Intervals, flips and cost: in the report."
    title = "Remedies: change of AP40 against u (points, higher is better)"
    return (Table(title, (("", *classes), ("", *kinds)), rows, (note,)),)


def recommendation_sentences(study: CaseStudy) -> list[str]:
    """The recommendation, and what it rests on; none without remedies."""
    found = recommendation(study)
    if found is None:
        return []
    budget = study.settings.time_budget
    limit = "" if budget is None else f" Allowed were {budget:g} x."
    return [found.sentence(), found.basis() + limit]
