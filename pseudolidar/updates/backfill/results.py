"""Stored labels as output: a CSV file of replacements, and KITTI objects."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pseudolidar.detectors.boxes2d import Boxes2d
from pseudolidar.files import replacing
from pseudolidar.kitti import Objects
from pseudolidar.updates import UpdateStep
from pseudolidar.updates.backfill.candidates import Candidates
from pseudolidar.updates.backfill.labelling import BACKGROUND, LABELS, Predictions


def write_replacements(path: Path, candidates: Candidates, step: UpdateStep, posterior: NDArray[np.float32]) -> None:
    """Write a CSV line for each label that a step changed: frame, box (px), both labels, the new one's posterior."""
    changed = step.before != step.after
    rows = zip(*(values[changed].tolist() for values in (step.items, step.before, step.after)), strict=True)
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("frame", "left", "top", "right", "bottom", "before", "after", "belief"))
        for item, before, after in rows:
            box = (f"{side:.2f}" for side in candidates.box2d[item])
            frame = candidates.frame_ids[candidates.frame[item]]
            writer.writerow((frame, *box, LABELS[before], LABELS[after], f"{posterior[item, after]:.4f}"))


def stored_objects(
    candidates: Candidates, label: NDArray[np.int16], score: NDArray[np.floating], sources: Sequence[Predictions]
) -> list[Objects]:
    """The objects for labels (N,) of `LABELS`, with `score` (N,); one `Objects` for each frame.

    An item labelled as a class is the detection of the newest version that predicted it. Where none did (a posterior
    may favour a class that is often mistaken for the predicted one), it is the candidate's 2D box, without a 3D box.
    `sources` are the versions' predictions, oldest first.
    """
    parts = []
    without = label != BACKGROUND
    for source in reversed(sources):
        own = np.flatnonzero(without & (source.label == label))
        without[own] = False
        parts.append((own, source.detections.objects[source.row[own]]))
    own = np.flatnonzero(without)
    parts.append((own, Boxes2d(np.array(LABELS)[label[own]], candidates.box2d[own]).to_objects()))
    items = np.concatenate([own for own, _ in parts])
    order = np.argsort(items)
    items = items[order]
    objects = replace(Objects.concatenate([found for _, found in parts])[order], score=score[items])
    start = np.searchsorted(candidates.frame[items], np.arange(len(candidates.frame_ids) + 1)).tolist()
    return [objects[first:end] for first, end in pairwise(start)]
