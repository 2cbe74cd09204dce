"""Train, load and run detectors of either kind."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from pseudolidar.detectors.boxes2d import Boxes2d
from pseudolidar.detectors.congruence import Congruence
from pseudolidar.detectors.detector import (
    Detector,
    InitialWeights,
    Scene,
    counted,
    frame_seed,
    read_scene,
    require_boxes,
)
from pseudolidar.detectors.frustum_pointnet import FrustumDetector, FrustumTraining, train_frustum_pointnet
from pseudolidar.detectors.pointrcnn import PointRCNNDetector, PointRCNNTraining, train_pointrcnn
from pseudolidar.files import FormatError, InputError, overlapped, require_file
from pseudolidar.kitti import Frame, ObjectDataset, Objects, write_objects
from pseudolidar.training import TrainingRun, load_plain

logger = logging.getLogger(__name__)


@dataclass
class DetectionTally:
    """Counts of a detection run: frames detected in this run, objects found, and what was skipped, by reason."""

    class_names: tuple[str, ...]
    frames: int = 0
    found: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


def load_detector(checkpoint: str | Path, device: str = "cpu") -> Detector:
    """A trained detector from its checkpoint, on `device`.

    Raises:
        FormatError: no such file, or not a finished detector's checkpoint.
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
    clouds: str | Path | Sequence[str | Path],
    class_names: Sequence[str],
    run: TrainingRun,
    max_depth: float | None = None,
    validation_data: ObjectDataset | None = None,
    init: str | Path | None = None,
    congruence: Congruence | None = None,
) -> None:
    """Train a detector of the kind that `settings` belong to, and write its checkpoint; resumable, see `training.fit`.

    Args:
        clouds: folder of ID.bin of every frame, velodyne frame; or several: PointRCNN takes a frame's cloud from one of
            them, at random each time, Frustum PointNet all of its clouds.
        class_names: of Car, Pedestrian and Cyclist: exactly one for PointRCNN, one or several for Frustum PointNet.
        run: its seed is that of initial weights, order, augmentation, sampling and dropout.
        max_depth: m; objects and points beyond are left out (near-only).
        validation_data: of the run's validation, with clouds in the (first) folder, see `ValidationFrames`. Of
            PointRCNN's two phases only the second is validated.
        init: a detector of the same kind and classes to start from, a file or a name of `Weights`; its box coder's mean
            sizes stay. None: random weights.
        congruence: an old detector of the same kind and classes that the new one is held to.

    Raises:
        FormatError: a missing or broken file; a class without objects to train on; or, unless `run.overwrite`, a
            checkpoint or running state of another record; `init` of another network; an old detector of another kind.
        InputError: class names other than these, none, or one twice; a frame of `validation_data` that is trained on.
    """
    if isinstance(settings, FrustumTraining):
        train_frustum_pointnet(
            settings, dataset, clouds, class_names, run, max_depth, validation_data, init, congruence
        )
    elif len(class_names) != 1:
        raise InputError(f"class_names: found {', '.join(class_names)}, expected one: PointRCNN finds one class")
    else:
        train_pointrcnn(settings, dataset, clouds, class_names[0], run, max_depth, validation_data, init, congruence)


def require_initial_weights(
    settings: PointRCNNTraining | FrustumTraining, init: str | Path, class_names: Sequence[str]
) -> None:
    """Before a training, see that `init` is a checkpoint of this kind of detector and of these classes.

    Raises:
        FormatError: it is not.
    """
    kind = "Frustum PointNet" if isinstance(settings, FrustumTraining) else "PointRCNN"
    InitialWeights.from_file(init, kind, class_names)


def detect(
    detector: Detector,
    dataset: ObjectDataset,
    clouds_dir: str | Path,
    output_dir: str | Path,
    boxes: Mapping[str, Boxes2d] | None = None,
) -> DetectionTally:
    """Write a KITTI result file, `output_dir`/ID.txt, for every frame; it is empty where nothing is found.

    Existing result files are kept and not counted. The clouds are `clouds_dir`/ID.bin, velodyne frame; labels are not
    read. A frame without an entry in `boxes` has none; detectors that need none ignore them.

    Raises:
        FormatError: a missing or broken cloud or calibration; missing clouds are found before any work.
        InputError: no boxes for a detector that starts from them.
    """
    require_boxes(detector, boxes)
    output = Path(output_dir)
    frames = [frame for frame in dataset if not (output / f"{frame.frame_id}.txt").is_file()]
    clouds = {frame.frame_id: Path(clouds_dir) / f"{frame.frame_id}.bin" for frame in frames}
    for path in clouds.values():
        require_file(path, "float32 x 4 points (velodyne .bin)")
    tally = DetectionTally(detector.class_names, len(frames))
    if not frames:
        return tally

    def read(frame: Frame) -> Scene:
        return read_scene(frame, clouds[frame.frame_id])

    def compute(frame: Frame, scene: Scene) -> Objects:
        boxes2d = (boxes or {}).get(frame.frame_id, Boxes2d.empty())
        objects, reasons = detector.objects(*scene, boxes2d, frame_seed(frame.frame_id))
        tally.skipped += reasons
        tally.found += len(objects)
        return objects

    def write(frame: Frame, objects: Objects) -> None:
        write_objects(output / f"{frame.frame_id}.txt", objects)

    title = f"detection ({', '.join(detector.class_names)})"
    overlapped(frames, title, read, compute, write, torch.get_num_threads())
    return tally


def log_tallies(tallies: Sequence[DetectionTally]) -> None:
    """Log what was found and skipped, and why, over all parts of a data set."""
    skipped = sum((tally.skipped for tally in tallies), Counter[str]())
    found, frames = sum(tally.found for tally in tallies), sum(tally.frames for tally in tallies)
    for names in {", ".join(tally.class_names) for tally in tallies}:
        logger.info("%s: %d objects in %d frames%s", names, found, frames, counted("skipped", skipped))
