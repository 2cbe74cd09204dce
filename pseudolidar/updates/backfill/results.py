"""What the stored labels say, as files: what to replace (CSV), and KITTI result files of the stored state."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import replacing
from pseudolidar.kitti import Objects, write_objects
from pseudolidar.updates.backfill.candidates import Candidates
from pseudolidar.updates.backfill.labelling import BACKGROUND, LABELS, Answers


def write_replacements(
    path: Path,
    candidates: Candidates,
    items: NDArray[np.int64],
    before: NDArray[np.int16],
    after: NDArray[np.int16],
    posterior: NDArray[np.float32],
) -> None:
    """Write a line for each item whose label changed: frame, box (px), label before and after, belief in the latter.

    Args:
        path: the CSV file.
        candidates: N boxes.
        items: (M,), those that changed.
        before, after: (M,), their labels.
        posterior: (N, K).
    """
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("frame", "left", "top", "right", "bottom", "before", "after", "belief"))
        for item, old, new in zip(items.tolist(), before.tolist(), after.tolist(), strict=True):
            box = (f"{side:.2f}" for side in candidates.box2d[item])
            frame = candidates.frame_ids[candidates.frame[item]]
            writer.writerow((frame, *box, LABELS[old], LABELS[new], f"{posterior[item, new]:.4f}"))


def stored_objects(
    candidates: Candidates, label: NDArray[np.int16], score: NDArray[np.floating], sources: Sequence[Answers]
) -> list[Objects]:
    """The objects that labels stand for, one struct a frame.

    An item labelled as a class is the detection of the newest version that said so. Where none did (a posterior may
    favour a class that is often taken for what was said), it is the candidate's 2D box, without a 3D box.

    Args:
        candidates: N boxes in F frames.
        label: (N,), of `LABELS`.
        score: (N,), of the objects.
        sources: what the versions say, oldest first.
    """
    parts = []
    nobody = label != BACKGROUND
    for source in reversed(sources):
        own = np.flatnonzero(nobody & (source.label == label))
        nobody[own] = False
        parts.append((own, source.detections.objects[source.row[own]]))
    own = np.flatnonzero(nobody)
    parts.append((own, _flat_objects(label[own], candidates.box2d[own])))
    items = np.concatenate([own for own, _ in parts])
    objects = Objects.concatenate([found for _, found in parts])
    order = np.argsort(items)
    items, objects = items[order], objects[order]
    scored = Objects(
        objects.class_name,
        objects.truncation,
        objects.occlusion,
        objects.alpha,
        objects.box2d,
        objects.box3d,
        np.asarray(score, np.float64)[items],
    )
    start = np.searchsorted(candidates.frame[items], np.arange(len(candidates.frame_ids) + 1))
    return [scored[first:end] for first, end in zip(start[:-1].tolist(), start[1:].tolist(), strict=True)]


def write_results(
    folder: Path,
    candidates: Candidates,
    label: NDArray[np.int16],
    belief: NDArray[np.floating],
    sources: Sequence[Answers],
) -> None:
    """Write `stored_objects` as `folder`/ID.txt, the belief in a label as the score; empty frames give empty files."""
    for name, objects in zip(candidates.frame_ids, stored_objects(candidates, label, belief, sources), strict=True):
        write_objects(folder / f"{name}.txt", objects)


def _flat_objects(label: NDArray[np.int16], box2d: NDArray[np.float64]) -> Objects:
    """Objects with 2D boxes alone, what is not known as KITTI's result files write it."""
    count = len(label)
    unknown = np.full(count, -1)
    return Objects(
        np.array(LABELS)[label],
        unknown,
        unknown,
        np.full(count, -10.0),
        box2d,
        np.tile([-1000.0, -1000.0, -1000.0, -1.0, -1.0, -1.0, -10.0], (count, 1)),
        np.zeros(count),
    )
