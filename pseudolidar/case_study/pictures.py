"""The report's pictures: errors and recall by depth, flipped objects, disparity maps, clouds, curves."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pseudolidar.case_study import paper
from pseudolidar.case_study.disparity import DISPARITY
from pseudolidar.case_study.settings import UPDATE, DetectorPlace, Source
from pseudolidar.case_study.study import CaseStudy
from pseudolidar.case_study.tables import RANGE_NAMES
from pseudolidar.evaluation import LOOSE_OVERLAP
from pseudolidar.evaluation.average_precision import PrecisionCurve
from pseudolidar.evaluation.by_depth import SumsByDepth, disparity_error_by_depth
from pseudolidar.evaluation.flips import Criterion, ObjectFlips, find_objects, flips_table
from pseudolidar.kitti import Frame, Objects, disparity_path, read_disparity, read_objects, read_points
from pseudolidar.statistics import Estimate, Interval
from pseudolidar.systems import Fate, MeanLoss
from pseudolidar.viewing import (
    Block,
    DepthCurve,
    FlippedFrame,
    Picture,
    birds_eye_figure,
    depth_curve_figure,
    disparity_figure,
    flips_figure,
    precision_recall_figure,
    range_figure,
)

_EXAMPLES = 3
# In steps that hold objects enough. Disparity within 5 m is wrong by tens of pixels and would hide the rest.
_EDGES_M = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 70.0)


def depth_blocks(study: CaseStudy) -> list[Block]:
    """Disparity error by true depth, and recall of every detector by depth, of u, u' and the oracle."""
    pictures: list[Block] = []
    upstream = [source for source in study.upstream if study.is_there(source, DISPARITY)]
    if upstream:
        measured: dict[str, list[float]] = {}
        for source in upstream:
            errors = [study.errors(source, seed).disparity_mae()[0] for seed in study.seeds]
            measured[source] = [float(value) for value in np.mean(errors, axis=0)]
        published = {source: list(values) for source, values in paper.DISPARITY_MAE_PX.items()}
        figure = range_figure(
            {"this study": measured, "the paper, KITTI": published}, RANGE_NAMES, "disparity MAE (px)"
        )
        pictures.append(Picture(figure, "Disparity error by ground-truth depth, here and in the paper."))
        curves: dict[str, DepthCurve] = {source: _error_curve(study, source) for source in upstream}
        figure = depth_curve_figure({"all pixels": curves}, "disparity MAE (px)")
        pictures.append(Picture(figure, f"Disparity error against true depth. {_bands(study)}"))
    panels: dict[str, dict[str, DepthCurve]] = {}
    for place in study.places:
        there = [source for source in study.sources if study.is_there(source, place.vertex)]
        if there:
            panels[str(place)] = {source: _recall_curve(study, place, source) for source in there}
    if panels:
        caption = (
            "Share of the objects that a detector finds, against their depth, at its score of highest F1 and the "
            f"looser IoU (BEV). {_bands(study)}"
        )
        pictures.append(Picture(depth_curve_figure(panels, "recall", top=1.0), caption))
    return pictures


def _bands(study: CaseStudy) -> str:
    over = "frames" if study.settings.seeds == 1 else "frames and training seeds"
    return f"Bands: 95 % intervals over {over}, of each bin by itself."


def _curve(study: CaseStudy, name: str, by_seed: Sequence[SumsByDepth], trained: bool) -> DepthCurve:
    """The mean in each bin, its interval made as those of every table."""
    edges = by_seed[0].edges_m
    estimates = [Estimate(math.nan)] * (len(edges) - 1)
    items = tuple(study.frames("val").frame_ids)
    for place in range(len(edges) - 1):
        losses = [MeanLoss(items, sums.total[:, place], sums.count[:, place]) for sums in by_seed]
        if all(sums.count[:, place].any() for sums in by_seed):
            level = study.level(f"{name} {place}", list(losses), trained)
            estimates[place] = Estimate(level.after, level.interval)
    return DepthCurve(edges, estimates)


def _error_curve(study: CaseStudy, source: Source) -> DepthCurve:
    frames = study.frames("val")
    by_seed = [
        disparity_error_by_depth(study.folder(source, DISPARITY, "predict", seed), frames, _EDGES_M[1:])
        for seed in study.seeds
    ]
    return _curve(study, f"{source} error by depth", by_seed, study.systems[source].is_trained(DISPARITY))


def _recall_curve(study: CaseStudy, place: DetectorPlace, source: Source) -> DepthCurve:
    labels, ids = [frame.objects() for frame in study.frames("val")], study.frames("val").frame_ids
    edges = [edge for edge in _EDGES_M if place.class_name != "Pedestrian" or edge <= study.settings.near_m]
    by_seed = [
        find_objects(labels, results_of(study, source, place, seed), _criterion(study, place), ids).recall_by_depth(
            edges
        )
        for seed in study.seeds
    ]
    curve = _curve(study, f"{source} {place.vertex} recall", by_seed, study.is_trained(place.vertex))
    # A recall, whatever the spread of three seeds says.
    intervals = [np.clip([each.interval.low, each.interval.high], 0, 1) for each in curve.estimates]
    estimates = [replace(each, interval=Interval(*ends)) for each, ends in zip(curve.estimates, intervals, strict=True)]
    return DepthCurve(curve.edges_m, estimates)


def results_of(study: CaseStudy, source: Source, place: DetectorPlace, seed: int) -> list[Objects]:
    """What a detector found in each validation frame."""
    folder = study.folder(source, place.vertex, "predict", seed)
    return [read_objects(folder / f"{frame_id}.txt", scored=True) for frame_id in study.frames("val").frame_ids]


def _criterion(study: CaseStudy, place: DetectorPlace) -> Criterion:
    reach = (0.0, study.settings.near_m) if place.class_name == "Pedestrian" else None
    return Criterion(place.class_name, "bev", "all", LOOSE_OVERLAP[place.class_name]["bev"], reach)


def flip_blocks(study: CaseStudy) -> list[Block]:
    """Objects that the detectors found on u and not on u', and the reverse: counts, and the most telling frames."""
    labels, ids = [frame.objects() for frame in study.frames("val")], study.frames("val").frame_ids
    rows: dict[str, ObjectFlips] = {}
    pictures: list[Block] = []
    seed = study.seeds[0]
    for place in study.places:
        if not study.is_compared(place.vertex):
            continue
        criterion = _criterion(study, place)
        before, after = (
            find_objects(labels, results_of(study, source, place, seed), criterion, ids) for source in UPDATE
        )
        rows[f"{place}: u → u'"] = ObjectFlips(before, after)
        if study.settings.seeds > 1:
            other = find_objects(labels, results_of(study, "u", place, study.seeds[1]), criterion, ids)
            rows[f"{place}: u, another seed"] = ObjectFlips(before, other)
        if not place.near_only:
            pictures += _flip_pictures(study, place, rows[f"{place}: u → u'"], labels)
    if not rows:
        return []
    return [flips_table(rows, "Objects that flip when u' takes the place of u, one training each"), *pictures]


def _flip_pictures(
    study: CaseStudy, place: DetectorPlace, flips: ObjectFlips, labels: Sequence[Objects]
) -> Iterator[Picture]:
    wanted: tuple[tuple[Fate, str], ...] = (
        ("negative flip", "found on u and not on u'"),
        ("positive flip", "found on u' and not on u"),
    )
    shown: set[str] = set()
    for fate, words in wanted:
        # The most telling frame of each fate, and not the same one twice.
        for frame_id in [name for name in flips.telling_frames(labels, fate, 2) if name not in shown][:1]:
            shown.add(frame_id)
            figure = flips_figure(f"{place}, frame {frame_id}", _flipped_frame(study, place, flips, frame_id))
            yield Picture(figure, f"{place}: objects {words} (frame {frame_id}, with what {_listed(UPDATE)} give).")


def _flipped_frame(study: CaseStudy, place: DetectorPlace, flips: ObjectFlips, frame_id: str) -> FlippedFrame:
    frame = study.frames("val").frame(frame_id)
    rows, fates = flips.in_frame(frame_id)
    clouds: dict[str, NDArray[np.floating]] = {}
    detections: dict[str, Objects] = {}
    for source, found in zip(UPDATE, (flips.before, flips.after), strict=True):
        clouds[source] = read_points(_cloud_folder(study, source, place) / f"{frame_id}.bin")
        results = study.folder(source, place.vertex, "predict") / f"{frame_id}.txt"
        objects = read_objects(results, scored=True)
        assert objects.score is not None
        detections[source] = objects[objects.score >= found.threshold]
    return FlippedFrame(frame.left_image(), frame.calibration, frame.objects()[rows], fates, clouds, detections)


def _cloud_folder(study: CaseStudy, source: Source, place: DetectorPlace) -> Path:
    return study.folder(source, study.cloud(place).vertex, "predict")


def example_frames(study: CaseStudy, count: int = _EXAMPLES) -> list[Frame]:
    """The validation frames with most of the classes and objects that are near enough to be seen well; ties by id."""
    names = sorted({place.class_name for place in study.places})
    ranked = []
    for frame in study.frames("val"):
        objects = frame.objects()
        shown = np.isin(objects.class_name, names) & (objects.box3d[:, 2] < 30)
        kinds = len(set(objects.class_name[shown]))
        ranked.append((-kinds, -int((shown & (objects.occlusion <= 1)).sum()), frame.frame_id, frame))
    return [frame for *_, frame in sorted(ranked, key=lambda entry: entry[:3])[:count]]


def disparity_blocks(study: CaseStudy) -> list[Block]:
    """The disparity maps of all models on the examples, with their errors."""
    there = [source for source in study.upstream if study.is_there(source, DISPARITY)]
    pictures: list[Block] = []
    for frame in example_frames(study) if there else []:
        predicted: dict[str, NDArray[np.floating]] = {
            source: read_disparity(disparity_path(study.folder(source, DISPARITY, "predict"), frame.frame_id))
            for source in there
        }
        exact = frame.disparity() if frame.has_exact_disparity() else None
        figure = disparity_figure(frame.left_image(), exact, predicted, frame.calibration)
        pictures.append(Picture(figure, f"Frame {frame.frame_id}: disparity of {_listed(there)}, and their errors."))
    return pictures


def cloud_blocks(study: CaseStudy) -> list[Block]:
    """Every example once for each kind of detector, on the clouds that it takes, with all that it found."""
    pictures: list[Block] = []
    for frame in example_frames(study):
        for kind in dict.fromkeys(place.kind for place in study.places):
            places = [place for place in study.places if place.kind == kind and not place.near_only]
            sources = [s for s in study.sources if all(study.is_there(s, place.vertex) for place in places)]
            if sources:
                pictures.append(_cloud_picture(study, frame, places, sources))
    return pictures


def _cloud_picture(
    study: CaseStudy, frame: Frame, places: Sequence[DetectorPlace], sources: Sequence[Source]
) -> Picture:
    clouds: dict[str, NDArray[np.floating]] = {
        source: read_points(_cloud_folder(study, source, places[0]) / f"{frame.frame_id}.bin") for source in sources
    }
    objects = frame.objects()
    truth = objects[np.isin(objects.class_name, [place.class_name for place in places])]
    detections: dict[str, Objects] = {
        source: Objects.concatenate(
            [
                read_objects(study.folder(source, place.vertex, "predict") / f"{frame.frame_id}.txt", scored=True)
                for place in places
            ]
        )
        for source in sources
    }
    image = frame.left_image()
    figure = birds_eye_figure(clouds, truth, detections, frame.calibration, (image.shape[0], image.shape[1]), 40.0)
    caption = f"Frame {frame.frame_id}: clouds of {_listed(sources)} with the labels and what {places[0].kind} found."
    return Picture(figure, caption)


def curve_blocks(study: CaseStudy) -> list[Block]:
    """Precision over recall of every detector, first seed, at the official and the looser IoU."""
    pictures: list[Block] = []
    for loose in (False, True):
        panels: dict[str, dict[str, PrecisionCurve]] = {}
        for place in study.places:
            key = (place.class_name, "bev", "moderate")
            there = [source for source in study.sources if study.is_there(source, place.vertex)]
            evaluations = {source: study.evaluation(source, place, study.seeds[0], loose) for source in there}
            panel: dict[str, PrecisionCurve] = {
                source: found.curves[key] for source, found in evaluations.items() if key in found.curves
            }
            if panel:
                overlap = next(iter(evaluations.values())).min_overlap[place.class_name]["bev"]
                panels[f"{place}, BEV, IoU {overlap:g}"] = panel
        if panels:
            which = "the looser" if loose else "the official"
            caption = f"Precision over recall, moderate, at {which} IoU; first seed."
            pictures.append(Picture(precision_recall_figure(panels), caption))
    return pictures


def _listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
