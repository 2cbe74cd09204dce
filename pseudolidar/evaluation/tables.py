"""An evaluation as a table in the terminal and as a JSON file."""

import json
from pathlib import Path

import numpy as np
from rich.table import Table

from pseudolidar.evaluation.average_precision import METRICS, Evaluation
from pseudolidar.evaluation.protocol import GEOMETRY, VIEWS
from pseudolidar.kitti import replacing

_NAMES = {"bbox": "2D", "aos": "AOS", "bev": "BEV", "3d": "3D"}


def evaluation_table(evaluation: Evaluation) -> Table:
    """A row for each class and view; AP11 and AP40 at each difficulty, percent, a dash where there is no number."""
    near_far = evaluation.depth_range
    depth = f", {near_far[0]:g} < z <= {near_far[1]:g} m" if near_far else ""
    title = f"Average precision, percent\nframes: {evaluation.frame_count}{depth}"
    table = Table(title=title, title_justify="left")
    table.add_column("class")
    table.add_column("view")
    table.add_column("IoU >", justify="right")
    for metric in METRICS:
        for difficulty in evaluation.difficulties:
            table.add_column(f"{metric}\n{difficulty}", justify="right", no_wrap=True)
    table.add_column("objects", justify="right")
    for class_name in evaluation.classes:
        for view in VIEWS:
            geometry = "bbox" if GEOMETRY[view] == GEOMETRY["bbox"] else view
            values = [
                evaluation.ap(class_name, view, difficulty, metric)
                for metric in METRICS
                for difficulty in evaluation.difficulties
            ]
            counts = [evaluation.curves.get((class_name, view, name)) for name in evaluation.difficulties]
            table.add_row(
                class_name if view == VIEWS[0] else "",
                _NAMES[view],
                f"{evaluation.min_overlap[class_name][geometry]:g}",
                *("-" if np.isnan(value) else f"{value:.2f}" for value in values),
                " / ".join("-" if curve is None else str(curve.object_count) for curve in counts),
                end_section=view == VIEWS[-1],
            )
    return table


def write_json(evaluation: Evaluation, path: str | Path) -> None:
    """Write `Evaluation.to_dict()`; null where there is no number."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(evaluation.to_dict(), indent=1) + "\n")
