"""What every detector offers: training, loading, and the loop that writes KITTI result files."""

import logging
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pseudolidar.detectors.boxes2d import Boxes2d
from pseudolidar.detectors.frustum_pointnet import FrustumDetector, FrustumTraining, train_frustum_pointnet
from pseudolidar.detectors.pointrcnn import PointRCNNDetector, PointRCNNTraining, train_pointrcnn
from pseudolidar.files import FormatError, InputError, require_file, track
from pseudolidar.kitti import Calibration, ObjectDataset, Objects, read_points, write_objects
from pseudolidar.training import load_plain

logger = logging.getLogger(__name__)


class Detector(Protocol):
    """A trained detector: one frame's cloud in, its objects out."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes that it finds, as KITTI writes them."""

    @property
    def starts_from_boxes2d(self) -> bool:
        """Whether it looks into 2D boxes alone; else it needs none."""

    @property
    def wants_sparse_cloud(self) -> bool:
        """Whether clouds from disparity maps are to be sparsified for it (`cloud.sparsify_points`)."""

    def objects(
        self,
        points_velo: NDArray[np.float32],
        calibration: Calibration,
        image_size: tuple[int, int],
        boxes: Boxes2d,
        seed: int,
    ) -> tuple[Objects, Counter[str]]:
        """Detect the objects of one frame.

        Args:
            points_velo: float32 (N, 4), velodyne frame.
            calibration: the frame's.
            image_size: (height, width) of the left image, px.
            boxes: 2D boxes of any class; not looked at by detectors that need none.
            seed: of the choice of points.

        Returns:
            the objects, and what was skipped: how often for which reason.
        """


@dataclass
class DetectionTally:
    """Counts of a detection run, for its log.

    Attributes:
        class_names: that the detector finds.
        frames: detected in now.
        found: objects.
        skipped: by reason.
    """

    class_names: tuple[str, ...]
    frames: int = 0
    found: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


def load_detector(checkpoint: str | Path, device: str = "cpu") -> Detector:
    """A trained detector from its checkpoint, on `device`.

    Raises:
        FormatError: no such file, or no detector's checkpoint.
        InputError: no such device.
    """
    path = Path(checkpoint)
    content = load_plain(path, "a detector's checkpoint")
    if isinstance(content, dict) and "optimizer" in content:
        raise FormatError(path, "content", "the state of a training that has not finished", "a finished checkpoint")
    arguments = content.get("arguments") if isinstance(content, dict) else None
    # Only published checkpoints, PointRCNN's, lack them.
    if arguments is None or arguments.get("detector") == "pointrcnn":
        return PointRCNNDetector.from_checkpoint(path, device)
    return FrustumDetector.from_checkpoint(path, device)


def train_detector(
    settings: FrustumTraining | PointRCNNTraining,
    dataset: ObjectDataset,
    clouds_dir: str | Path,
    class_names: Sequence[str],
    checkpoint: Path,
    seed: int,
    max_depth: float | None = None,
    device: str | None = None,
    overwrite: bool = False,
) -> None:
    """Train the detector that `settings` are of; see `train_frustum_pointnet` and `train_pointrcnn`.

    Raises:
        InputError: several classes for a detector of one; else as those two.
    """
    if isinstance(settings, FrustumTraining):
        train_frustum_pointnet(
            settings, dataset, clouds_dir, class_names, checkpoint, seed, max_depth, device, overwrite
        )
        return
    if len(class_names) != 1:
        raise InputError(f"class_names: found {', '.join(class_names)}, expected one: PointRCNN finds one class")
    train_pointrcnn(settings, dataset, clouds_dir, class_names[0], checkpoint, seed, max_depth, device, overwrite)


def detect(
    detector: Detector,
    dataset: ObjectDataset,
    clouds_dir: str | Path,
    output_dir: str | Path,
    boxes: Mapping[str, Boxes2d] | None = None,
) -> DetectionTally:
    """Write a KITTI result file, `output_dir`/ID.txt, for every frame; an empty one where nothing is found.

    Result files that are there already are left alone.

    Args:
        detector: see `load_detector`.
        dataset: frames with calibration; labels are not read.
        clouds_dir: ID.bin of every frame, velodyne frame.
        output_dir: made if missing.
        boxes: 2D boxes by frame; a frame without an entry has none. Detectors that need none ignore them.

    Returns:
        what was found now, for `log_tallies`.

    Raises:
        FormatError: a missing or broken cloud or calibration; missing clouds are found before any work.
        InputError: no boxes for a detector that starts from them.
    """
    if boxes is None and detector.starts_from_boxes2d:
        raise InputError("boxes: found None, expected 2D boxes by frame: this detector starts from them")
    output = Path(output_dir)
    frames = [frame for frame in dataset if not (output / f"{frame.frame_id}.txt").is_file()]
    clouds = {frame.frame_id: Path(clouds_dir) / f"{frame.frame_id}.bin" for frame in frames}
    for path in clouds.values():
        require_file(path, "float32 x 4 points (velodyne .bin)")
    tally = DetectionTally(detector.class_names, len(frames))
    if not frames:
        return tally
    names = ", ".join(detector.class_names)
    nothing = Boxes2d.empty()
    for frame in track(frames, f"detection ({names})"):
        objects, reasons = detector.objects(
            read_points(clouds[frame.frame_id]),
            frame.calibration,
            frame.image_size(),
            nothing if boxes is None else boxes.get(frame.frame_id, nothing),
            # The seed is the frame's own, so that a resumed run writes the same bytes.
            zlib.crc32(frame.frame_id.encode()),
        )
        write_objects(output / f"{frame.frame_id}.txt", objects)
        tally.skipped += reasons
        tally.found += len(objects)
    return tally


def log_tallies(tallies: Sequence[DetectionTally]) -> None:
    """Log what was found and skipped, and why, over all parts of a data set."""
    skipped = sum((tally.skipped for tally in tallies), Counter[str]())
    reasons = "".join(f"; skipped {count}: {reason}" for reason, count in sorted(skipped.items()))
    found, frames = sum(tally.found for tally in tallies), sum(tally.frames for tally in tallies)
    for names in {", ".join(tally.class_names) for tally in tallies}:
        logger.info("%s: %d objects in %d frames%s", names, found, frames, reasons)
