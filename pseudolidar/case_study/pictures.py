"""The report's pictures: changes, errors and recall by depth, remedies, flips, disparity maps, clouds, curves."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pseudolidar.case_study import paper
from pseudolidar.case_study.disparity import DISPARITY
from pseudolidar.case_study.remedies import recommendation_sentences, remedies_tables, tried, tried_places
from pseudolidar.case_study.settings import UPDATE, DetectorPlace, Source
from pseudolidar.case_study.study import CaseStudy
from pseudolidar.case_study.tables import RANGE_NAMES, intervals_note, signed_change
from pseudolidar.evaluation.average_precision import PrecisionCurve
from pseudolidar.evaluation.by_depth import SumsByDepth, disparity_error_by_depth
from pseudolidar.evaluation.flips import ObjectFlips, flips_table
from pseudolidar.kitti import Frame, Objects, disparity_path, read_disparity, read_objects, read_points
from pseudolidar.statistics import Estimate, Interval
from pseudolidar.systems import Fate, MeanLoss
from pseudolidar.viewing import (
    Block,
    DepthCurve,
    FlippedFrame,
    Picture,
    Scene,
    Scenes,
    birds_eye_figure,
    changes_figure,
    depth_curve_figure,
    disparity_figure,
    flips_figure,
    precision_recall_figure,
    range_figure,
)

_EXAMPLES = 3
# In steps that hold objects enough. Disparity within 5 m is wrong by tens of pixels and would hide the rest.
_EDGES_M = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 70.0)


def verdict_blocks(study: CaseStudy) -> list[Block]:
    """A picture of the detectors' changes, a panel for each class."""
    panels: dict[str, dict[str, Estimate]] = {}
    for place in study.places:
        if study.verdict is not None and str(place) in study.verdict.descendants:
            title = place.class_name + (", near only" if place.near_only else "")
            panels.setdefault(title, {})[place.kind] = signed_change(study.verdict.descendants[str(place)])
    if not panels:
        return []
    figure = changes_figure(panels, "change of 100 − AP40 (points)")
    return [Picture(figure, f"What the update does to the detectors; left of 0 is better. {intervals_note(study)}")]


def depth_blocks(study: CaseStudy) -> list[Block]:
    """Disparity error by true depth, and recall of every detector by depth, of u, u' and the oracle."""
    pictures: list[Block] = []
    over = "frames" if len(study.seeds) == 1 else "frames and training seeds"
    bands = f"Bands: 95 % intervals over {over}, of each bin by itself."
    if upstream := study.upstream_there:
        measured: dict[str, list[float]] = {}
        for source in upstream:
            errors = [study.errors(source, seed).disparity_mae()[0] for seed in study.seeds]
            measured[source] = [float(value) for value in np.mean(errors, axis=0)]
        published = {source: list(values) for source, values in paper.DISPARITY_MAE_PX.items()}
        panels = {"this study": measured, "the paper, KITTI": published}
        figure = range_figure(panels, RANGE_NAMES, "disparity MAE (px)")
        pictures.append(Picture(figure, "Disparity error by ground-truth depth, here and in the paper."))
        errors_by_depth: dict[str, DepthCurve] = {source: _error_curve(study, source) for source in upstream}
        figure = depth_curve_figure({"all pixels": errors_by_depth}, "disparity MAE (px)")
        pictures.append(Picture(figure, f"Disparity error against true depth. {bands}"))
    recall: dict[str, dict[str, DepthCurve]] = {
        str(place): {source: _recall_curve(study, place, source) for source in there}
        for place in study.places
        if (there := study.sources_there(place))
    }
    if recall:
        caption = (
            "Fraction of the objects that a detector finds, against their depth, at its score of highest F1 and the "
            f"looser IoU (BEV). {bands}"
        )
        pictures.append(Picture(depth_curve_figure(recall, "recall", top=1.0), caption))
    return pictures


def _curve(study: CaseStudy, by_seed: Sequence[SumsByDepth], trained: bool) -> DepthCurve:
    edges = by_seed[0].edges_m
    estimates = [Estimate(math.nan)] * (len(edges) - 1)
    items = tuple(study.frames("val").frame_ids)
    for place in range(len(edges) - 1):
        if all(sums.count[:, place].any() for sums in by_seed):
            losses = [MeanLoss(items, sums.total[:, place], sums.count[:, place]) for sums in by_seed]
            estimates[place] = study.level(losses, trained)
    return DepthCurve(edges, estimates)


def _error_curve(study: CaseStudy, source: Source) -> DepthCurve:
    folders = [study.folder(source, DISPARITY, "predict", seed) for seed in study.seeds]
    by_seed = [disparity_error_by_depth(folder, study.frames("val"), _EDGES_M[1:]) for folder in folders]
    return _curve(study, by_seed, study.systems[source].is_trained(DISPARITY))


def _recall_curve(study: CaseStudy, place: DetectorPlace, source: Source) -> DepthCurve:
    edges = [edge for edge in _EDGES_M if place.class_name != "Pedestrian" or edge <= study.settings.near_m]
    by_seed = [study.found(source, place, seed).recall_by_depth(edges) for seed in study.seeds_of(source)]
    curve = _curve(study, by_seed, study.is_trained(place.vertex))
    # Recall, whatever the spread of three seeds says.
    intervals = [np.clip([each.interval.low, each.interval.high], 0, 1) for each in curve.estimates]
    estimates = [replace(each, interval=Interval(*ends)) for each, ends in zip(curve.estimates, intervals, strict=True)]
    return DepthCurve(curve.edges_m, estimates)


def flip_blocks(study: CaseStudy) -> list[Block]:
    """Objects found on u and not on u' (negative flips), and the reverse: counts, and the most telling frames."""
    rows: dict[str, ObjectFlips] = {}
    pictures: list[Block] = []
    for place in study.places:
        if not study.is_compared(place.vertex):
            continue
        before, after = (study.found(source, place, study.seeds[0]) for source in UPDATE)
        rows[f"{place}: u → u'"] = flips = ObjectFlips(before, after)
        if len(study.seeds) > 1:
            rows[f"{place}: u, another seed"] = ObjectFlips(before, study.found("u", place, study.seeds[1]))
        if not place.near_only:
            pictures += _flip_pictures(study, place, flips)
    if not rows:
        return []
    return [flips_table(rows, "Objects that flip when u' takes the place of u, one training each"), *pictures]


def _flip_pictures(study: CaseStudy, place: DetectorPlace, flips: ObjectFlips) -> Iterator[Picture]:
    labels = [frame.objects() for frame in study.frames("val")]
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
    for source in UPDATE:
        clouds[source] = _cloud(study, source, place, frame_id)
        detections[source] = _confident(study, source, place, frame_id)
    return FlippedFrame(frame.left_image(), frame.calibration, frame.objects()[rows], fates, clouds, detections)


def _cloud(study: CaseStudy, source: Source, place: DetectorPlace, frame_id: str) -> NDArray[np.floating]:
    return read_points(study.folder(source, study.cloud(place).vertex, "predict") / f"{frame_id}.bin")


def _detections(study: CaseStudy, source: Source, place: DetectorPlace, frame_id: str) -> Objects:
    return read_objects(study.folder(source, place.vertex, "predict") / f"{frame_id}.txt", scored=True)


def _confident(study: CaseStudy, source: Source, place: DetectorPlace, frame_id: str) -> Objects:
    """The first seed's detections at or above the detector's score of highest F1."""
    objects = _detections(study, source, place, frame_id)
    assert objects.score is not None
    return objects[objects.score >= study.found(source, place, study.seeds[0]).threshold]


def example_frames(study: CaseStudy) -> list[Frame]:
    """The validation frames with most of the classes and objects that are near enough to be seen well; ties by id."""
    names = sorted({place.class_name for place in study.places})

    def rank(frame: Frame) -> tuple[int, int, str]:
        objects = frame.objects()
        shown = np.isin(objects.class_name, names) & (objects.box3d[:, 2] < 30)
        classes = len(set(objects.class_name[shown]))
        return -classes, -int((shown & (objects.occlusion <= 1)).sum()), frame.frame_id

    return sorted(study.frames("val"), key=rank)[:_EXAMPLES]


def scene_blocks(study: CaseStudy) -> list[Block]:
    """The examples as scenes to turn: the clouds of all sources, labels, what each detector finds on each source."""
    places = [place for place in study.places if not place.near_only and study.sources_there(place)]
    if not places:
        return []
    # The whole cloud, where some detector takes it: it shows more than the sparse one.
    whole = min(places, key=lambda place: study.cloud(place).sparse)
    scenes = tuple(_scene(study, frame, places, whole) for frame in example_frames(study))
    text = "Labels, and detections down to each detector's score of highest F1, in the clouds of each source of depth."
    return [Scenes(scenes, text)]


def _scene(study: CaseStudy, frame: Frame, places: Sequence[DetectorPlace], whole: DetectorPlace) -> Scene:
    found: dict[str, dict[str, Objects]] = {}
    for kind in dict.fromkeys(place.kind for place in places):
        same = [place for place in places if place.kind == kind]
        found[kind] = {
            source: Objects.concatenate([_confident(study, source, place, frame.frame_id) for place in same])
            for source in study.sources_there(same[0])
            if all(study.is_there(source, place.vertex) for place in same)
        }
    disparities: dict[str, NDArray[np.floating]] = {
        source: read_disparity(disparity_path(study.folder(source, DISPARITY, "predict"), frame.frame_id))
        for source in study.upstream_there
        if source in study.sources_there(whole)
    }
    if frame.has_exact_disparity():
        disparities["y"] = frame.disparity()
    clouds = {source: _cloud(study, source, whole, frame.frame_id) for source in study.sources_there(whole)}
    return Scene(frame.frame_id, frame.left_image(), frame.calibration, frame.objects(), clouds, disparities, found)


def disparity_blocks(study: CaseStudy) -> list[Block]:
    """The disparity maps of all models on the examples, with their errors."""
    pictures: list[Block] = []
    there = study.upstream_there
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
        image = frame.left_image()
        objects = frame.objects()
        for kind in dict.fromkeys(place.kind for place in study.places):
            places = [place for place in study.places if place.kind == kind and not place.near_only]
            sources = [s for s in study.sources if all(study.is_there(s, place.vertex) for place in places)]
            if not sources:
                continue
            clouds: dict[str, NDArray[np.floating]] = {
                source: _cloud(study, source, places[0], frame.frame_id) for source in sources
            }
            truth = objects[np.isin(objects.class_name, [place.class_name for place in places])]
            detections: dict[str, Objects] = {
                source: Objects.concatenate([_detections(study, source, place, frame.frame_id) for place in places])
                for source in sources
            }
            size = (image.shape[0], image.shape[1])
            figure = birds_eye_figure(clouds, truth, detections, frame.calibration, size, 40.0)
            caption = f"Frame {frame.frame_id}: clouds of {_listed(sources)} with the labels and what {kind} found."
            pictures.append(Picture(figure, caption))
    return pictures


def curve_blocks(study: CaseStudy) -> list[Block]:
    """Precision over recall of every detector, first seed, at the official and the looser IoU."""
    pictures: list[Block] = []
    for loose in (False, True):
        panels: dict[str, dict[str, PrecisionCurve]] = {}
        for place in study.places:
            key = (place.class_name, "bev", "moderate")
            there = study.sources_there(place)
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


def remedy_blocks(study: CaseStudy) -> list[Block]:
    """The recommendation and what it rests on, the table, and a picture of the changes."""
    places = tried_places(study)
    if not places:
        return []
    blocks: list[Block] = [*recommendation_sentences(study), *remedies_tables(study)]
    panels: dict[str, Mapping[str, Estimate]] = {}
    flips: dict[str, Mapping[str, Estimate]] = {}
    for place in places:
        found = tried(study, place)
        panels[str(place)] = {name: signed_change(one.from_old) for name, one in found.items() if name != "keep"}
        flips[str(place)] = {name: one.negative for name, one in found.items() if name != "keep"}
    over = "frames" if len(study.seeds) == 1 else "frames and training seeds"
    unit = next(iter(tried(study, places[0]).values())).from_old.unit
    for each, quantity, caption in (
        (panels, f"change of the test loss ({unit})", "Change of the test loss against the old system on u"),
        (flips, "negative flips (% of objects)", "Objects found by the old system on u, and no longer"),
    ):
        figure = changes_figure(each, quantity)
        blocks.append(Picture(figure, f"{caption}: 95 % intervals over {over}; keep is at 0."))
    return blocks
