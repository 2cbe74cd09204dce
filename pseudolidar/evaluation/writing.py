"""Evaluations, comparisons and outcomes as JSON and CSV files."""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pseudolidar.evaluation.average_precision import METRICS
from pseudolidar.evaluation.evaluator import Evaluation, Outcome, object_outcomes
from pseudolidar.evaluation.intervals import Comparison, Key
from pseudolidar.evaluation.protocol import VIEWS
from pseudolidar.files import require_output_file, require_suffix, write_file
from pseudolidar.statistics import Interval


def require_table_paths(
    json_path: str | Path | None, csv_path: str | Path | None, outcomes_path: str | Path | None = None
) -> None:
    """Check, before the work, that tables can be written to these paths; None for tables that are not wanted.

    Raises:
        FormatError: another suffix than .json, .csv and .csv, or a folder of that name.
    """
    for path, suffix in ((json_path, ".json"), (csv_path, ".csv"), (outcomes_path, ".csv")):
        if path is not None:
            require_output_file(path, (suffix,), "a table")


def write_json(evaluation: Evaluation, path: str | Path, intervals: Mapping[Key, Interval] | None = None) -> None:
    """Write `Evaluation.to_dict()`, null without a number; with intervals "AP11_interval", "AP40_interval": [low,
    high].
    """
    table: dict[str, dict[str, dict[str, Any]]] = {**evaluation.to_dict()}
    if intervals is not None:
        for class_name, view, level, metric in _keys(evaluation):
            ends = table[class_name][view].setdefault(f"{metric}_interval", [])
            ends.append(_ends(intervals.get((class_name, view, level, metric))))
    _write_json(table, path)


def write_csv(evaluation: Evaluation, path: str | Path, intervals: Mapping[Key, Interval] | None = None) -> None:
    """Write a line for each class, view, difficulty and metric, empty without a number; low, high with `intervals`."""
    header = ["class", "view", "difficulty", "metric", "min_overlap", "objects", "ap"]
    rows = []
    for key in _keys(evaluation):
        curve = evaluation.curves.get(key[:3])
        count = None if curve is None else curve.object_count
        rows.append([*key, evaluation.least_overlap(*key[:2]), count, _finite(evaluation.ap(*key))])
        if intervals is not None:
            rows[-1] += _ends(intervals.get(key))
    _write_csv([*header, "low", "high"] if intervals is not None else header, rows, path)


def write_comparison_json(comparison: Comparison, path: str | Path) -> None:
    """Write {"confidence", "replicates", "classes": {class: {view: {metric: {"a", "b", "difference", "interval"}}}}}.

    Each is a list with an entry for each difficulty, null where there is no number.
    """
    classes: dict[str, dict[str, dict[str, dict[str, list[Any]]]]] = {}
    for (class_name, view, _, metric), values, ends in _compared(comparison):
        lists = classes.setdefault(class_name, {}).setdefault(view, {}).setdefault(metric, {})
        for name, value in zip(("a", "b", "difference", "interval"), (*values, ends), strict=True):
            lists.setdefault(name, []).append(value)
    _write_json({"confidence": comparison.confidence, "replicates": comparison.replicates, "classes": classes}, path)


def write_comparison_csv(comparison: Comparison, path: str | Path) -> None:
    """Write a line for each class, view, difficulty and metric, empty where there is no number."""
    header = ["class", "view", "difficulty", "metric", "a", "b", "difference", "low", "high"]
    _write_csv(header, ([*key, *values, *ends] for key, values, ends in _compared(comparison)), path)


def write_outcomes(evaluation: Evaluation, path: str | Path) -> None:
    """Write `object_outcomes` as CSV with a header, a field empty where it does not apply."""
    header = ["class" if name == "class_name" else name for name in Outcome._fields]
    _write_csv(header, object_outcomes(evaluation), path)


def _keys(evaluation: Evaluation) -> list[Key]:
    return [
        (class_name, view, level, metric)
        for class_name in evaluation.classes
        for view in VIEWS
        for metric in METRICS
        for level in evaluation.difficulties
    ]


def _compared(comparison: Comparison) -> Iterator[tuple[Key, list[float | None], list[float | None]]]:
    """Each key with a, b and b - a, and with the ends of its interval."""
    for key in _keys(comparison.a):
        of_a, of_b = comparison.a.ap(*key), comparison.b.ap(*key)
        yield key, [_finite(value) for value in (of_a, of_b, of_b - of_a)], _ends(comparison.differences.get(key))


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else value


def _ends(interval: Interval | None) -> list[float | None]:
    return [None, None] if interval is None else [_finite(interval.low), _finite(interval.high)]


def _write_json(value: object, path: str | Path) -> None:
    require_suffix(path, (".json",), "a table")
    write_file(path, json.dumps(value, indent=1) + "\n")


def _write_csv(header: Sequence[str], rows: Iterable[Sequence[object]], path: str | Path) -> None:
    require_suffix(path, (".csv",), "a table")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_file(path, text.getvalue())
