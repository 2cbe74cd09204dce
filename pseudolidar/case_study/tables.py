"""The paper's Tables 1, 2 and 3 with intervals, the verdict's table, beside the paper's own figures."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pseudolidar.case_study import paper
from pseudolidar.case_study.disparity import DISPARITY, Checkpoint, CommandDisparity, DisparityFolder, MatchingDisparity
from pseudolidar.case_study.scores import VIEWS, AveragePrecisionLoss
from pseudolidar.case_study.settings import UPDATE, CaseStudySettings, DetectionsFile, DetectorPlace, Source
from pseudolidar.case_study.study import CaseStudy
from pseudolidar.ensembles import EnsembleTraining
from pseudolidar.statistics import Estimate, Interval, signed
from pseudolidar.stereo import RANGES_M, REGIONS, StereoMetrics, range_name
from pseudolidar.stereo.metrics import FARTHEST_PREDICTION_M
from pseudolidar.systems import Change
from pseudolidar.tables import Heading, Row, Table, Value

RANGE_NAMES = tuple(range_name(bounds) for bounds in RANGES_M)
"""Depth ranges in m, as the paper writes them."""

_REGION_NAMES = {"all": "all pixels", "car": "cars", "pedestrian": "pedestrians"}
_DIFFERENCE = "u' − u"


def source_name(settings: CaseStudySettings, source: Source) -> str:
    """A disparity model with its training loss or kind, e.g. "u (depth MAE)"."""
    reference = settings.references.get(source)
    choice = reference.model if reference else settings.u if source == "u" else settings.u_prime
    if isinstance(choice, MatchingDisparity):
        # A reference has a note that says so.
        return source if reference else f"{source} (semi-global matching)"
    if isinstance(choice, Checkpoint):
        return f"{source} ({Path(choice.path).name})"
    if isinstance(choice, DisparityFolder):
        return f"{source} (maps of {Path(choice.path).name})"
    if isinstance(choice, CommandDisparity):
        return f"{source} (a command)"
    if isinstance(choice, EnsembleTraining):
        jointly = f", beta {choice.beta:g}" if choice.beta else ""
        return f"{source} ({choice.members} x {choice.loss} MAE{jointly})"
    return f"{source} ({choice.loss} MAE)"


def _matching_note(study: CaseStudy, sources: Sequence[Source]) -> Iterator[str]:
    references = study.settings.references
    names = [name for name in sources if name in references and isinstance(references[name].model, MatchingDisparity)]
    if names:
        yield f"{', '.join(names)}: semi-global matching (Hirschmüller 2008), filled from the background."


def intervals_note(study: CaseStudy) -> str:
    """The note on the intervals of every table."""
    if len(study.seeds) == 1:
        return (
            "Intervals (95 %) are over validation frames alone: one training seed says nothing of the chance in "
            "training (seeds=3)."
        )
    means = f"Means over {len(study.seeds)} training seeds; intervals"
    if study.settings.seeds == "auto":
        return (
            f"{means} ({100 * study.confidence:.1f} %) over validation frames and seeds: those after 2 to "
            f"{study.settings.max_seeds} seeds hold together with 95 %."
        )
    return f"{means} (95 %) over validation frames and seeds."


def verdict_table(study: CaseStudy) -> Table:
    """The change of each vertex' test loss, with its interval and one word; the update's own vertex first."""
    verdict = study.verdict
    changes = [] if verdict is None else [verdict.own, *verdict.descendants.values()]
    seeds = len(study.seeds) > 1
    rows = []
    for number, change in enumerate(changes):
        by_seed = (" ".join(signed(value, 2) for value in change.by_seed),) if seeds else ()
        cells = (change.vertex, change.unit, change.before, change.after, signed_change(change), change.word, *by_seed)
        rows.append(Row(cells, rule_above=number == 1))
    return Table(
        "Verdict. Test losses before and after the update of u to u' (lower is better)",
        (("", "unit", "u", "u'", "change", "verdict", *(("by seed",) if seeds else ())),),
        tuple(rows),
        notes=(
            f"Of the detectors: 100 − AP40, {study.settings.test_loss}. {intervals_note(study)}",
            "improved, worse: the interval excludes 0; undecided: it doesn't, or there is one seed.",
        ),
    )


def summary_tables(study: CaseStudy) -> tuple[Table, ...]:
    """The verdict's figures in few and narrow lines: u and u' by depth range, each detector before and after."""
    if study.verdict is None:
        return ()
    depths = [study.region_change("all", depth) for depth in range(len(RANGES_M))]
    errors = [
        Row((name, change.before, change.after, signed_change(change)))
        for name, change in zip(RANGE_NAMES, depths, strict=True)
    ]
    precisions = [
        Row((name.removesuffix(" only"), 100 - change.before, 100 - change.after, signed_change(change).scaled(-1)))
        for name, change in study.verdict.descendants.items()
    ]
    header, at = (("", "u", "u'", _DIFFERENCE),), study.settings.test_loss
    tables = (
        Table("Disparity MAE (px, lower is better) by depth (m)", header, tuple(errors)),
        Table(
            "AP40 (%, higher is better)", header, tuple(precisions), (f"AP40: {at}.", intervals_note(study)), digits=1
        ),
    )
    return tuple(table for table in tables if table.rows)


def table_1(study: CaseStudy) -> Table:
    """Table 1: AP3D and APBEV of cars (any distance) and pedestrians (near), by the source of depth."""
    places = [place for place in study.places if not place.near_only]
    near = f"pedestrians at 0-{study.settings.near_m:g} m"
    return _average_precision_table(
        study,
        # As in the paper: both detectors of cars, then both of pedestrians.
        sorted(places, key=lambda place: place.class_name),
        f"Table 1. Average precision by the source of depth; {near}, their detectors trained at any distance",
    )


def table_3(study: CaseStudy) -> Table:
    """Table 3: AP3D and APBEV of pedestrians, their detectors trained on near pedestrians and points alone."""
    near = f"{study.settings.near_m:g} m"
    return _average_precision_table(
        study,
        [place for place in study.places if place.near_only],
        f"Table 3. Average precision of pedestrians; detectors trained without pedestrians and points beyond {near}",
    )


def _average_precision_table(study: CaseStudy, places: Sequence[DetectorPlace], caption: str) -> Table:
    rows = []
    for place in places:
        published = paper.AP_NEAR_ONLY if place.near_only else paper.AP
        for source in study.sources:
            cells: list[Value] = []
            for view in VIEWS:
                cells += [_precision(study, source, place, view, loose) for loose in (False, True)]
                cells.append(published.get((place.class_name, place.kind, view), {}).get(source))
            # Near-only detectors have a table of their own, whose caption says so.
            name = f"{place.class_name}, {place.kind}" if source == "u" else ""
            rows.append(Row((name, source, *cells), source in UPDATE, rule_above=source == "u"))
            if source == UPDATE[1]:
                rows.append(Row(("", _DIFFERENCE, *_differences(study, place)), compared=False))
    heading = ("official IoU", "looser IoU", "paper")
    return Table(
        caption,
        (("", "", *(Heading(name, 3) for name in VIEWS.values())), ("", "", *heading, *heading)),
        tuple(rows),
        notes=(
            f"AP40, percent, moderate, {len(study.frames('val'))} validation frames. {intervals_note(study)}",
            "Official IoU: 0.7 for cars, 0.5 for pedestrians; looser: 0.5 and 0.25. paper: KITTI at the official IoU, "
            f"one run, Frustum PointNet v2 with a 2D detector. {_detectors_note(study)}",
            f"The higher of u and u' is marked; y is the oracle{', of one seed' if len(study.seeds) > 1 else ''}.",
            *_matching_note(study, study.sources),
        ),
        digits=1,
        best="highest",
    )


def _losses(
    study: CaseStudy, source: Source, place: DetectorPlace, view: str, loose: bool
) -> list[AveragePrecisionLoss] | None:
    """100 - AP40 of a detector, for each seed; None where the detector is missing or there is no object to find."""
    if not study.is_there(source, place.vertex):
        return None
    losses = [
        AveragePrecisionLoss(study.evaluation(source, place, seed, loose), place.class_name, view, "moderate")
        for seed in study.seeds_of(source)
    ]
    return None if any(np.isnan(loss.value()) for loss in losses) else losses


def _precision(study: CaseStudy, source: Source, place: DetectorPlace, view: str, loose: bool) -> Value:
    losses = _losses(study, source, place, view, loose)
    if losses is None:
        return None
    return _at_least_0(_at_least_0(study.level(losses, study.is_trained(place.vertex))).scaled(-1, 100))


def _at_least_0(estimate: Estimate) -> Estimate:
    """An interval of few frames may reach below 0; `max` leaves NaN as it is."""
    return replace(estimate, interval=Interval(max(estimate.interval.low, 0.0), estimate.interval.high))


def _differences(study: CaseStudy, place: DetectorPlace) -> Iterator[Value]:
    for view in VIEWS:
        for loose in (False, True):
            before, after = (_losses(study, source, place, view, loose) for source in UPDATE)
            if before is None or after is None:
                yield None
            else:
                # Of precision, not of loss: the other way round.
                yield signed_change(study.difference(after, before, study.is_trained(place.vertex)))
        published = (paper.AP_NEAR_ONLY if place.near_only else paper.AP).get((place.class_name, place.kind, view))
        yield None if published is None else Estimate(published["u'"] - published["u"], signed=True)


def signed_change(change: Change) -> Estimate:
    """A change with its interval, to be printed with its sign."""
    return Estimate(change.difference, change.interval, signed=True)


def _detectors_note(study: CaseStudy) -> str:
    parts = []
    if study.settings.pointrcnn:
        parts.append("P-RCNN: PointRCNN on sparse clouds.")
    versions = sorted({training.version for training in study.settings.frustum_pointnet.values()})
    if versions:
        source = study.settings.boxes2d
        boxes = "the labels"
        if isinstance(source, DetectionsFile):
            boxes = Path(source.path).name
        elif source is not None:
            boxes = f"a 2D detector ({source.network}) trained on the training split"
        names = " and ".join(f"v{version}" for version in versions)
        parts.append(f"F-PTNET: Frustum PointNet {names}, 2D boxes from {boxes}.")
    return " ".join(parts)


def table_2(study: CaseStudy) -> Table:
    """Table 2: disparity MAE by ground-truth depth; of all pixels, of cars and of pedestrians where there are any."""
    there, depths = study.upstream_there, range(len(RANGES_M))
    seen = study.errors(there[0], study.seeds[0]).pixels.sum(axis=(0, 2)) if there else np.zeros(len(REGIONS))
    rows = []
    for region in (region for region, pixels in zip(REGIONS, seen, strict=True) if pixels):
        for source in there:
            trained = study.systems[source].is_trained(DISPARITY)
            levels = (study.level(study.region_losses(source, region, depth), trained) for depth in depths)
            name, label = _REGION_NAMES[region] if source == there[0] else "", source_name(study.settings, source)
            cells: tuple[Value, ...] = (name, label, *map(_at_least_0, levels))
            rows.append(Row(cells, compared=source in UPDATE, rule_above=source == there[0]))
            if source == UPDATE[1] and UPDATE[0] in there:
                changes = (signed_change(study.region_change(region, depth)) for depth in depths)
                rows.append(Row(("", _DIFFERENCE, *changes), compared=False))
    if there:
        mean = study.errors(there[0], study.seeds[0]).mean_predictor_mae()[0]
        rows.append(Row(("all pixels", "the mean disparity", *map(float, mean)), compared=False, rule_above=True))
    for source in UPDATE:
        label = f"{source} ({'depth' if source == 'u' else 'disparity'} MAE)"
        name = "the paper" if source == "u" else ""
        rows.append(Row((name, label, *paper.DISPARITY_MAE_PX[source]), rule_above=source == "u"))
    return Table(
        "Table 2. Disparity MAE (px) by ground-truth depth (m)",
        (("", "", *RANGE_NAMES),),
        tuple(rows),
        notes=(
            f"{len(study.frames('val'))} validation frames. {intervals_note(study)}",
            "The lower value of u and u' is marked. The mean disparity: what a model that always answers the training "
            "set's mean would have.",
            *_matching_note(study, study.upstream),
        ),
        digits=2,
        best="lowest",
    )


def depth_error_table(study: CaseStudy) -> Table:
    """The errors that stereo benchmarks rank by: depth MAE and D1 over all pixels, by depth; means over the seeds."""
    rows = []
    for source in study.upstream_there:
        errors = [study.errors(source, seed) for seed in study.seeds]
        values = [np.mean([error.depth_mae()[0] for error in errors], axis=0)]
        values.append(np.mean([error.d1()[0] for error in errors], axis=0))
        cells = (float(value) for column in values for value in column)
        rows.append(Row((source_name(study.settings, source), *cells), compared=source in UPDATE))
    columns = len(RANGE_NAMES)
    return Table(
        "Depth MAE and D1 by ground-truth depth (m), all pixels",
        (("", Heading("depth MAE (m)", columns), Heading("D1 (%)", columns)), ("", *RANGE_NAMES, *RANGE_NAMES)),
        tuple(rows),
        notes=(
            "D1: pixels whose disparity is wrong by more than 3 px and more than 5 %, as on KITTI 2015. "
            f"Depths beyond {FARTHEST_PREDICTION_M:g} m count as that far. The lower value of u and u' is marked.",
        ),
        best="lowest",
    )


def disparity_table(metrics: StereoMetrics, name: str) -> Table:
    """Disparity MAE, depth MAE and D1 of a model, by its name for the caption; regions without a pixel are left out."""
    counts = metrics.pixels.sum(axis=0)
    columns = (metrics.disparity_mae(), metrics.depth_mae(), metrics.d1())
    rows = []
    for place, region in enumerate(REGIONS):
        if region != "all" and not counts[place].any():
            continue
        for depth, bounds in enumerate(RANGES_M):
            cells = (float(values[place, depth]) for values in columns)
            label = _REGION_NAMES[region] if depth == 0 else ""
            rows.append(
                Row((label, range_name(bounds), *cells, int(counts[place, depth])), rule_above=depth == 0 and place > 0)
            )
    return Table(
        f"Errors of the disparity of {name}",
        (("", "depth (m)", "disparity MAE (px)", "depth MAE (m)", "D1 (%)", "pixels"),),
        tuple(rows),
        notes=(
            "Over the pixels whose true disparity is known. The disparity MAE is also called end-point error.",
            "D1: pixels whose disparity is wrong by more than 3 px and more than 5 %, as on KITTI 2015.",
        ),
        digits=3,
    )
