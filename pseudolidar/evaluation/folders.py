"""Evaluation of KITTI result files against label files, folder against folder."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pseudolidar.evaluation.average_precision import Evaluation, evaluate
from pseudolidar.evaluation.protocol import CLASSES, DIFFICULTIES
from pseudolidar.evaluation.reading import read_frames
from pseudolidar.evaluation.stacked import StackedObjects
from pseudolidar.files import FormatError, InputError
from pseudolidar.kitti import Objects, read_split
from pseudolidar.kitti.frames import TESTING

logger = logging.getLogger(__name__)

# A detector's weak detections are mostly far and low; a third of them below the limit is nothing unusual.
_NEARLY_ALL = 0.9


def read_folders(
    labels_dir: str | Path,
    results_dir: str | Path,
    split_file: str | Path | None = None,
    missing_results: str = "error",
) -> tuple[list[str], StackedObjects, StackedObjects]:
    """Read the labels and the detections of the frames to evaluate.

    These are the frames of `split_file` or, without one, all frames in `labels_dir`. Each needs a result file: a
    detector that finds nothing writes an empty one, so a missing file is most often a run that broke off. With
    `missing_results="empty"` it stands for no detections. A result file without a label file is always an error.

    Returns:
        frame ids, labels by frame, detections by frame.

    Raises:
        FormatError: no such folder, no label files, a label or result file that is missing or not as it should be, a
            result file for an unknown frame.
        InputError: `missing_results` is neither error nor empty.
    """
    if missing_results not in ("error", "empty"):
        raise InputError(f"missing_results: found {missing_results!r}, expected error or empty")
    labelled = _frame_ids(labels_dir, "a folder with KITTI label files")
    scored = _frame_ids(results_dir, "a folder with KITTI result files")
    if not labelled:
        raise FormatError(labels_dir, "folder", "no .txt files", "a KITTI label file for each frame")
    unknown = sorted(scored - labelled)
    if unknown:
        others = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        found = f"results for frame {unknown[0]}{others}"
        path = Path(results_dir) / f"{unknown[0]}.txt"
        raise FormatError(path, "file", found, f"only frames that have labels in {labels_dir}")
    frame_ids = sorted(labelled)
    if split_file is not None:
        frame_ids = read_split(split_file)
        for number, frame_id in enumerate(frame_ids, start=1):
            if frame_id not in labelled:
                raise FormatError(split_file, f"entry {number}", frame_id, f"a frame that has labels in {labels_dir}")
    missing = [frame_id for frame_id in frame_ids if frame_id not in scored]
    if missing and missing_results == "error":
        raise FormatError(
            Path(results_dir) / f"{missing[0]}.txt",
            "file",
            f"nothing there ({len(missing)} of {len(frame_ids)} frames have no result file)",
            "a result file for each frame, empty where nothing was detected; split_file=FILE evaluates the frames of a "
            "split alone, missing_results=empty counts a missing file as no detections",
        )
    labels = read_frames([os.path.join(labels_dir, f"{frame_id}.txt") for frame_id in frame_ids], scored=False)
    results = read_frames(
        [os.path.join(results_dir, f"{frame_id}.txt") if frame_id in scored else None for frame_id in frame_ids],
        scored=True,
    )
    return frame_ids, labels, results


def _frame_ids(folder: str | Path, what: str) -> set[str]:
    folder = Path(folder)
    if not folder.is_dir():
        if folder.parent.name == TESTING:
            what += f": KITTI's {TESTING}/ has no labels, its server alone scores it"
        raise FormatError(folder, "folder", "a file" if folder.exists() else "nothing there", what)
    return {name[:-4] for name in os.listdir(folder) if name.endswith(".txt") and not name.startswith(".")}


def evaluate_folders(
    labels_dir: str | Path,
    results_dir: str | Path,
    classes: Sequence[str] = CLASSES,
    difficulties: Sequence[str] = ("easy", "moderate", "hard"),
    depth_range: tuple[float, float] | None = None,
    min_overlap: str | Mapping[str, Mapping[str, float]] | None = None,
    official_grid: bool = False,
    split_file: str | Path | None = None,
    missing_results: str = "error",
) -> Evaluation:
    """Evaluate a folder of result files: `read_folders`, then `evaluate` with the same arguments.

    Where the protocol leaves out nearly all detections one line of the log says so, see `left_out`.
    """
    frame_ids, labels, results = read_folders(labels_dir, results_dir, split_file, missing_results)
    evaluation = evaluate(labels, results, classes, difficulties, depth_range, min_overlap, official_grid, frame_ids)
    notice = left_out(results.objects, evaluation.classes, evaluation.difficulties)
    if notice is not None:
        logger.warning("%s: %s", results_dir, notice)
    return evaluation


def left_out(results: Objects, classes: Sequence[str], difficulties: Sequence[str]) -> str | None:
    """A warning if nearly all 2D boxes are too low for the protocol, or some have no height; else None.

    KITTI ignores detections below a difficulty's least height in the image, in bird's eye view and 3D as well: results
    without 2D boxes find nothing there.
    """
    box2d = results.box2d[np.isin(results.class_name, classes)]
    height = np.abs(box2d[:, 3] - box2d[:, 1])
    least = min(DIFFICULTIES[name].min_height_px for name in difficulties)
    low, flat = int((height < least).sum()), int((height == 0).sum())
    if not low or (low < _NEARLY_ALL * len(height) and not flat):
        return None
    why = f"{flat} have none (height 0)" if flat else "are these boxes in px of the left image?"
    return (
        f"{low} of {len(height)} detections are left out in every view, as KITTI's protocol has it, since their 2D "
        f"boxes are lower than {least:g} px: {why} (difficulties=[all] has no such limit)"
    )
