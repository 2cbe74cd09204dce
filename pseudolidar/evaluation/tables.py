"""Evaluations and comparisons as aligned tables for the terminal."""

from collections.abc import Iterator, Mapping

import numpy as np
from rich.table import Table

from pseudolidar.evaluation.average_precision import METRICS, Evaluation, PrecisionCurve
from pseudolidar.evaluation.intervals import Comparison, Key
from pseudolidar.evaluation.protocol import GEOMETRY, VIEWS
from pseudolidar.files import InputError
from pseudolidar.statistics import Interval

_NAMES = {"bbox": "2D", "aos": "AOS", "bev": "BEV", "3d": "3D"}


def evaluation_table(evaluation: Evaluation) -> Table:
    """A row for each class and view; AP11 and AP40 at each difficulty, percent, a dash where there is no number."""
    table = _table(f"Average precision, percent\n{_frames(evaluation)}")
    table.add_column("IoU >", justify="right")
    for metric in METRICS:
        for difficulty in evaluation.difficulties:
            table.add_column(f"{metric}\n{difficulty}", justify="right", no_wrap=True)
    table.add_column("objects", justify="right")
    for class_name in evaluation.classes:
        for view in VIEWS:
            values = [
                evaluation.ap(class_name, view, difficulty, metric)
                for metric in METRICS
                for difficulty in evaluation.difficulties
            ]
            table.add_row(
                class_name if view == VIEWS[0] else "",
                _NAMES[view],
                f"{least_overlap(evaluation, class_name, view):g}",
                *(_number(value) for value in values),
                " / ".join(_objects(evaluation, class_name, view, name) for name in evaluation.difficulties),
                end_section=view == VIEWS[-1],
            )
    return table


def interval_table(evaluation: Evaluation, intervals: Mapping[Key, Interval], confidence: float) -> Table:
    """A row for each class, view and difficulty: AP11 and AP40 with their intervals."""
    table = _table(f"Average precision, percent, with {confidence:.0%} intervals\n{_frames(evaluation)}")
    table.add_column("difficulty")
    for metric in METRICS:
        table.add_column(metric, justify="right", no_wrap=True)
        table.add_column("interval", justify="right", no_wrap=True)
    table.add_column("objects", justify="right")
    for heads, (class_name, view, level), ends in _rows(evaluation):
        cells = []
        for metric in METRICS:
            key = class_name, view, level, metric
            cells += [_number(evaluation.ap(*key)), _ends(intervals.get(key))]
        table.add_row(*heads, *cells, _objects(evaluation, class_name, view, level), end_section=ends)
    return table


def comparison_table(comparison: Comparison, metric: str) -> Table:
    """A row for each class, view and difficulty: a, b, b - a with its interval, marked where that excludes 0."""
    a, b = comparison.a, comparison.b
    table = _table(f"{metric}, percent\n{_frames(a)}")
    for name in ("difficulty", "objects", "a", "b", "b - a", f"{comparison.confidence:.0%} interval", ""):
        table.add_column(name, justify="left" if name in ("difficulty", "") else "right", no_wrap=True)
    for heads, (class_name, view, level), ends in _rows(a):
        of_a, of_b = (one.ap(class_name, view, level, metric) for one in (a, b))
        interval = comparison.differences.get((class_name, view, level, metric))
        numbers = [_number(of_a), _number(of_b), _number(of_b - of_a, "+"), _ends(interval, "+")]
        mark = "*" if interval is not None and interval.excludes_zero else ""
        table.add_row(*heads, _objects(a, class_name, view, level), *numbers, mark, end_section=ends)
    return table


def comparison_note(comparison: Comparison) -> str:
    """How the intervals were made and what a mark says."""
    chance = 1 - comparison.confidence
    return (
        f"* the interval excludes 0. Paired bootstrap over frames, {comparison.replicates} replicates.\n"
        f"Each interval stands for itself: of many differences that are nothing but chance, {chance:.0%} get a mark."
    )


def precision_panels(evaluation: Evaluation) -> dict[str, dict[str, PrecisionCurve]]:
    """Curves by title (class, view, overlap) and difficulty, for `pseudolidar.viewing.precision_recall_figure`.

    Raises:
        InputError: no class has an object to find.
    """
    panels: dict[str, dict[str, PrecisionCurve]] = {}
    for class_name in evaluation.classes:
        for view in VIEWS:
            curves = {level: evaluation.curves.get((class_name, view, level)) for level in evaluation.difficulties}
            drawn = {level: curve for level, curve in curves.items() if curve and curve.object_count}
            if drawn:
                overlap = least_overlap(evaluation, class_name, view)
                panels[f"{class_name}, {_NAMES[view]}, IoU {overlap:g}"] = drawn
    if not panels:
        raise InputError("curves: found no objects to detect, expected some")
    return panels


def least_overlap(evaluation: Evaluation, class_name: str, view: str) -> float:
    """The overlap that a match must exceed in a view; `aos` goes with `bbox`."""
    return evaluation.min_overlap[class_name]["bbox" if GEOMETRY[view] == GEOMETRY["bbox"] else view]


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("class")
    table.add_column("view")
    return table


def _rows(evaluation: Evaluation) -> Iterator[tuple[tuple[str, str, str], tuple[str, str, str], bool]]:
    """Class, view and difficulty as written and as they are, and whether a section ends."""
    for class_name in evaluation.classes:
        for view in VIEWS:
            for level in evaluation.difficulties:
                first = level == evaluation.difficulties[0]
                heads = (class_name if first and view == VIEWS[0] else "", _NAMES[view] if first else "", level)
                last = level == evaluation.difficulties[-1] and view == VIEWS[-1]
                yield heads, (class_name, view, level), last


def _frames(evaluation: Evaluation) -> str:
    near_far = evaluation.depth_range
    depth = f", {near_far[0]:g} < z <= {near_far[1]:g} m" if near_far else ""
    return f"frames: {evaluation.frame_count}{depth}"


def _objects(evaluation: Evaluation, class_name: str, view: str, level: str) -> str:
    curve = evaluation.curves.get((class_name, view, level))
    return "-" if curve is None else str(curve.object_count)


def _number(value: float, sign: str = "") -> str:
    return "-" if np.isnan(value) else f"{value:{sign}.2f}"


def _ends(interval: Interval | None, sign: str = "") -> str:
    if interval is None or np.isnan(interval.low):
        return "-"
    return f"{_number(interval.low, sign)} to {_number(interval.high, sign):>6}"
