"""The paper's Tables 1, 2 and 3 for a case study, beside the paper's own figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pseudolidar.evaluation import Evaluation
from pseudolidar.stereo.metrics import FARTHEST_PREDICTION_M
from pseudolidar.study import paper
from pseudolidar.study.case_study import CaseStudy
from pseudolidar.study.disparity_table import REGION_NAMES
from pseudolidar.study.settings import PAPER_UPSTREAM, DetectionsFile, DetectorKind, DetectorRun
from pseudolidar.viewing import Heading, Row, Table

RANGE_NAMES = ("0-max", "0-20", "20-40", "40-max")
"""Depth ranges in m, as the paper writes them."""

_VIEWS = {"3d": "AP3D", "bev": "APBEV"}
_UPSTREAM_NAMES = {"u": "u (depth MAE)", "u'": "u' (disparity MAE)", "SGM": "SGM (not trained)"}
_MATCHING_NOTE = "SGM: semi-global matching (Hirschmüller 2008), filled from the background."


class Scores:
    """Every average precision of a case study, computed once: official and looser IoU.

    Args:
        study: finished.
    """

    def __init__(self, study: CaseStudy) -> None:
        self.official: Mapping[DetectorRun, Evaluation] = {run: study.evaluation(run) for run in study.runs}
        self.loose: Mapping[DetectorRun, Evaluation] = {run: study.evaluation(run, loose=True) for run in study.runs}

    def ap(self, run: DetectorRun, view: str, loose: bool = False, difficulty: str = "moderate") -> float:
        """AP40 in percent, NaN where there is no object."""
        return (self.loose if loose else self.official)[run].ap(run.class_name, view, difficulty, "AP40")

    def to_dict(self) -> dict[str, Any]:
        """{detector: {"official" | "loose": `Evaluation.to_dict`}}; easy, moderate, hard, all in this order."""
        return {
            run.name: {"official": self.official[run].to_dict(), "loose": self.loose[run].to_dict()}
            for run in self.official
        }


def table_1(study: CaseStudy, scores: Scores) -> Table:
    """Table 1: AP3D and APBEV of cars (any distance) and pedestrians (near), on u, u' and y."""
    near = f"pedestrians at 0-{study.settings.near_m:g} m"
    kinds = [(kind, name) for kind, name, near_only in study.kinds if not near_only and name in ("Car", "Pedestrian")]
    return _average_precision_table(
        study,
        scores,
        # As in the paper: both detectors of cars, then both of pedestrians.
        [(kind, name, False) for kind, name in sorted(kinds, key=lambda column: column[1])],
        paper.AP,
        f"Table 1. Average precision by the source of depth; {near}, their detectors trained at any distance",
    )


def table_3(study: CaseStudy, scores: Scores) -> Table:
    """Table 3: AP3D and APBEV of pedestrians, their detectors trained on near pedestrians and points alone."""
    near = f"{study.settings.near_m:g} m"
    return _average_precision_table(
        study,
        scores,
        [column for column in study.kinds if column[2]],
        paper.AP_NEAR_ONLY,
        f"Table 3. Average precision of pedestrians; detectors trained without pedestrians and points beyond {near}",
    )


def _average_precision_table(
    study: CaseStudy,
    scores: Scores,
    columns: list[tuple[DetectorKind, str, bool]],
    published: Mapping[tuple[str, str, str], Mapping[str, float]],
    caption: str,
) -> Table:
    headings = []
    second: list[str] = ["", ""]
    for kind, class_name, near_only in columns:
        run = DetectorRun(kind, "y", class_name, near_only)
        overlaps = [evaluation[run].min_overlap[class_name]["3d"] for evaluation in (scores.official, scores.loose)]
        headings.append(Heading(f"{class_name}, {kind}", 3))
        second += [f"IoU {overlaps[0]:g}", f"IoU {overlaps[1]:g}", "paper"]
    rows = []
    for view, view_name in _VIEWS.items():
        for source in study.sources:
            cells: list[str | float | None] = [view_name if source == "u" else "", source]
            for kind, class_name, near_only in columns:
                run = DetectorRun(kind, source, class_name, near_only)
                cells += [
                    scores.ap(run, view),
                    scores.ap(run, view, loose=True),
                    published[class_name, kind, view].get(source),
                ]
            rows.append(Row(tuple(cells), source in PAPER_UPSTREAM, rule_above=source == "u" and view != "3d"))
    return Table(
        caption,
        (("", "", *headings), tuple(second)),
        tuple(rows),
        notes=(
            f"AP40, percent, moderate, {len(study.frames('val'))} validation frames. One run, no intervals. "
            f"{_detectors_note(study)}",
            "paper: KITTI, IoU 0.7 for cars and 0.5 for pedestrians, Frustum PointNet v2 with a 2D detector. "
            "The higher value of u and u' is marked; y is the oracle.",
            *([_MATCHING_NOTE] if "SGM" in study.sources else []),
        ),
        best="highest",
    )


def _detectors_note(study: CaseStudy) -> str:
    """What the columns' detectors are, and where their 2D boxes come from."""
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
    """Table 2: disparity MAE by ground-truth depth; all pixels, those of cars, those of pedestrians."""
    errors = {source: study.disparity_errors(source) for source in study.upstream}
    rows = []
    for region, name in REGION_NAMES.items():
        for source in study.upstream:
            cells = [errors[source][region][depth]["disparity_mae_px"] for depth in RANGE_NAMES]
            rows.append(
                Row(
                    (name if source == "u" else "", _UPSTREAM_NAMES[source], *cells),
                    compared=source in PAPER_UPSTREAM,
                    rule_above=source == "u" and region != "all",
                )
            )
    mean = [errors["u"]["all"][depth]["mean_predictor_mae_px"] for depth in RANGE_NAMES]
    rows.append(Row(("all pixels", "the mean disparity", *mean), compared=False, rule_above=True))
    for source in PAPER_UPSTREAM:
        rows.append(
            Row(
                ("the paper, KITTI" if source == "u" else "", _UPSTREAM_NAMES[source], *paper.DISPARITY_MAE_PX[source]),
                rule_above=source == "u",
            )
        )
    return Table(
        "Table 2. Disparity MAE (px) by ground-truth depth (m)",
        (("", "", *RANGE_NAMES),),
        tuple(rows),
        notes=(
            f"{len(study.frames('val'))} validation frames. The lower value of u and u' is marked. "
            "The mean disparity: what a model that always answers the training set's mean would have.",
            *([_MATCHING_NOTE] if "SGM" in study.upstream else []),
        ),
        digits=3,
        best="lowest",
    )


def depth_error_table(study: CaseStudy) -> Table:
    """What u is trained on, and what stereo benchmarks rank by: depth MAE and D1 over all pixels, by depth."""
    rows = []
    for source in study.upstream:
        errors = study.disparity_errors(source)["all"]
        cells = [errors[depth][metric] for metric in ("depth_mae_m", "d1_percent") for depth in RANGE_NAMES]
        rows.append(Row((_UPSTREAM_NAMES[source], *cells), compared=source in PAPER_UPSTREAM))
    return Table(
        "Depth MAE and D1 by ground-truth depth (m), all pixels",
        (
            ("", Heading("depth MAE (m)", len(RANGE_NAMES)), Heading("D1 (%)", len(RANGE_NAMES))),
            ("", *RANGE_NAMES, *RANGE_NAMES),
        ),
        tuple(rows),
        notes=(
            "D1: pixels whose disparity is wrong by more than 3 px and more than 5 %, as on KITTI 2015. "
            f"Depths beyond {FARTHEST_PREDICTION_M:g} m count as that far. The lower value of u and u' is marked.",
        ),
        best="lowest",
    )
