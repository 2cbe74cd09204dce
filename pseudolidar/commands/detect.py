"""Objects from stereo pairs: result files and pictures.

pseudolidar detect [models=DIR] left=FILE right=FILE calib=FILE (or data=DIR, or drive=DIR)
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pseudolidar.detectors.boxes2d import ScoreKind
from pseudolidar.files import InputError, require_output_folder
from pseudolidar.inference import Shard, run_job
from pseudolidar.inference.pairs import PairsToObjectsJob
from pseudolidar.kitti import Frame, ObjectDataset
from pseudolidar.pipeline import (
    DetectorKind,
    Drawing,
    GivenBoxes,
    Models,
    PairFrame,
    Summary,
    detection_record,
    raw_drive,
)
from pseudolidar.stereo import require_rectified
from pseudolidar.stereo.inference import InferencePrecision


def main(
    *,
    models: Path | None,
    detectors: DetectorKind | None,
    output: Path,
    overwrite: bool,
    left: Path | None,
    right: Path | None,
    calib: Path | None,
    data: Path | None,
    split: str | None,
    drive: Path | None,
    boxes: Path | None,
    boxes_scores: ScoreKind,
    max_height: float,
    max_disparity: int | None,
    align_corners: bool | None,
    precision: InferencePrecision | None,
    device: str,
    workers: int,
    shard: str | None,
    pictures: bool,
    drawing: Drawing,
) -> None:
    """Write a KITTI result file, and a picture, for every frame; say where they are and what was found."""
    require_output_folder(output, "detections")
    frames = _frames(left, right, calib, data, split, drive)
    # The first stands for all: cameras are mounted once.
    for frame in frames[:1]:
        require_rectified(frame)
    load: Callable[[], Models]
    if models is not None:
        load = partial(Models.from_folder, models, detectors, device, align_corners, max_disparity, precision)
    elif align_corners is None:
        load = partial(Models.from_package, detectors, device, max_disparity, precision)
    else:
        raise InputError(f"align_corners: found {align_corners} without models, expected models=DIR, or null")
    # Here too where others compute: what is wrong with a folder of models shows before they start.
    loaded = load()
    frame_ids = [frame.frame_id for frame in frames]
    given = None if boxes is None else GivenBoxes.from_path(boxes, frame_ids, boxes_scores)
    if models is None:
        print(f"models: the package's own, trained on a synthetic town: {', '.join(loaded.digests)}")
    if loaded.disparity_name == "semi-global matching":
        print(f"disparity: by semi-global matching, since {models} has no disparity.pt")
    part = Shard.from_text(shard)
    drawn = drawing if pictures else None
    record = detection_record(loaded, drawn, given, max_height, device)
    models_of = load if workers > 1 else lambda: loaded
    job = PairsToObjectsJob(models_of, record, frames, output, drawn, given, max_height)
    summary = sum(run_job(job, workers, part, overwrite), Summary())
    before = len(part.of(frame_ids)) - summary.frames
    print(f"frames: {summary.frames}, finished before: {before}; found at any score: {_listed(summary.found)}")
    if summary.skipped:
        print(f"skipped: {_listed(summary.skipped)}")
    for notice, frames_scaled in sorted(summary.scaled.items()):
        print(f"disparity: {notice} ({frames_scaled} frames)")
    if summary.clouds.notice is not None:
        print(summary.clouds.notice)
    print(f"results: {output / 'results'}" + (f", pictures: {output / 'pictures'}" if pictures else ""))


def _frames(
    left: Path | None, right: Path | None, calib: Path | None, data: Path | None, split: str | None, drive: Path | None
) -> Sequence[Frame]:
    """The frames that `left` with `right` and `calib`, or `data`, or `drive` name."""
    pair = (left, right, calib)
    if (pair != (None, None, None)) + (data is not None) + (drive is not None) == 1:
        if data is not None:
            return list(ObjectDataset(data, split))
        if drive is not None:
            return list(raw_drive(drive))
        if left is not None and right is not None and calib is not None:
            return [PairFrame.from_files(left, right, calib)]
    settings = {"left": left, "right": right, "calib": calib, "data": data, "drive": drive}
    found = ", ".join(name for name, value in settings.items() if value is not None) or "none of them"
    raise InputError(f"found {found}; expected left=FILE right=FILE calib=FILE, or data=DIR, or drive=DIR")


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing"
