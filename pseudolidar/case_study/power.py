"""What a study could have decided, what would decide more, and what that costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pseudolidar.case_study.disparity import DISPARITY
from pseudolidar.case_study.settings import UPDATE
from pseudolidar.case_study.study import CaseStudy
from pseudolidar.files import InputError
from pseudolidar.systems import (
    MOST_ITEMS,
    MOST_SEEDS,
    ChangeNoise,
    items_to_decide,
    noise_of_change,
    parents_first,
    seeds_to_decide,
    smallest_change,
)
from pseudolidar.tables import Heading, Row, Table, Value

PROBABILITY: Final = 0.8
"""With which the report wants a change to be decided."""

SEED_DEVIATIONS: Final = {"px": (0.01, 0.12), "points of AP40": (1.5, 4.0)}
"""Standard deviation over seeds of a change, by its unit: a range from low to high, for studies with one seed.

px: that of the registered studies (`PREREGISTERED.md`). AP: trained twice, a detector differs on KITTI by 1 point (the
authors of Stereo R-CNN, HKUST-Aerial-Robotics/Stereo-RCNN issue 41) to 4 (PV-RCNN, open-mmlab/OpenPCDet issue 314); the
two trainings of a change are independent.
"""

MEAN_SEED_DEVIATIONS: Final = (0.3, 1.5)
"""The same of AP as the mean over IoUs: that of the registered studies' towns; cars are low, pedestrians high."""


@dataclass(frozen=True)
class VertexNoise:
    """The noise of the change of a vertex on a study's F validation frames.

    Attributes:
        choices: one where it is known; two, for seeds that differ little and much, where there is one seed.
    """

    vertex: str
    title: str
    unit: str
    frames: int
    choices: tuple[ChangeNoise, ...]


def study_noise(study: CaseStudy, stated: Mapping[str, float] | None = None) -> list[VertexNoise]:
    """Of every vertex that a verdict is given on; those with too few objects to score are left out.

    `stated`: standard deviations over seeds, by unit, instead of the study's own.
    """
    if study.verdict is None:
        return []
    titles = {DISPARITY: study.verdict.own.vertex, **{place.vertex: str(place) for place in study.places}}
    found = []
    for vertex, title in titles.items():
        if not study.is_compared(vertex):
            continue
        before, after = (study.losses(source, vertex) for source in UPDATE)
        unit, deviations = before[0].unit, tuple[float | None, ...]((None,))
        if not study.is_trained(vertex):
            deviations = (0.0,)
        elif stated is not None and unit in stated:
            deviations = (stated[unit],)
        elif len(study.seeds) == 1:
            is_mean = unit != "px" and study.settings.test_loss.overlap == "mean"
            deviations = MEAN_SEED_DEVIATIONS if is_mean else SEED_DEVIATIONS[unit]
        try:
            choices = tuple(noise_of_change(before, after, study.random("frames"), one) for one in deviations)
        except InputError:
            continue
        found.append(VertexNoise(vertex, title, unit, len(before[0].items), choices))
    return found


@dataclass(frozen=True)
class Cost:
    """Seconds of work: once, for each seed's trainings, for what each seed does to frames."""

    once_s: float
    training_s: float
    frames_s: float

    def hours(self, seeds: int, workers: int, more_frames: float = 1.0) -> float:
        """With so many times the frames, and `workers` stages at once; at most, as if no frame were for training."""
        frames_s = more_frames * (self.once_s + seeds * self.frames_s)
        return (frames_s + seeds * self.training_s) / workers / 3600


def study_cost(study: CaseStudy, vertices: Sequence[str] | None = None) -> Cost:
    """Of vertices before and after the update, or of the whole study, as recorded when it was made."""
    seed, other = study.seeds[0], study.seeds[0] + 1
    if vertices is None:
        of_seed, of_other = study.wanted((seed,)), study.wanted((other,))
    else:
        of_seed, of_other = (
            [study.stage(source, vertex, "test", one) for source in UPDATE for vertex in vertices]
            for one in (seed, other)
        )
    shared = {stage.fingerprint for stage in parents_first(of_other)}
    once_s = training_s = frames_s = 0.0
    for stage in parents_first(of_seed):
        seconds = study.store.seconds(stage) if study.store.is_finished(stage) else 0.0
        if stage.fingerprint in shared:
            once_s += seconds
        elif stage.name.startswith("train-"):
            training_s += seconds
        else:
            frames_s += seconds
    return Cost(once_s, training_s, frames_s)


def smallest_changes_table(study: CaseStudy) -> Table:
    """The smallest change of each vertex that the study decides; with one seed, that three seeds would."""
    seeds = 3 if len(study.seeds) == 1 else len(study.seeds)
    rows = []
    for one in study_noise(study):
        sizes = [smallest_change(noise, seeds, one.frames, PROBABILITY, study.confidence) for noise in one.choices]
        of_seeds = [noise.of_seeds(one.frames) for noise in one.choices]
        of_frames = one.choices[0].of_items(seeds, one.frames)
        rows.append(Row((one.title, one.unit, _range(of_seeds), _range([of_frames]), _range(sizes))))
    notes = [
        f"The smallest true change that is called improved or worse with probability {PROBABILITY:g}, and the standard "
        "deviations of a change that it follows from: over training seeds, and of the mean over validation frames."
    ]
    if len(study.seeds) == 1:
        notes.append(
            "One seed decides nothing, and says nothing of how much seeds differ: the range, as for three seeds, is "
            "that of published and of our own trainings. pseudolidar power states another one."
        )
    with_seeds = f"{'would be decided with' if len(study.seeds) == 1 else 'decided with'} {seeds} seeds"
    caption = f"What could have been decided: changes on {len(study.frames('val'))} validation frames"
    return Table(caption, (("", "unit", "over seeds", "over frames", with_seeds),), tuple(rows), tuple(notes))


def seeds_table(
    noises: Sequence[VertexNoise],
    sizes: Mapping[str, float],
    costs: Mapping[str, Cost],
    seeds: Sequence[int],
    probability: float,
    workers: int,
) -> Table:
    """What decides a change of a size (by unit) of each vertex, and the hours where its cost is known.

    How many seeds on the frames that there are; how many frames with so many seeds, for each of `seeds`.
    """

    def with_hours(one: VertexNoise, count: int | None, frames: int | None) -> float | None:
        if count is None or frames is None or one.vertex not in costs:
            return None
        return costs[one.vertex].hours(count, workers, frames / one.frames)

    rows = []
    for one in noises:
        size = sizes[one.unit]
        for number, noise in enumerate(one.choices):
            cells: list[Value] = [one.title, f"{size:g} {one.unit}"] if number == 0 else ["", ""]
            cells += [_range([noise.of_seeds(one.frames)]), _range([noise.of_items(1, one.frames)])]
            needed = seeds_to_decide(size, noise, one.frames, probability)
            cells += [needed, with_hours(one, needed, one.frames)]
            for count in seeds:
                frames = items_to_decide(size, noise, count, probability)
                cells += [frames, with_hours(one, count, frames)]
            rows.append(Row(tuple(cells)))
    notes = [
        f"Decided with probability {probability:g}, by the verdict's own interval (95 %). over seeds, over frames: "
        f"standard deviations of the change. –: not even {MOST_SEEDS} seeds do, or {MOST_ITEMS} frames."
    ]
    if costs:
        notes.append(f"h: hours of both versions and all before them, {workers} stages at once, from recorded times.")
    if any(len(one.choices) > 1 for one in noises):
        notes.append(
            "One seed says nothing of how much seeds differ: two lines each, for the least and the most in published "
            "and in our own trainings. State what you know: seed_deviation, seed_deviation_px."
        )
    first = f"{noises[0].frames} frames" if noises else ""
    return Table(
        "What decides a change",
        (
            (*[""] * 4, *(Heading(text, 2) for text in (first, *(f"{count} seeds" for count in seeds)))),
            ("", "change", "over seeds", "over frames", "seeds", "h", *("frames", "h") * len(seeds)),
        ),
        tuple(rows),
        tuple(notes),
        digits=1,
    )


def what_decides(study: CaseStudy, command: str, workers: int) -> str:
    """One sentence: what goes on where something is undecided, and the minutes it takes; empty if nothing is.

    `command` lacks `seeds=`.
    """
    most = study.settings.max_seeds
    if not study.undecided or study.result.failed:
        return ""
    if len(study.seeds) >= most:
        return "To decide: more seeds or validation frames in a study of its own; pseudolidar power says how many."
    one_more = study_cost(study)
    minutes = max(1, round(60 * (one_more.training_s + one_more.frames_s) / 3600 / workers))
    if len(study.seeds) == 1:
        return f"To decide: {command} seeds=3 (about {2 * minutes} minutes more)."
    if study.settings.seeds == "auto":
        return f"To decide: the same with a larger max_hours (about {minutes} minutes for each seed more)."
    return f"To decide: {command} seeds=auto (about {minutes} minutes for each seed more, {most} seeds at most)."


def _range(values: Sequence[float]) -> str:
    """Two figures of the lowest and of the highest."""
    return " to ".join(dict.fromkeys(f"{value:.2g}" for value in (min(values), max(values))))
