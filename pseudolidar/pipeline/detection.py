"""From stereo pairs to objects, frame by frame: disparity, cloud, 2D boxes, detectors, result files and pictures."""

import re
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from pseudolidar.cloud import CloudTally, disparity_to_points, sparsify_points
from pseudolidar.detectors import frame_seed
from pseudolidar.detectors.boxes2d import Boxes2d, ScoreKind, clipped_to_image, read_boxes
from pseudolidar.files import FormatError, InputError, ProcessPool, Record, file_digest, overlapped, require_file
from pseudolidar.kitti import Calibration, Frame, Objects, RawDrive, write_objects
from pseudolidar.pipeline.models import Models
from pseudolidar.pipeline.pictures import Drawing, FrameResult, picture_of
from pseudolidar.viewing import write_detections

# A process that draws takes as long to start as some pictures take to draw.
_FEW_PICTURES = 4


@dataclass(frozen=True)
class PairFrame(Frame):
    """A frame of three files anywhere, without a label; `folder` and `frame_id` are those of the left image.

    The pair has to be rectified: matching points lie on one row, see `require_rectified`.
    """

    left: Path
    right: Path
    calib: Path

    @classmethod
    def from_files(cls, left: str | Path, right: str | Path, calib: str | Path) -> "PairFrame":
        """A frame of 8-bit colour images (PNG, JPEG) of one size and a KITTI calibration with their P2 and P3.

        Without Tr_velo_to_cam the origin of the cloud is the camera, see `CANONICAL_VELO_TO_CAM`.

        Raises:
            FormatError: a missing file.
        """
        left = require_file(left, "the left image")
        right = require_file(right, "the right image")
        return cls(left.parent, left.stem, left, right, require_file(calib, "a KITTI calibration file"))

    @override
    def path(self, kind: str) -> Path:
        # Paths of other kinds than these three hold nothing.
        files = {"calib": self.calib, "image_2": self.left, "image_3": self.right}
        return files[kind] if kind in files else super().path(kind)


def raw_drive(folder: str | Path) -> RawDrive:
    """The frames of a raw drive from its folder, ROOT/2011_09_26/2011_09_26_drive_0001_sync.

    Raises:
        FormatError: no such folder, one of another name, or an error of `RawDrive`.
    """
    path = Path(folder).absolute()
    match = re.fullmatch(r"(\d{4}_\d{2}_\d{2})_drive_(\d+)_sync", path.name)
    if match is None or path.parent.name != match[1]:
        expected = "DATE/DATE_drive_NUMBER_sync, e.g. 2011_09_26/2011_09_26_drive_0001_sync"
        raise FormatError(folder, "name", "/".join(path.parts[-2:]), expected)
    return RawDrive(path.parent.parent, match[1], match[2])


@dataclass(frozen=True)
class GivenBoxes:
    """2D boxes from files, instead of a 2D detector's: of any class, px, by frame."""

    path: Path
    by_frame: Mapping[str, Boxes2d]
    scores: ScoreKind = "probability"

    @classmethod
    def from_path(cls, path: str | Path, frame_ids: Sequence[str], scores: ScoreKind = "probability") -> "GivenBoxes":
        """Boxes of these frames from a file in the published format or a folder of KITTI results, see `read_boxes`.

        Raises:
            FormatError: nothing there, a broken file, or a frame that the folder lacks.
        """
        return cls(Path(path), read_boxes(path, frame_ids, scores), scores)

    def file_of(self, frame_id: str) -> Path | None:
        """The file that holds this frame's boxes only; None where one file holds all."""
        return self.path / f"{frame_id}.txt" if self.path.is_dir() else None

    def of_frame(self, frame_id: str, image_size: tuple[int, int], skipped: Counter[str]) -> Boxes2d:
        """A frame's boxes clipped to its image; `skipped` counts boxes outside of it, and frames without an entry."""
        boxes = self.by_frame.get(frame_id)
        if boxes is None:
            skipped[f"frames without 2D boxes in {self.path.name}"] += 1
            return Boxes2d.empty()
        box2d, inside, _ = clipped_to_image(boxes.box2d, image_size)
        if not inside.all():
            skipped["2D boxes outside of the image"] += int((~inside).sum())
        return Boxes2d(boxes.class_name, box2d, boxes.score)[inside]


@dataclass
class Summary:
    """Counts of a run: frames detected in it, objects found by class, skipped by reason, and the clouds' tally.

    `scaled` counts the frames whose pairs were scaled, by what there is to say about their camera.
    """

    frames: int = 0
    found: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    scaled: Counter[str] = field(default_factory=Counter)
    clouds: CloudTally = field(default_factory=CloudTally)

    def __add__(self, other: "Summary") -> "Summary":
        return Summary(
            self.frames + other.frames,
            self.found + other.found,
            self.skipped + other.skipped,
            self.scaled + other.scaled,
            self.clouds + other.clouds,
        )


class _Input(NamedTuple):
    left: NDArray[np.uint8]
    right: NDArray[np.uint8]
    calibration: Calibration
    truth: Objects | None


def outputs_of(drawing: Drawing | None) -> tuple[str, ...]:
    """The files of a frame, with {} for its id."""
    return ("results/{}.txt",) if drawing is None else ("results/{}.txt", "pictures/{}.png")


def detect_frames(
    models: Models,
    frames: Sequence[Frame],
    output_dir: str | Path,
    drawing: Drawing | None,
    boxes: GivenBoxes | None = None,
    max_height: float | None = 1.0,
    painters: ProcessPool | None = None,
) -> Summary:
    """Write `output_dir`/results/ID.txt, a KITTI result file, and `output_dir`/pictures/ID.png for every frame.

    The next frames are read, and results written and drawn, while one is computed (`files.overlapped`, with as many
    threads as PyTorch has). Frames that have all files already are left alone without a check that they are of the same
    models and settings (`inference.run_job` keeps a record for that). The same models and frames give the same bytes,
    and the same result as the stages run one after the other from files. Labels, where there are any, are drawn and not
    used otherwise. Pairs have to be rectified: in one that is not, no or wrong objects are found, without an error
    (`require_rectified` tells).

    Args:
        frames: with pairs and calibrations.
        drawing: None draws nothing.
        boxes: 2D boxes instead of those that `models.boxes2d` finds.
        max_height: m, winsorization of the clouds; as in the detectors' training.
        painters: processes that draw where there are many pictures; None: this process does, one after the other.

    Raises:
        FormatError: missing files, found before any work; broken ones, images of two sizes, a calibration for other
            images.
        InputError: no frames; no 2D boxes and no model for them, while a detector starts from them.
    """
    if not frames:
        raise InputError("frames: found none, expected at least one")
    if models.starts_from_boxes2d and boxes is None and models.boxes2d is None:
        raise InputError(
            "boxes: found none, expected boxes2d.pt among the models, or boxes=FILE_OR_FOLDER: frustum detectors start "
            "from 2D boxes"
        )
    for frame in frames:
        for kind, what in (("image_2", "the left image"), ("image_3", "the right image"), ("calib", "calibration")):
            require_file(frame.path(kind), what)
    outputs = outputs_of(drawing)
    paths = {frame.frame_id: [Path(output_dir) / name.format(frame.frame_id) for name in outputs] for frame in frames}
    missing = [frame for frame in frames if not all(path.is_file() for path in paths[frame.frame_id])]
    summary = Summary(len(missing))
    if not missing:
        return summary

    def read(frame: Frame) -> _Input:
        calibration = frame.calibration
        left, right = frame.stereo_pair()
        _require_calibration_of(left, calibration, frame)
        has_truth = drawing is not None and frame.path("label_2").is_file()
        return _Input(left, right, calibration, frame.objects() if has_truth else None)

    def compute(frame: Frame, given: _Input) -> FrameResult:
        left, right, calibration, truth = given
        size = (left.shape[0], left.shape[1])
        disparity = models.disparity_of(left, right, calibration)
        if (notice := models.scaling_notice(calibration)) is not None:
            summary.scaled[notice] += 1
        points = disparity_to_points(disparity, calibration, max_height)
        summary.clouds += CloudTally.of_map(disparity, len(points), calibration, max_height)
        boxes2d = Boxes2d.empty()
        if boxes is not None:
            boxes2d = boxes.of_frame(frame.frame_id, size, summary.skipped)
        elif models.boxes2d is not None:
            boxes2d = models.boxes2d.boxes(left)
        by_model: dict[str, Objects] = {}
        for name, detector in models.detectors.items():
            cloud = (sparsify_points(points) if detector.wants_sparse_cloud else points).numpy(force=True)
            by_model[name], skipped = detector.objects(cloud, calibration, size, boxes2d, frame_seed(frame.frame_id))
            summary.skipped += skipped
            summary.found += Counter(by_model[name].class_name.tolist())
        drawn_points = None if drawing is None else points.numpy(force=True)
        return FrameResult(left, calibration, truth, boxes2d, by_model, drawn_points)

    # Matplotlib's settings are one for all threads of a process.
    one_at_a_time = threading.Lock()

    def write(frame: Frame, result: FrameResult) -> None:
        write_objects(paths[frame.frame_id][0], Objects.concatenate(list(result.by_model.values())))
        if drawing is None:
            return
        path, picture = paths[frame.frame_id][1], picture_of(models, frame, result, drawing, _boxes_name(models, boxes))
        if painters is not None and len(missing) > _FEW_PICTURES:
            painters.call(str(path), write_detections, path, *picture)
        else:
            with one_at_a_time:
                write_detections(path, *picture)

    overlapped(missing, "detection", read, compute, write, torch.get_num_threads())
    return summary


def _require_calibration_of(image: NDArray[np.uint8], calibration: Calibration, frame: Frame) -> None:
    """A camera looks at some point of its image; with a calibration for larger images the point lies outside."""
    height, width = image.shape[:2]
    centre_x, centre_y = calibration.P2[:2, 2]
    if not (0 < centre_x < width and 0 < centre_y < height):
        found = f"the image centre at ({centre_x:.1f}, {centre_y:.1f}) px"
        expected = f"one within {frame.path('image_2').name}, {width} x {height} px: P2 of this size of images"
        raise FormatError(frame.path("calib"), "P2", found, expected)


def _boxes_name(models: Models, boxes: GivenBoxes | None) -> str | None:
    if not models.starts_from_boxes2d:
        return None
    return "boxes2d.pt" if boxes is None else boxes.path.name


def detection_record(
    models: Models, drawing: Drawing | None, boxes: GivenBoxes | None, max_height: float | None, device: str
) -> Record:
    """The record of what `detect_frames` writes: all that determines it except the frames' own files."""
    settings = {
        "disparity": {"model": models.disparity_name, **models.disparity_settings},
        "boxes2d": _boxes_name(models, boxes),
        "boxes_scores": None if boxes is None or not models.starts_from_boxes2d else boxes.scores,
        "max_height": max_height,
        "drawing": None if drawing is None else asdict(drawing),
        "device": device.partition(":")[0],
    }
    inputs = dict(models.digests)
    if boxes is not None and boxes.path.is_file():
        inputs["boxes"] = file_digest(boxes.path)
    return Record("detections", settings, inputs)
