"""The case study's report: verdict first, then tables, disparity maps, clouds with boxes, precision-recall curves."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kitti import Frame, Objects, read_disparity, read_objects, read_points
from pseudolidar.study import paper
from pseudolidar.study.artifacts import parents_first
from pseudolidar.study.case_study import CaseStudy
from pseudolidar.study.settings import PAPER_SOURCES, PAPER_UPSTREAM, DetectorKind, DetectorRun, Source, TownData
from pseudolidar.study.tables import RANGE_NAMES, Scores, depth_error_table, table_1, table_2, table_3
from pseudolidar.viewing import (
    Picture,
    Report,
    Section,
    Table,
    birds_eye_figure,
    disparity_figure,
    precision_recall_figure,
    range_figure,
)

_EXAMPLES = 3


def case_study_report(study: CaseStudy, scores: Scores, configuration: str) -> Report:
    """Compose the report of a finished case study.

    Args:
        study: finished.
        configuration: the resolved configuration, as text.
    """
    examples = example_frames(study)
    sections = [
        Section("Upstream: the disparity models", (table_2(study), _range_picture(study), depth_error_table(study))),
        Section("Downstream: the detectors", tuple(detector_tables(study, scores))),
        Section("Disparity maps", tuple(_disparity_picture(study, frame) for frame in examples)),
        Section("Clouds from above, with boxes", tuple(_cloud_pictures(study, examples))),
        Section("Precision and recall", tuple(_curve_pictures(study, scores))),
    ]
    return Report(
        title=f"Case study {study.settings.name}: u, u' and what stands behind them",
        lead=" ".join([upstream_sentence(study), *downstream_sentences(study, scores)]),
        sections=tuple(sections),
        facts=_facts(study),
        configuration=configuration,
    )


def detector_tables(study: CaseStudy, scores: Scores) -> list[Table]:
    """Table 1, and Table 3 where pedestrians are studied."""
    tables = [table_1(study, scores)]
    if any(near_only for _, _, near_only in study.kinds):
        tables.append(table_3(study, scores))
    return tables


def upstream_sentence(study: CaseStudy) -> str:
    """Which disparity model has the lower error, overall and by depth."""
    errors = {source: study.disparity_errors(source)["all"] for source in study.upstream}
    cells = {depth: [errors[source][depth]["disparity_mae_px"] for source in PAPER_UPSTREAM] for depth in RANGE_NAMES}
    overall = cells["0-max"]
    better = "u'" if overall[1] < overall[0] else "u"
    near = [depth for depth in RANGE_NAMES[1:] if None not in cells[depth] and cells[depth][0] < cells[depth][1]]
    ranges = f"u is better at {' and '.join(near)} m" if near else "u' is better or equal in every depth range"
    return (
        f"Upstream, {better} has the lower disparity error: {overall[0]:.3f} px for u (trained on depth), "
        f"{overall[1]:.3f} px for u' (trained on disparity); {ranges}.{_without_training(errors)}"
    )


def _without_training(errors: Mapping[Source, Any]) -> str:
    if "SGM" not in errors:
        return ""
    return f" Semi-global matching, which is not trained, has {errors['SGM']['0-max']['disparity_mae_px']:.3f} px."


def downstream_sentences(study: CaseStudy, scores: Scores) -> list[str]:
    """What replacing u by u' does to each detector, and what the numbers can't say."""
    changes = []
    for kind, class_name, near_only in study.kinds:
        runs = (DetectorRun(kind, source, class_name, near_only) for source in PAPER_SOURCES)
        u, u_prime, oracle = (scores.ap(run, "bev") for run in runs)
        if any(math.isnan(value) for value in (u, u_prime, oracle)):
            continue
        verb = "rises" if u_prime > u else "falls" if u_prime < u else "stays"
        name = f"{class_name.lower()}s' {kind}" + (" trained near only" if near_only else "")
        changes.append(f"that of the {name} {verb} from {u:.1f} to {u_prime:.1f} (oracle {oracle:.1f})")
    sentences = []
    if changes:
        changes[0] = changes[0].replace("that", "APBEV", 1)
        sentences.append(f"Downstream, when u' replaces u, {'; '.join(changes)}.")
    sentences.append("This is one run with one seed: differences have no intervals and decide nothing by themselves.")
    return sentences


def example_frames(study: CaseStudy, count: int = _EXAMPLES) -> list[Frame]:
    """The validation frames with most cars and pedestrians that are near enough to be seen well; ties by id."""
    ranked = []
    for frame in study.frames("val"):
        objects = frame.objects()
        shown = np.isin(objects.class_name, study.settings.class_names) & (objects.box3d[:, 2] < 30)
        kinds = len(set(objects.class_name[shown]))
        ranked.append((-kinds, -int((shown & (objects.occlusion <= 1)).sum()), frame.frame_id, frame))
    return [frame for *_, frame in sorted(ranked, key=lambda entry: entry[:3])[:count]]


def detections_on(study: CaseStudy, frame: Frame, source: Source, kind: DetectorKind) -> Objects:
    """Cars and pedestrians that the detectors of one kind, trained on one source's clouds, found in a frame."""
    found = [
        read_objects(study.store.folder(study.detections[run]) / f"{frame.frame_id}.txt", scored=True)
        for run in study.runs
        if (run.kind, run.source, run.near_only) == (kind, source, False)
    ]
    return Objects.concatenate(found)


def _range_picture(study: CaseStudy) -> Picture:
    measured: dict[str, list[float]] = {}
    for source in study.upstream:
        errors = study.disparity_errors(source)["all"]
        values = [errors[depth]["disparity_mae_px"] for depth in RANGE_NAMES]
        measured[source] = [math.nan if value is None else value for value in values]
    published: dict[str, list[float]] = {source: list(values) for source, values in paper.DISPARITY_MAE_PX.items()}
    figure = range_figure({"this study": measured, "the paper, KITTI": published}, RANGE_NAMES, "disparity MAE (px)")
    return Picture(figure, "Disparity error by ground-truth depth, here and in the paper.")


def _disparity_picture(study: CaseStudy, frame: Frame) -> Picture:
    predicted: dict[str, NDArray[np.floating]] = {
        source: read_disparity(study.store.folder(study.disparities[source]) / f"{frame.frame_id}.npy")
        for source in study.upstream
    }
    exact = frame.disparity() if frame.has_exact_disparity() else None
    figure = disparity_figure(frame.left_image(), exact, predicted, frame.calibration)
    return Picture(figure, f"Frame {frame.frame_id}: disparity of {_listed(predicted)}, and their errors.")


def _cloud_pictures(study: CaseStudy, examples: Iterable[Frame]) -> Iterator[Picture]:
    """Every example once for each kind of detector, on the clouds that it takes."""
    for frame in examples:
        for kind in dict.fromkeys(kind for kind, _, _ in study.kinds):
            yield _cloud_picture(study, frame, kind)


def _cloud_picture(study: CaseStudy, frame: Frame, kind: DetectorKind) -> Picture:
    folders = {source: study.store.folder(study.cloud(source, sparse=kind == "P-RCNN")) for source in study.sources}
    clouds: dict[str, NDArray[np.floating]] = {
        source: read_points(folder / f"{frame.frame_id}.bin") for source, folder in folders.items()
    }
    objects = frame.objects()
    truth = objects[np.isin(objects.class_name, study.settings.class_names)]
    detections: dict[str, Objects] = {source: detections_on(study, frame, source, kind) for source in study.sources}
    image = frame.left_image()
    figure = birds_eye_figure(clouds, truth, detections, frame.calibration, (image.shape[0], image.shape[1]), 40.0)
    caption = f"Frame {frame.frame_id}: clouds of {_listed(clouds)} with the labels and what {kind} found."
    return Picture(figure, caption)


def _listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}"


def _curve_pictures(study: CaseStudy, scores: Scores) -> list[Picture]:
    pictures = []
    for loose in (False, True):
        panels: dict[str, dict[str, NDArray[np.floating]]] = {}
        for kind, class_name, near_only in study.kinds:
            evaluations = scores.loose if loose else scores.official
            runs = {source: DetectorRun(kind, source, class_name, near_only) for source in study.sources}
            overlap = evaluations[runs["y"]].min_overlap[class_name]["bev"]
            title = f"{class_name}{', near only' if near_only else ''}, {kind}, BEV, IoU {overlap:g}"
            panels[title] = {
                source: evaluations[run].curves[class_name, "bev", "moderate"].precision
                for source, run in runs.items()
                if (class_name, "bev", "moderate") in evaluations[run].curves
            }
        which = "the looser" if loose else "the official"
        pictures.append(Picture(precision_recall_figure(panels), f"Precision over recall, moderate, at {which} IoU."))
    return pictures


def _facts(study: CaseStudy) -> tuple[tuple[str, str], ...]:
    data = study.settings.data
    source = f"synthetic town, preset {data.preset}" if isinstance(data, TownData) else str(data.root)
    stages = parents_first(study.stages())
    minutes = sum(study.store.seconds(stage) for stage in stages) / 60
    return (
        ("data", source),
        ("frames", f"{len(study.frames('train'))} for training, {len(study.frames('val'))} for validation"),
        ("seed", str(study.settings.seed)),
        ("stages", f"{len(stages)}, {minutes:.0f} minutes in all"),
    )
