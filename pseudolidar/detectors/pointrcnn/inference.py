"""Detection: a trained PointRCNN, a cloud in, objects out."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pseudolidar.detectors.boxes2d import Boxes2d
from pseudolidar.detectors.pointrcnn.checkpoints import TrainedPointRCNN, load_pointrcnn
from pseudolidar.detectors.pointrcnn.scenes import sample_scene, scene_points
from pseudolidar.detectors.results import detected_objects
from pseudolidar.kitti import Calibration, Objects, box3d_corners
from pseudolidar.ops import nms
from pseudolidar.training import require_device

# Boxes whose projection is both wider and higher than this share of the image are no objects. Published code asks for
# one of the two, which would take people close to a low camera away.
_LARGEST_SHARE = 0.8
# Corners nearer than this have no place in the image.
_NEAREST_CORNER_M = 0.1


@dataclass(frozen=True)
class PointRCNNDetector:
    """A trained network and the rules it was trained under."""

    trained: TrainedPointRCNN

    @classmethod
    def from_checkpoint(cls, checkpoint: Path, device: str = "cpu") -> "PointRCNNDetector":
        """Load a checkpoint of `train_pointrcnn`, or a published one.

        Raises:
            FormatError: see `load_pointrcnn`.
            InputError: no such device.
        """
        require_device(device)
        trained = load_pointrcnn(checkpoint)
        trained.model.to(device)
        return cls(trained)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The one class that it finds."""
        return (self.trained.class_name,)

    @property
    def starts_from_boxes2d(self) -> bool:
        """False: objects are looked for in the whole cloud."""
        return False

    @property
    def wants_sparse_cloud(self) -> bool:
        """Dense clouds have most of their points where there is nothing to learn."""
        return True

    @torch.inference_mode()
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
            boxes: not looked at.
            seed: of the choice of points.

        Returns:
            the objects, best first, their scores being logits, and what was skipped.
        """
        skipped: Counter[str] = Counter()
        trained = self.trained
        scene = scene_points(points_velo, calibration, image_size, trained.max_depth)
        if not len(scene):
            skipped["scenes without a point in the detector's area"] += 1
            return Objects.empty(scored=True), skipped
        sampled = sample_scene(scene, trained.points, np.random.default_rng(seed))
        output = trained.model(torch.from_numpy(sampled)[None].to(trained.model.mean_size_m.device))
        confident = output.scores[0] > trained.score_threshold
        box3d, logits = output.boxes[0][confident], output.rcnn_cls[0, confident, 0]
        kept = nms(box3d, logits, trained.overlap, rotated=True)
        box3d_m = box3d[kept].cpu().numpy().astype(np.float64)
        score = logits[kept].cpu().numpy().astype(np.float64)
        box2d, fault = project_boxes(box3d_m, calibration, image_size)
        skipped += Counter(fault[fault != ""].tolist())
        good = fault == ""
        box3d_m, box2d, score = box3d_m[good], box2d[good], score[good]
        names = np.full(len(box3d_m), trained.class_name)
        return detected_objects(names, box2d, box3d_m, score), skipped


def project_boxes(
    box3d: NDArray[np.float64], calibration: Calibration, image_size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """2D boxes (N, 4) of boxes (N, 7), clipped to the image, and why one is none: (N,) text, empty where it is one."""
    height, width = image_size
    box2d = np.zeros((len(box3d), 4))
    fault = np.full(len(box3d), "", dtype="<U48")
    for i, corners in enumerate(box3d_corners(box3d)):
        pixels, depth = calibration.rect_to_image(corners)
        pixels = pixels[depth > _NEAREST_CORNER_M]
        if len(pixels):
            low = np.clip(pixels.min(axis=0), 0, [width - 1, height - 1])
            high = np.clip(pixels.max(axis=0), 0, [width - 1, height - 1])
            box2d[i] = *low, *high
        size = box2d[i, 2:] - box2d[i, :2]
        if not (size > 0).all():
            fault[i] = "boxes outside of the image"
        elif size[0] > _LARGEST_SHARE * width and size[1] > _LARGEST_SHARE * height:
            fault[i] = f"boxes over {_LARGEST_SHARE:.0%} of the image"
    return box2d, fault
