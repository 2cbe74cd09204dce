"""Which term of each detector's error grew with the update: the study's evidence, and its meaning."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pseudolidar.case_study.disparity import DISPARITY, region_loss
from pseudolidar.case_study.settings import UPDATE, DetectorPlace, Source
from pseudolidar.case_study.study import CaseStudy
from pseudolidar.evaluation import DIFFICULTIES
from pseudolidar.kitti import Objects
from pseudolidar.statistics import Estimate
from pseudolidar.stereo import RANGES_M, REGIONS, StereoMetrics
from pseudolidar.systems import Change, MeanLoss, MeanOfLosses
from pseudolidar.systems.diagnosis import (
    Evidence,
    OracleGap,
    capacity_growth,
    conclude,
    estimation_growth,
    intervention,
    oracle_gap,
)
from pseudolidar.tables import Row, Table
from pseudolidar.viewing import Block

_SUPPORT = {True: "yes", False: "no", None: "open"}


def evidence(study: CaseStudy, place: DetectorPlace) -> list[Evidence]:
    """The evidence on one detector's terms of the error, strongest assumption last."""
    found: list[Evidence] = []
    if place.class_name.lower() in REGIONS and study.is_compared(DISPARITY):
        found.append(mismatch(study.region_change("all", 0), object_change(study, place.class_name)))
    near = DetectorPlace(place.kind, place.class_name, near_only=True)
    if near in study.places and study.is_compared(near.vertex):
        found.append(intervention(study.change(place.vertex, str(place)), study.change(near.vertex, str(near))))
    fractions = _variants(study, place, "data_fraction")
    if len(fractions) > 1:
        sizes = [round(other.data_fraction * len(study.frames("train"))) for other in fractions]
        before, after = (_losses(study, source, fractions) for source in UPDATE)
        if np.isfinite([before, after]).all():  # there is an object to find
            found.append(estimation_growth(sizes, before, after, study.random(f"{place.vertex} learning curve")))
    widths = _variants(study, place, "width")
    if len(widths) > 1 and widths[-1].width > 1:
        own = widths.index(place)
        before, after = (_losses(study, source, widths) for source in UPDATE)
        capacities = [other.width for other in widths]
        if np.isfinite([before, after]).all():
            found.append(capacity_growth(capacities, before, after, own, study.random(f"{place.vertex} capacity")))
    return found


def diagnosis_blocks(study: CaseStudy) -> list[Block]:
    """The evidence on every detector as a table, then its meaning in words, with its assumptions."""
    places = [place for place in study.places if not place.near_only and study.is_compared(place.vertex)]
    rows: list[Row] = []
    blocks: list[Block] = []
    assumptions: dict[str, str] = {}
    for place in places:
        of_place = evidence(study, place)
        gap = _gap(study, place)
        for number, one in enumerate(of_place):
            assumptions.setdefault(one.term, one.assumption)
            growth = Estimate(_growth(one), one.interval, signed=True)
            name = str(place) if number == 0 else ""
            rows.append(
                Row((name, one.term, _MEASURES[one.term], growth, _SUPPORT[one.supports]), rule_above=not number)
            )
        if gap is not None:
            distance = Estimate(gap.gap, gap.gap_interval, signed=True)
            rows.append(Row(("", "upstream, in all", "loss on u above that on the oracle y", distance, _way(gap))))
        blocks.append(f"{place}: {' '.join(conclude(of_place))}")
    if not rows:
        return []
    notes = [f"{term}: {text}" for term, text in assumptions.items()]
    table = Table(
        "Which term of the error grew when u' took the place of u",
        (("", "term", "measured as", "growth", "grew?"),),
        tuple(rows),
        notes=(
            "Growth with 95 % intervals: of the disparity MAE on a detector's objects (px), where each depth range "
            "counts by its objects; of test losses (points of AP40). Each line stands for its term if this holds:",
            *notes,
        ),
    )
    return [table, *blocks]


_MEASURES = {
    "upstream": "disparity MAE on its objects",
    "downstream": "what near-only training changes of the loss' growth",
    "estimation": "loss above the learning curve's end",
    "approximation": "fall of the loss with a larger network",
}


def _growth(one: Evidence) -> float:
    numbers = one.numbers
    if one.term == "upstream":
        return numbers["there"]
    if one.term == "downstream":
        return numbers["near only"] - numbers["all examples"]
    return numbers["after"] - numbers["before"]


def _way(gap: OracleGap) -> str:
    if np.isnan(gap.fraction):
        return "undecided"
    return f"the update goes {100 * gap.fraction:.0f} % of the way".replace("-", "−")


def _variants(study: CaseStudy, place: DetectorPlace, what: str) -> list[DetectorPlace]:
    variants = [
        other
        for other in study.variants
        if (other.kind, other.class_name) == (place.kind, place.class_name) and getattr(other, what) != 1.0
    ]
    return sorted((v for v in (*variants, place) if study.is_compared(v.vertex)), key=lambda v: float(getattr(v, what)))


def _losses(study: CaseStudy, source: Source, places: list[DetectorPlace]) -> NDArray[np.float64]:
    """(K, S) test losses of K detectors on one source of depth."""
    return np.array([[loss.value() for loss in study.losses(source, place.vertex)] for place in places])


def _gap(study: CaseStudy, place: DetectorPlace) -> OracleGap | None:
    if not study.is_there("y", place.vertex):
        return None
    u, u_prime = (study.losses(source, place.vertex) for source in UPDATE)
    y = study.losses("y", place.vertex)
    if any(np.isnan(loss.value()) for loss in (*u, *u_prime, *y)):
        return None
    return oracle_gap(u, u_prime, y, study.random(f"{place.vertex} oracle"), study.is_trained(place.vertex))


def object_change(study: CaseStudy, class_name: str) -> Change:
    """The change of `losses_on_objects` when u' takes the place of u, by the objects that the study scores."""
    difficulty = DIFFICULTIES[study.settings.test_loss.difficulty]
    labels = Objects.concatenate([frame.objects() for frame in study.frames("val")])
    depths = labels.box3d[(labels.class_name == class_name) & difficulty.counted(labels), 2]
    if class_name == "Pedestrian":
        # Scored near, as in the paper.
        depths = depths[depths <= study.settings.near_m]
    counts = [int(((near < depths) & (depths <= far)).sum()) for near, far in RANGES_M[1:]]
    before, after = (
        losses_on_objects([study.errors(source, seed) for seed in study.seeds], class_name, counts) for source in UPDATE
    )
    return study.difference(before, after, study.is_trained(DISPARITY), f"disparity MAE on {class_name} objects")


def losses_on_objects(
    metrics: Sequence[StereoMetrics], class_name: str, counts: Sequence[int]
) -> list[MeanLoss] | list[MeanOfLosses]:
    """Disparity MAE on the pixels of a class, px, for each of the metrics: each range counts by its objects.

    A detector counts objects, not pixels, of which a near object has a hundred times as many as a far one. `counts`: of
    objects in each of `RANGES_M` but the first, which holds the others; without any, all pixels count alike.
    """
    region, ranges = class_name.lower(), [depth for depth, count in enumerate(counts, start=1) if count]
    if not ranges:
        return [region_loss(one, region, 0) for one in metrics]
    weights = tuple(float(counts[depth - 1]) for depth in ranges)
    return [MeanOfLosses(tuple(region_loss(one, region, depth) for depth in ranges), weights) for one in metrics]


def mismatch(overall: Change, here: Change) -> Evidence:
    """Loss or distribution mismatch: u' is better over all pixels, and worse on a detector's objects."""
    words = {"improved": "falls", "worse": "rises", "undecided": "is not shown to fall or rise"}
    finding = (
        f"the disparity error {words[here.word]} on its objects ({here.before:.3f} to {here.after:.3f} px), and "
        f"{words[overall.word]} over all pixels"
    )
    return Evidence(
        "upstream",
        finding + (f"; {here.reason}" if here.reason else ""),
        {"worse": True, "improved": False, "undecided": None}[here.word],
        {"there": here.difference, "over all pixels": overall.difference},
        here.interval,
        "What the disparity model loses for the downstream model is seen in the mean absolute error on its objects; "
        "errors of other shapes (bias, blurred edges, few large errors) may matter more and are not told apart.",
    )
