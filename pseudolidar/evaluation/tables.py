"""Evaluations and comparisons as tables and curves to show."""

from collections.abc import Iterator, Mapping

from pseudolidar.evaluation.average_precision import METRICS, PrecisionCurve
from pseudolidar.evaluation.evaluator import Evaluation
from pseudolidar.evaluation.intervals import Comparison, Key
from pseudolidar.evaluation.protocol import VIEWS
from pseudolidar.files import InputError
from pseudolidar.statistics import NO_INTERVAL, Estimate, Interval
from pseudolidar.tables import Heading, Row, Table


def evaluation_table(evaluation: Evaluation) -> Table:
    """A row for each class and view; AP11, AP40 (percent) and the number of objects at each difficulty."""
    levels, rows = evaluation.difficulties, []
    for class_name in evaluation.classes:
        for view, name in VIEWS.items():
            averages = (evaluation.ap(class_name, view, level, metric) for metric in METRICS for level in levels)
            counts = (_object_count(evaluation, class_name, view, level) for level in levels)
            is_first = view == next(iter(VIEWS))
            heads = class_name if is_first else "", name, f"{evaluation.least_overlap(class_name, view):g}"
            rows.append(Row((*heads, *averages, *counts), rule_above=is_first))
    groups = (Heading("", 3), *(Heading(name, len(levels)) for name in (*METRICS, "objects")))
    header = groups, ("class", "view", "IoU >", *levels * 3)
    return Table(_caption("Average precision, percent", evaluation), header, tuple(rows))


def interval_table(evaluation: Evaluation, intervals: Mapping[Key, Interval], confidence: float) -> Table:
    """A row for each class, view and difficulty: AP11 and AP40 with their intervals."""
    rows = []
    for heads, key, is_first in _lines(evaluation):
        averages = (
            Estimate(evaluation.ap(*key, metric), intervals.get((*key, metric), NO_INTERVAL)) for metric in METRICS
        )
        rows.append(Row((*heads, _object_count(evaluation, *key), *averages), rule_above=is_first))
    caption = _caption(f"Average precision, percent, with {confidence:.0%} intervals", evaluation)
    return Table(caption, (("class", "view", "difficulty", "objects", *METRICS),), tuple(rows))


def comparison_tables(comparison: Comparison) -> list[Table]:
    """AP11 and AP40, a row for each class, view and difficulty: a, b, b - a with interval, marked if 0 is outside."""
    a, b = comparison.a, comparison.b
    tables = []
    for metric in METRICS:
        rows = []
        for heads, key, is_first in _lines(a):
            of_a, of_b = (one.ap(*key, metric) for one in (a, b))
            interval = comparison.differences.get((*key, metric), NO_INTERVAL)
            difference = Estimate(of_b - of_a, interval, signed=True)
            mark = "*" if interval.excludes_zero else ""
            cells = (*heads, _object_count(a, *key), of_a, of_b, difference, mark)
            rows.append(Row(cells, rule_above=is_first))
        header = "class", "view", "difficulty", "objects", "a", "b", f"b - a [{comparison.confidence:.0%} interval]", ""
        notes = (
            f"* the interval excludes 0. Paired bootstrap over frames, {comparison.replicates} replicates.",
            "Each interval stands for itself: of many differences that are nothing but chance, "
            f"{1 - comparison.confidence:.0%} get a mark.",
        )
        tables.append(Table(_caption(f"{metric}, percent", a), (header,), tuple(rows), notes))
    return tables


def precision_panels(evaluation: Evaluation) -> dict[str, dict[str, PrecisionCurve]]:
    """Curves by title (class, view, IoU) and difficulty, for `precision_recall_figure`; InputError without objects."""
    panels: dict[str, dict[str, PrecisionCurve]] = {}
    for class_name in evaluation.classes:
        for view, name in VIEWS.items():
            curves = {level: evaluation.curves.get((class_name, view, level)) for level in evaluation.difficulties}
            drawn = {level: curve for level, curve in curves.items() if curve and curve.object_count}
            if drawn:
                panels[f"{class_name}, {name}, IoU {evaluation.least_overlap(class_name, view):g}"] = drawn
    if not panels:
        raise InputError("curves: found no objects to detect, expected some")
    return panels


def _lines(evaluation: Evaluation) -> Iterator[tuple[tuple[str, str, str], tuple[str, str, str], bool]]:
    """Class, view and difficulty for display (each once), the same as keys, and whether a class begins."""
    for class_name in evaluation.classes:
        for view, name in VIEWS.items():
            for level in evaluation.difficulties:
                is_view = level == evaluation.difficulties[0]
                is_class = is_view and view == next(iter(VIEWS))
                heads = class_name if is_class else "", name if is_view else "", level
                yield heads, (class_name, view, level), is_class


def _caption(what: str, evaluation: Evaluation) -> str:
    near_far = evaluation.depth_range
    depth = f", {near_far[0]:g} < z <= {near_far[1]:g} m" if near_far else ""
    return f"{what}; {evaluation.frame_count} frames{depth}"


def _object_count(evaluation: Evaluation, class_name: str, view: str, level: str) -> int | None:
    curve = evaluation.curves.get((class_name, view, level))
    return None if curve is None else curve.object_count
