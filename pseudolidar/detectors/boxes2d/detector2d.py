"""2D detection with a trained network: boxes of an image, result files of a split."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pseudolidar.detectors.boxes2d.boxes import Boxes2d, clipped_to_image
from pseudolidar.detectors.boxes2d.networks import MIN_SCORE, FasterRCNN, LightFCOS, detector_network
from pseudolidar.detectors.boxes2d.training_data import resized
from pseudolidar.detectors.detector import reading_checkpoint
from pseudolidar.files import InputError, overlapped
from pseudolidar.kitti import Frame, ObjectDataset, write_objects
from pseudolidar.training import Arithmetic, arithmetic_of, load_checkpoint, require_device

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Detector2d:
    """A trained 2D detector; `image_height` is the number of rows that images are resized to."""

    model: LightFCOS | FasterRCNN
    class_names: tuple[str, ...]
    image_height: int
    arithmetic: Arithmetic

    @classmethod
    def from_checkpoint(cls, checkpoint: str | Path, device: str = "cpu") -> "Detector2d":
        """Load a checkpoint of `train_detector2d`; errors are those of `detectors.load_detector`."""
        require_device(device)
        expected = "a 2D detector's checkpoint"
        content = load_checkpoint(checkpoint, expected)
        with reading_checkpoint(checkpoint, expected):
            settings: dict[str, Any] = content["arguments"]["detector2d"]
            classes = tuple(settings["classes"])
            model = detector_network(settings["network"], len(classes), settings["frozen_batch_norm"])
            model.load_state_dict(content["state_dict"])
            model = model.eval().to(device, memory_format=torch.channels_last)
            return cls(model, classes, int(settings["image_height"]), arithmetic_of(settings["precision"], device))

    @torch.inference_mode()
    def boxes(self, image: NDArray[np.uint8]) -> Boxes2d:
        """The boxes in an image, uint8 (H, W, 3) RGB of any size: best first, at least 1 px, scores from 0.05 to 1."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise ValueError(f"image: found {image.dtype} {image.shape}, expected uint8 (H, W, 3) RGB")
        device = next(self.model.parameters()).device
        tensor = torch.from_numpy(np.ascontiguousarray(resized(image, self.image_height))).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.arithmetic == "bfloat16"):
            (found,) = self.model([tensor.permute(2, 0, 1).float() / 255])
        factor = image.shape[0] / self.image_height
        boxes = (found["boxes"].double().cpu().numpy() + 0.5) * factor - 0.5
        names = np.array(self.class_names)[found["labels"].cpu().numpy() - self.model.first_label]
        boxes, inside, _ = clipped_to_image(boxes, (image.shape[0], image.shape[1]))
        kept = inside & (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
        return Boxes2d(names[kept], boxes[kept], found["scores"].double().cpu().numpy()[kept])


def detect_boxes2d(
    checkpoint: str | Path,
    dataset: ObjectDataset,
    output_dir: str | Path,
    min_score: float = MIN_SCORE,
    device: str = "cpu",
) -> None:
    """Write the 2D boxes of every frame as KITTI result files, `output_dir`/ID.txt, without 3D boxes.

    Existing result files are kept. `read_result_boxes` reads them, and the evaluation can score them (2D view). Only
    left images are read; boxes with a score below `min_score` are left out.

    Raises:
        FormatError: no such checkpoint, or a missing or broken image.
        InputError: no such device, or a score outside of [0, 1].
    """
    if not 0 <= min_score <= 1:
        raise InputError(f"min_score: found {min_score}, expected a number from 0 to 1")
    detector = Detector2d.from_checkpoint(checkpoint, device)
    output = Path(output_dir)
    frames = [frame for frame in dataset if not (output / f"{frame.frame_id}.txt").is_file()]
    found: list[int] = []

    def compute(frame: Frame, image: NDArray[np.uint8]) -> Boxes2d:
        boxes = detector.boxes(image)
        assert boxes.score is not None
        strong = boxes[boxes.score >= min_score]
        found.append(len(strong))
        return strong

    def write(frame: Frame, boxes: Boxes2d) -> None:
        write_objects(output / f"{frame.frame_id}.txt", boxes.to_objects())

    names = ", ".join(detector.class_names)
    overlapped(frames, f"2D boxes ({names})", Frame.left_image, compute, write, torch.get_num_threads())
    logger.info("%s: %d 2D boxes in %d frames", names, sum(found), len(frames))
