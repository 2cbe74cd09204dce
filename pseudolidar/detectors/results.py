"""What a detector found as KITTI objects: headings and observation angles from boxes."""

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kitti import Objects


def detected_objects(
    class_name: NDArray[np.str_], box2d: NDArray[np.float64], box3d: NDArray[np.float64], score: NDArray[np.float64]
) -> Objects:
    """Detections as `Objects`; truncation and occlusion are not given.

    Args:
        class_name: (N,).
        box2d: (N, 4), px.
        box3d: (N, 7) x y z h w l ry, rectified camera frame; any heading, it is wrapped to [-pi, pi).
        score: (N,).
    """
    count = len(class_name)
    heading = wrapped(box3d[:, 6])
    return Objects(
        class_name=class_name,
        truncation=np.full(count, -1.0),
        occlusion=np.full(count, -1),
        alpha=wrapped(heading - np.arctan2(box3d[:, 0], box3d[:, 2])),
        box2d=box2d,
        box3d=np.concatenate([box3d[:, :6], heading[:, None]], axis=1),
        score=score,
    )


def wrapped(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same angles (rad) shifted by whole turns into [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
