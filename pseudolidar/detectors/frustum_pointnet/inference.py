"""Detection with a trained Frustum PointNet."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from pseudolidar.detectors.boxes2d import Boxes2d
from pseudolidar.detectors.detector import Detector, detected_objects, reading_checkpoint
from pseudolidar.detectors.frustum_pointnet.box_coder import decode_heading, decode_size
from pseudolidar.detectors.frustum_pointnet.frustums import (
    extract_frusta,
    frustum_angle,
    sample_indices,
    to_frustum_frame,
)
from pseudolidar.detectors.frustum_pointnet.model import FrustumOutput, FrustumPointNet
from pseudolidar.detectors.frustum_pointnet.samples import one_hot
from pseudolidar.kitti import Calibration, Objects
from pseudolidar.training import load_checkpoint, require_device


@dataclass(frozen=True)
class FrustumDetector(Detector):
    """A trained network with the classes that it finds and the settings of its training (`FrustumTraining`)."""

    model: FrustumPointNet
    class_names: tuple[str, ...]
    max_depth: float | None
    points: int
    min_box_height_px: float
    min_points: int
    add_box_score: bool

    starts_from_boxes2d = True
    wants_sparse_cloud = False

    @classmethod
    def from_checkpoint(cls, checkpoint: Path, device: str = "cpu") -> "FrustumDetector":
        """Load a checkpoint of `train_frustum_pointnet`; errors are those of `detectors.load_detector`."""
        require_device(device)
        expected = "a Frustum PointNet's checkpoint"
        content = load_checkpoint(checkpoint, expected)
        arguments: dict[str, Any] = content["arguments"]
        with reading_checkpoint(checkpoint, expected):
            model = FrustumPointNet(**arguments["network"])
            model.load_state_dict(content["state_dict"])
            rules = ("points", "min_box_height_px", "min_points", "add_box_score")
            return cls(
                model.eval().to(device),
                tuple(arguments["class_names"]),
                arguments["max_depth"],
                **{name: arguments["settings"][name] for name in rules},
            )

    @override
    @torch.inference_mode()
    def objects(
        self,
        points_velo: NDArray[np.float32],
        calibration: Calibration,
        image_size: tuple[int, int],
        boxes: Boxes2d,
        seed: int,
    ) -> tuple[Objects, Counter[str]]:
        # One object in each 2D box of the detector's classes that is tall enough, in the image, and has enough points.
        boxes, skipped = self._usable(boxes.of_classes(self.class_names), image_size)
        clouds = extract_frusta(points_velo, calibration, boxes.box2d, self.max_depth)
        generator = np.random.default_rng(seed)
        taken, frusta, angles = [], [], []
        for i, (box2d, cloud) in enumerate(zip(boxes.box2d, clouds, strict=True)):
            if len(cloud) < self.min_points:
                skipped[f"frusta under {self.min_points} points"] += 1
                continue
            index = sample_indices(len(cloud), self.points, generator)
            taken.append(i)
            angles.append(frustum_angle(box2d, calibration))
            frusta.append(to_frustum_frame(cloud.points[index], angles[-1]))
        if not taken:
            return Objects.empty(scored=True), skipped
        device = self.model.mean_sizes_m.device
        keys = generator.random((len(taken), self.points), dtype=np.float32)
        output = self.model(
            torch.from_numpy(np.stack(frusta)).to(device),
            one_hot([str(name) for name in boxes.class_name[taken]]).to(device),
            torch.from_numpy(keys).to(device),
        )
        box3d, score = decode(output, self.model.mean_sizes_m, np.array(angles))
        if self.add_box_score and boxes.score is not None:
            score += np.log(boxes.score[taken])
        return detected_objects(boxes.class_name[taken], boxes.box2d[taken], box3d, score), skipped

    def _usable(self, boxes: Boxes2d, image_size: tuple[int, int]) -> tuple[Boxes2d, Counter[str]]:
        """The boxes that are tall enough and meet the image, and counts of the others."""
        left, top, right, bottom = boxes.box2d.T
        height, width = image_size
        # A LiDAR sees beyond the image's borders, so that a box there may well hold points.
        outside = (right < 0) | (bottom < 0) | (left > width - 1) | (top > height - 1)
        low = ~outside & (bottom - top < self.min_box_height_px)
        skipped = Counter({f"2D boxes under {self.min_box_height_px:g} px": int(low.sum())})
        skipped["2D boxes outside of the image"] = int(outside.sum())
        return boxes[~(outside | low)], +skipped


def decode(
    output: FrustumOutput, mean_sizes_m: torch.Tensor, angles: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Boxes (B, 7) x y z h w l ry (rectified camera frame, y at the bottom) and scores (B,) from the network's output.

    The score is log mean probability of the mask's points + log heading probability + log size probability.
    """
    rows = torch.arange(len(output.centre), device=output.centre.device)
    heading_bin = output.heading_scores.argmax(dim=1)
    cluster = output.size_scores.argmax(dim=1)
    heading = decode_heading(heading_bin, output.heading_residuals_rad[rows, heading_bin])
    size = decode_size(output.size_residuals[rows, cluster], cluster, mean_sizes_m).clamp(min=0.05)

    weights = output.mask.float()
    probability = (output.mask_logits.softmax(dim=2)[..., 1] * weights).sum(dim=1) / weights.sum(dim=1)
    score = probability.clamp(min=1e-30).log()
    score += output.heading_scores.log_softmax(dim=1).amax(dim=1)
    score += output.size_scores.log_softmax(dim=1).amax(dim=1)

    centre = np.concatenate(
        [to_frustum_frame(c[None], -angle) for c, angle in zip(output.centre.cpu().numpy(), angles, strict=True)]
    ).astype(np.float64)
    length, width, height = size.cpu().numpy().astype(np.float64).T
    bottom = centre[:, 1] + height / 2
    ry = heading.cpu().numpy().astype(np.float64) + angles
    box3d = np.stack([centre[:, 0], bottom, centre[:, 2], height, width, length, ry], axis=1)
    return box3d, score.cpu().numpy().astype(np.float64)
