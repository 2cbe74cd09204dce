"""Boxes drawn into the left colour image, clipped at its border and in front of the camera."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pseudolidar.kitti import Calibration, Objects, box3d_corners
from pseudolidar.viewing.colours import TRUTH, rgb255

NEAR_M = 0.1
"""Nothing nearer to the image plane than this is drawn, m."""
FRONT_TINT = 0.25
"""How much of a box's colour lies over its front face."""

# Of the bottom face, the top face, the uprights. The front face is at +l/2.
EDGES = np.array([(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)])
"""Pairs of the corners of `box3d_corners`, (12, 2)."""
_FRONT = (0, 1, 5, 4)
_SUBPIXEL_BITS = 4


def _view_planes(image_size: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Half spaces of what the camera sees: `normal @ h >= offset` for homogeneous pixels h = (u w, v w, w)."""
    height, width = image_size
    normals = np.array([[0, 0, 1], [1, 0, 0.5], [-1, 0, width - 0.5], [0, 1, 0.5], [0, -1, height - 0.5]])
    return normals, np.array([NEAR_M, 0.0, 0.0, 0.0, 0.0])


def _homogeneous_pixels(points_rect: NDArray[np.float64], calibration: Calibration) -> NDArray[np.float64]:
    return points_rect @ calibration.P2[:, :3].T + calibration.P2[:, 3]


def clip_segments(
    starts: NDArray[np.float64], ends: NDArray[np.float64], image_size: tuple[int, int]
) -> NDArray[np.float64]:
    """The visible parts (M, 2, 2) of line segments, pixels u, v of both ends; segments out of view are left out.

    `starts`, `ends`: (N, 3) homogeneous pixels (u w, v w, w), w in m; `image_size`: height and width, px.
    """
    normals, offsets = _view_planes(image_size)
    inside_start, inside_end = starts @ normals.T - offsets, ends @ normals.T - offsets
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = inside_start / (inside_start - inside_end)
    first = np.where(inside_start < 0, crossing, 0.0).max(axis=1, initial=0.0)
    last = np.where(inside_end < 0, crossing, 1.0).min(axis=1, initial=1.0)
    seen = ~((inside_start < 0) & (inside_end < 0)).any(axis=1) & (first <= last)
    direction = (ends - starts)[seen]
    clipped = starts[seen, None] + np.stack([first[seen], last[seen]], axis=1)[..., None] * direction[:, None]
    return np.asarray(clipped[..., :2] / clipped[..., 2:])


def clip_polygon(corners: NDArray[np.float64], image_size: tuple[int, int]) -> NDArray[np.float64]:
    """The visible part (M, 2) of a convex polygon, pixels u, v; M is 0 out of view (Sutherland & Hodgman 1974).

    `corners`: (N, 3) homogeneous pixels (u w, v w, w), w in m; `image_size`: height and width, px.
    """
    polygon = corners
    for normal, offset in zip(*_view_planes(image_size), strict=True):
        inside = polygon @ normal - offset
        kept = []
        for i in range(len(polygon)):
            if inside[i - 1] * inside[i] < 0:
                fraction = inside[i - 1] / (inside[i - 1] - inside[i])
                kept.append(polygon[i - 1] + fraction * (polygon[i] - polygon[i - 1]))
            if inside[i] >= 0:
                kept.append(polygon[i])
        polygon = np.array(kept).reshape(-1, 3)
    return np.asarray(polygon[:, :2] / polygon[:, 2:])


def solid_objects(objects: Objects) -> Objects:
    """The objects that have a 3D box (DontCare regions have none)."""
    return objects[np.flatnonzero((objects.box3d[:, 3:6] > 0).all(axis=1))]


def visible_edges(
    box3d: NDArray[np.floating], calibration: Calibration, image_size: tuple[int, int]
) -> NDArray[np.float64]:
    """The visible parts (M, 2, 2) of one box's twelve edges, pixels u, v of both ends; M is 0 out of view.

    `box3d` is (7,) x y z h w l ry, rectified camera frame; `image_size` height and width, px.
    """
    corners = _homogeneous_pixels(box3d_corners(box3d)[0], calibration)
    return clip_segments(corners[EDGES[:, 0]], corners[EDGES[:, 1]], image_size)


def visible_front(
    box3d: NDArray[np.floating], calibration: Calibration, image_size: tuple[int, int]
) -> NDArray[np.float64]:
    """The visible part of one box's front face (at +l/2), (M, 2) px, M may be 0; arguments as for `visible_edges`."""
    corners = _homogeneous_pixels(box3d_corners(box3d)[0], calibration)
    return clip_polygon(corners[list(_FRONT)], image_size)


def _fixed_point(pixels: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.rint(pixels * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def draw_boxes3d(
    image: NDArray[np.uint8], objects: Objects, calibration: Calibration, colour: str = TRUTH
) -> NDArray[np.uint8]:
    """A copy of an image, uint8 (H, W, 3) RGB, with 3D boxes projected into it; their front faces are tinted.

    `objects` are in the rectified camera frame; those without a 3D box (DontCare) are skipped.
    """
    drawn = np.ascontiguousarray(image).copy()
    image_size = (image.shape[0], image.shape[1])
    width = max(1, round(image.shape[1] / 800))
    boxes = solid_objects(objects).box3d
    # Far ones first, so that near ones lie on top.
    for box in boxes[np.argsort(-boxes[:, 2], kind="stable")]:
        front = visible_front(box, calibration, image_size)
        if len(front) >= 3:
            tinted = drawn.copy()
            cv2.fillPoly(tinted, [_fixed_point(front)], rgb255(colour), cv2.LINE_AA, _SUBPIXEL_BITS)
            drawn = cv2.addWeighted(tinted, FRONT_TINT, drawn, 1 - FRONT_TINT, 0.0).astype(np.uint8, copy=False)
        for start, end in _fixed_point(visible_edges(box, calibration, image_size)).tolist():
            cv2.line(drawn, start, end, rgb255(colour), width, cv2.LINE_AA, _SUBPIXEL_BITS)
    return drawn


def enlarge(
    image: NDArray[np.uint8], calibration: Calibration, width_px: int = 1200
) -> tuple[NDArray[np.uint8], Calibration]:
    """An image enlarged by a whole factor to at least `width_px`, with the calibration for it.

    Thin lines drawn into a small image (416 x 128) look coarse on a page; drawn into its enlargement they don't.
    """
    factor = max(1, -(-width_px // image.shape[1]))
    if factor == 1:
        return image, calibration
    enlarged = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    # The first pixel's centre is (0, 0): u' = factor (u + 1/2) - 1/2.
    shift = (factor - 1) / 2
    scaling = np.array([[factor, 0.0, shift], [0.0, factor, shift], [0.0, 0.0, 1.0]])
    scaled = Calibration(
        scaling @ calibration.P2, scaling @ calibration.P3, calibration.R0_rect, calibration.Tr_velo_to_cam
    )
    return enlarged.astype(np.uint8, copy=False), scaled
