"""KITTI labels of a scene: tight boxes, truncation, occlusion from the pixels that each object shows."""

import math

import numpy as np
from numpy.typing import NDArray

from pseudolidar.kernels import cpu_kernel
from pseudolidar.kitti import Calibration, Objects
from pseudolidar.synthetic.scene import Scene

_NEAR_M = 0.3
# Smaller or farther objects are marked DontCare, as KITTI's annotators did: heights at KITTI's own resolution.
_MIN_HEIGHT_PX, _KITTI_FOCAL_PX, _MAX_DEPTH_M = 14.0, 721.5377, 75.0
_MIN_PIXELS = 4
# Least visible share for KITTI's "fully visible", "partly occluded" and "largely occluded"; below them "unknown".
_VISIBLE, _PARTLY, _LARGELY = 0.85, 0.50, 0.10


@cpu_kernel
def silhouette(pixels: NDArray[np.float64], stamp: NDArray[np.int32], number: int) -> int:
    """Number of pixel centres that triangles (T, 3, 2) cover; they are marked with number in stamp (H, W)."""
    height, width = stamp.shape
    count = 0
    for triangle in range(len(pixels)):
        x0, y0 = pixels[triangle, 0, 0], pixels[triangle, 0, 1]
        x1, y1 = pixels[triangle, 1, 0], pixels[triangle, 1, 1]
        x2, y2 = pixels[triangle, 2, 0], pixels[triangle, 2, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0.0:
            continue
        left = max(math.ceil(min(x0, min(x1, x2))), 0)
        right = min(math.floor(max(x0, max(x1, x2))), width - 1)
        top = max(math.ceil(min(y0, min(y1, y2))), 0)
        bottom = min(math.floor(max(y0, max(y1, y2))), height - 1)
        for v in range(top, bottom + 1):
            for u in range(left, right + 1):
                if stamp[v, u] == number:
                    continue
                a = ((x1 - x0) * (v - y0) - (u - x0) * (y1 - y0)) / area
                b = ((x2 - x1) * (v - y1) - (u - x1) * (y2 - y1)) / area
                c = ((x0 - x2) * (v - y2) - (u - x2) * (y0 - y2)) / area
                if a >= 0 and b >= 0 and c >= 0:
                    stamp[v, u] = number
                    count += 1
    return count


def label(scene: Scene, calibration: Calibration, thing_at: NDArray[np.int32]) -> Objects:
    """Labels of the scene's objects in the left image; thing_at (H, W) tells each pixel's thing.

    The 2D box bounds the object's own mesh, visible or not, cut at the image's border. Objects of which no pixel
    shows have no label. Those that are too far or too small become DontCare.
    """
    height, width = thing_at.shape
    visible = np.bincount(thing_at[thing_at >= 0], minlength=len(scene.table))
    stamp = np.full(thing_at.shape, -1, np.int32)
    rows = []
    for number, thing in enumerate(scene.labelled):
        if visible[number] == 0:
            continue
        corners = scene.corners(number).astype(np.float64)
        corners = corners[(corners[..., 2] > _NEAR_M).all(1)]
        if not len(corners):
            continue
        pixels, _ = calibration.rect_to_image(corners.reshape(-1, 3))
        covered = silhouette(pixels.reshape(-1, 3, 2), stamp, number)
        full = np.concatenate([pixels.min(0), pixels.max(0)])
        box = np.clip(full, 0, [width - 1, height - 1, width - 1, height - 1])
        area = (full[2] - full[0]) * (full[3] - full[1])
        truncation = 1 - (box[2] - box[0]) * (box[3] - box[1]) / max(area, 1e-9)
        share = visible[number] / max(covered, int(visible[number]))
        x, y, z = thing.position
        length, tall, wide = thing.size
        as_kittis_px = (full[3] - full[1]) * _KITTI_FOCAL_PX / calibration.focal_px
        small = as_kittis_px < _MIN_HEIGHT_PX or visible[number] < _MIN_PIXELS
        if small or z > _MAX_DEPTH_M:
            rows.append(("DontCare", -1.0, -1, -10.0, box, (-1000.0, -1000.0, -1000.0, -1.0, -1.0, -1.0, -10.0)))
            continue
        occlusion = 0 if share >= _VISIBLE else 1 if share >= _PARTLY else 2 if share >= _LARGELY else 3
        alpha = (thing.ry - math.atan2(x, z) + math.pi) % (2 * math.pi) - math.pi
        box3d = (x, y, z, tall, wide, length, thing.ry)
        rows.append((str(thing.class_name), max(truncation, 0.0), occlusion, alpha, box, box3d))
    if not rows:
        return Objects.empty()
    names, truncations, occlusions, alphas, boxes2d, boxes3d = zip(*rows, strict=True)
    return Objects(
        np.array(names),
        np.array(truncations, np.float64),
        np.array(occlusions, np.int64),
        np.array(alphas, np.float64),
        np.array(boxes2d, np.float64),
        np.array(boxes3d, np.float64),
    )
