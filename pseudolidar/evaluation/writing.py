"""Evaluations, comparisons and outcomes as JSON and CSV files."""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pseudolidar.evaluation.average_precision import METRICS, Evaluation
from pseudolidar.evaluation.intervals import Comparison, Key
from pseudolidar.evaluation.outcomes import Outcome, object_outcomes
from pseudolidar.evaluation.protocol import VIEWS
from pseudolidar.evaluation.tables import least_overlap
from pseudolidar.files import replacing, require_output_file, require_suffix
from pseudolidar.statistics import Interval


def require_table_paths(
    json_path: str | Path | None, csv_path: str | Path | None, outcomes_path: str | Path | None = None
) -> None:
    """Before the work: see that tables can be written to files of these names; None for what isn't wanted.

    Raises:
        FormatError: another suffix than .json, .csv and .csv, or a folder of that name.
    """
    for path, suffix in ((json_path, ".json"), (csv_path, ".csv"), (outcomes_path, ".csv")):
        if path is not None:
            require_output_file(path, (suffix,), "a table")


def write_json(evaluation: Evaluation, path: str | Path, intervals: Mapping[Key, Interval] | None = None) -> None:
    """Write `Evaluation.to_dict()`, with intervals also "AP11_interval" and "AP40_interval": [low, high] a difficulty.

    null where there is no number.
    """
    table: dict[str, dict[str, dict[str, list]]] = {**evaluation.to_dict()}
    if intervals is not None:
        for class_name in evaluation.classes:
            for view in VIEWS:
                for metric in METRICS:
                    keys = [(class_name, view, level, metric) for level in evaluation.difficulties]
                    ends = [_ends(intervals.get(key)) for key in keys]
                    table[class_name][view][f"{metric}_interval"] = ends
    _write_json(table, path)


def write_csv(evaluation: Evaluation, path: str | Path, intervals: Mapping[Key, Interval] | None = None) -> None:
    """Write a line for each class, view, difficulty and metric; low and high only with intervals.

    Empty where there is no number.
    """
    header = ["class", "view", "difficulty", "metric", "min_overlap", "objects", "ap"]
    rows = []
    for class_name, view, level, metric in _keys(evaluation):
        curve = evaluation.curves.get((class_name, view, level))
        least = least_overlap(evaluation, class_name, view)
        row = [class_name, view, level, metric, least, None if curve is None else curve.object_count]
        row.append(_finite(evaluation.ap(class_name, view, level, metric)))
        if intervals is not None:
            row += _ends(intervals.get((class_name, view, level, metric)))
        rows.append(row)
    _write_csv([*header, "low", "high"] if intervals is not None else header, rows, path)


def write_comparison_json(comparison: Comparison, path: str | Path) -> None:
    """Write {"confidence", "replicates", "classes": {class: {view: {metric: {"a", "b", "difference", "interval"}}}}}.

    Each is a list with an entry a difficulty, null where there is no number.
    """
    a, b = comparison.a, comparison.b
    classes: dict[str, dict[str, dict[str, dict[str, list]]]] = {}
    for class_name, view, level, metric in _keys(a):
        of_view = classes.setdefault(class_name, {}).setdefault(view, {})
        lists = of_view.setdefault(metric, {"a": [], "b": [], "difference": [], "interval": []})
        of_a, of_b = (one.ap(class_name, view, level, metric) for one in (a, b))
        lists["a"].append(_finite(of_a))
        lists["b"].append(_finite(of_b))
        lists["difference"].append(_finite(of_b - of_a))
        lists["interval"].append(_ends(comparison.differences.get((class_name, view, level, metric))))
    _write_json({"confidence": comparison.confidence, "replicates": comparison.replicates, "classes": classes}, path)


def write_comparison_csv(comparison: Comparison, path: str | Path) -> None:
    """Write a line for each class, view, difficulty and metric, empty where there is no number."""
    rows = []
    for key in _keys(comparison.a):
        of_a, of_b = comparison.a.ap(*key), comparison.b.ap(*key)
        values = [_finite(of_a), _finite(of_b), _finite(of_b - of_a)]
        rows.append([*key, *values, *_ends(comparison.differences.get(key))])
    _write_csv(["class", "view", "difficulty", "metric", "a", "b", "difference", "low", "high"], rows, path)


def write_outcomes(evaluation: Evaluation, path: str | Path) -> None:
    """Write `object_outcomes` with a header, empty where a field says nothing."""
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


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else value


def _ends(interval: Interval | None) -> list[float | None]:
    return [None, None] if interval is None else [_finite(interval.low), _finite(interval.high)]


def _write_json(value: object, path: str | Path) -> None:
    require_suffix(path, (".json",), "a table")
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n")


def _write_csv(header: Sequence[str], rows: Iterable[Sequence[object]], path: str | Path) -> None:
    require_suffix(path, (".csv",), "a table")
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
