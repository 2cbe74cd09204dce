"""Checks, before anything is trained, that a folder of the user is complete for a case study."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pseudolidar.case_study.clouds import FolderData
from pseudolidar.case_study.disparity import CommandDisparity, DisparityFolder
from pseudolidar.case_study.settings import CaseStudySettings, DetectionsFile
from pseudolidar.detectors import require_initial_weights
from pseudolidar.detectors.boxes2d import read_detections_file
from pseudolidar.evaluation import read_frames
from pseudolidar.files import FormatError, require_file
from pseudolidar.kitti import Frame, ObjectDataset, disparity_path, read_disparity_size, read_image_size
from pseudolidar.stereo import StereoTraining
from pseudolidar.systems.external import SPLITS

_NAMED = 3


def require_inputs(settings: CaseStudySettings) -> None:
    """See that every frame of both splits has the files that the study's models will read.

    Looked at are calibrations and labels (read), both images and the maps of folders given as u or u' (headers), the
    truth (exact maps of all frames, or sweeps of all), and a file of 2D boxes. One FormatError tells all that is
    missing or broken: how many frames, the first of them, and the first reason. Before that, of any data: the weights
    that detectors start from are of their kinds and classes.
    """
    for kind, trainings in (("P-RCNN", settings.pointrcnn), ("F-PTNET", settings.frustum_pointnet)):
        for class_name, training in trainings.items():
            if (init := settings.initial_detectors.of(kind, class_name)) is not None:
                require_initial_weights(training, init, [class_name])
    if not isinstance(settings.data, FolderData):
        return
    train, val = (list(ObjectDataset(settings.data.root, split)) for split in SPLITS)
    if isinstance(settings.boxes2d, DetectionsFile) and settings.frustum_pointnet:
        boxes = read_detections_file(settings.boxes2d.path)
        if not any(frame.frame_id in boxes for frame in val):
            found = f"boxes of {len(boxes)} other frames"
            raise FormatError(settings.boxes2d.path, "field 1 (image_path)", found, "some of the validation frames")
    every = [*train, *val]
    detects = bool(settings.pointrcnn or settings.frustum_pointnet or settings.commands)
    references = {name: reference.model for name, reference in settings.references.items()}
    choices = {"u": settings.u, "u'": settings.u_prime, **references}
    trains = any(isinstance(choice, StereoTraining) for choice in (*choices.values(), settings.pretraining))
    sees_pairs = not all(isinstance(choice, DisparityFolder | CommandDisparity) for choice in choices.values())
    faults = [
        *_faults("calibrations", every, lambda frame: frame.calibration),
        *_faults("left images", every, Frame.image_size),
        # What is only scored is scored on the validation split.
        *_truth_faults(every if detects or trains else val),
    ]
    if sees_pairs:
        faults += _faults("right images", every, _require_right_image)
    if detects:
        faults += _label_faults(every)
    for name, choice in choices.items():
        if isinstance(choice, DisparityFolder):
            faults += _faults(f"maps of {name}", every, partial(_require_map, Path(choice.path)))
    if faults:
        expected = f"every frame of the splits {' and '.join(SPLITS)} complete, before anything is trained"
        raise FormatError(every[0].folder, "frames", "; ".join(faults), expected)


def _faults(what: str, frames: Sequence[Frame], check: Callable[[Frame], object]) -> list[str]:
    refused: dict[str, FormatError] = {}
    for frame in frames:
        try:
            check(frame)
        except FormatError as error:
            refused[frame.frame_id] = error
    if not refused:
        return []
    named = ", ".join([*list(refused)[:_NAMED], *["..."] * (len(refused) > _NAMED)])
    first = next(iter(refused.values()))
    return [f"{what} of {len(refused)} of {len(frames)} frames missing or broken ({named}): {first}"]


def _require_right_image(frame: Frame) -> None:
    _require_size(frame, frame.path("image_3"), read_image_size(frame.path("image_3")))


def _require_map(folder: Path, frame: Frame) -> None:
    path = disparity_path(folder, frame.frame_id)
    _require_size(frame, path, read_disparity_size(path))


def _require_size(frame: Frame, path: Path, size: tuple[int, int]) -> None:
    try:
        height, width = frame.image_size()
    except FormatError:
        # Said where left images are.
        return
    if size != (height, width):
        raise FormatError(path, "size", f"{size[1]} x {size[0]} px", f"{width} x {height} px, as the left image")


def _truth_faults(frames: Sequence[Frame]) -> list[str]:
    """The oracle and the targets are the exact maps where there are some; a study has one truth for all frames."""
    if any(frame.has_exact_disparity() for frame in frames):
        return _faults("exact disparity maps", frames, partial(_require_map, frames[0].folder / "disparity"))
    return _faults("sweeps, as no frame has an exact disparity map,", frames, _require_sweep)


def _require_sweep(frame: Frame) -> None:
    path = require_file(frame.path("velodyne"), "a LiDAR sweep")
    size = path.stat().st_size
    if not size or size % 16:
        raise FormatError(path, "file", f"{size} bytes", "16 bytes a point, and some points")


def _label_faults(frames: Sequence[Frame]) -> list[str]:
    missing = _faults("labels", frames, lambda frame: require_file(frame.path("label_2"), "KITTI labels"))
    if missing:
        return missing
    try:
        # Thousands in a moment.
        read_frames([str(frame.path("label_2")) for frame in frames], scored=False)
    except FormatError:
        return _faults("labels", frames, Frame.objects)
    return []
