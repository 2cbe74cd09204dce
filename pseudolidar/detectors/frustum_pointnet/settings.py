"""Settings of a Frustum PointNet's training."""

from dataclasses import dataclass
from typing import Literal

from pseudolidar.detectors.frustum_pointnet.model import Version
from pseudolidar.training import TrainingSettings


@dataclass(frozen=True)
class FrustumTraining(TrainingSettings):
    """How a Frustum PointNet is trained.

    Attributes:
        steps: optimizer steps.
        version: of Frustum PointNet: 1 on plain PointNets, 2 on PointNet++.
        batch_size: frusta a step.
        learning_rate: peak of the one-cycle schedule (Adam).
        width: multiplies the network's channels; 1 is the published network.
        density: multiplies v2's numbers of centres and of neighbours; 1 is the published network.
        points: points a frustum.
        object_points: points of the object after segmentation.
        dropout: in the segmentation network.
        centre_depth: see `FrustumPointNet`.
        mean_size: of the classes: `published` (KITTI's), or `training_set` (the means of the objects trained on,
            for data whose cars or people are of other sizes).
        jitter: fraction of its width and height by which a 2D box is moved and resized (`jittered_box`).
        flip: mirror every second sample.
        depth_shift: standard deviation of a shift along the ray, a fraction of the object's distance.
        min_box_height_px: lower 2D boxes are left out, in training and detection.
        min_points: frusta with fewer points are left out, in training and detection.
        add_box_score: in detection add the logarithm of a 2D box's own score to the object's, which keeps boxes that
            the 2D detector doubts from ranking high; the published score leaves it out.
        max_occlusion, max_truncation: of the objects trained on, KITTI's level and fraction outside of the image.
    """

    steps: int
    version: Version
    batch_size: int
    learning_rate: float
    width: float
    density: float
    points: int
    object_points: int
    dropout: float
    centre_depth: bool
    mean_size: Literal["published", "training_set"]
    jitter: float
    flip: bool
    depth_shift: float
    min_box_height_px: float
    min_points: int
    add_box_score: bool
    max_occlusion: int
    max_truncation: float
