"""Whether two images are a rectified pair: what is seen in both lies on one row, and farther left in the right one."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import FormatError
from pseudolidar.kitti import Frame

FEWEST_POINTS = 40
"""Of fewer points that match nothing is concluded."""

_ROWS_APART_PX = 2.0
_MOST_POINTS = 1000


def matching_points(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How much farther left and higher up points of the left image are in the right one, float64 (M, 2) px.

    By SIFT and the ratio test (Lowe, IJCV 2004); images are uint8 (H, W, 3) RGB. About half a second for KITTI's.
    """
    sift = cv2.SIFT.create(nfeatures=_MOST_POINTS)
    points, descriptors = sift.detectAndCompute(cv2.cvtColor(left, cv2.COLOR_RGB2GRAY), np.array([]))
    others, of_others = sift.detectAndCompute(cv2.cvtColor(right, cv2.COLOR_RGB2GRAY), np.array([]))
    # The ratio is one of the nearest to the second nearest.
    nearest = cv2.BFMatcher(cv2.NORM_L2).knnMatch(descriptors, of_others, k=2) if points and len(others) > 1 else ()
    matches = [first for first, second in nearest if first.distance < 0.75 * second.distance]
    offsets = [np.subtract(points[match.queryIdx].pt, others[match.trainIdx].pt) for match in matches]
    return np.array(offsets, np.float64).reshape(-1, 2)


def require_rectified(frame: Frame) -> None:
    """Refuse a pair that no disparity model can be right on: not rectified, interchanged, or one image twice.

    Half of the points that match have to be at most 2 px, or 1/600 of the width, off the row, and half at most 1 px to
    the right in the right image. In KITTI's pairs and in towns half of them are less than 0.4 px off it, and 93 % or
    more not to the right. Of fewer than `FEWEST_POINTS` nothing is concluded.

    Raises:
        FormatError: such a pair; names the right image.
    """
    left, right = frame.stereo_pair()
    path = frame.path("image_3")
    if np.array_equal(left, right):
        raise FormatError(path, "right image", "the left image once more", "the right camera's")
    offsets = matching_points(left, right)
    if len(offsets) < FEWEST_POINTS:
        return
    to_left_px, rows_px = np.median(offsets[:, 0]), np.median(np.abs(offsets[:, 1]))
    if rows_px > max(_ROWS_APART_PX, left.shape[1] / 600):
        found = f"what is seen in both {rows_px:.1f} rows apart (median of {len(offsets)} points)"
        raise FormatError(path, "pair", found, "on the same row: a rectified pair")
    if to_left_px < -1:
        found = f"what is seen in both {-to_left_px:.1f} px farther right (median of {len(offsets)} points)"
        raise FormatError(path, "pair", found, "farther left than in the left image: are the two interchanged?")
