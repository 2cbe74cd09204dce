"""Whether two images are a rectified pair: what is seen in both lies on one row, and farther left in the right one."""

import cv2
import numpy as np

from pseudolidar.files import FormatError
from pseudolidar.kitti import Frame

_FEWEST_POINTS = 40
_ROWS_APART_PX = 2.0
_MOST_POINTS = 1000


def require_rectified(frame: Frame) -> None:
    """Refuse a pair that no disparity model can be right on: not rectified, interchanged, or one image twice.

    By points that match (SIFT and the ratio test, Lowe, IJCV 2004), half a second a pair. Half of them have to be less
    than 2 px, or 1/600 of the width, off the row, and half no farther than 1 px to the right in the right image. In
    KITTI's pairs and in towns half of them are less than 0.4 px off it, and 93 % or more not to the right. Where fewer
    than 40 points match, nothing is said.

    Raises:
        FormatError: such a pair; names the right image.
    """
    left, right = frame.stereo_pair()
    path = frame.path("image_3")
    if np.array_equal(left, right):
        raise FormatError(path, "right image", "the left image once more", "the right camera's")
    sift = cv2.SIFT.create(nfeatures=_MOST_POINTS)
    of_images = [sift.detectAndCompute(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), np.array([])) for one in (left, right)]
    (points, descriptors), (others, of_others) = of_images
    if min(len(points), len(others)) < _FEWEST_POINTS:
        return
    nearest = cv2.BFMatcher(cv2.NORM_L2).knnMatch(descriptors, of_others, k=2)
    matches = [first for first, second in nearest if first.distance < 0.75 * second.distance]
    if len(matches) < _FEWEST_POINTS:
        return
    apart = np.array([np.subtract(points[match.queryIdx].pt, others[match.trainIdx].pt) for match in matches])
    to_left_px, rows_px = np.median(apart[:, 0]), np.median(np.abs(apart[:, 1]))
    if rows_px > max(_ROWS_APART_PX, left.shape[1] / 600):
        found = f"what is seen in both {rows_px:.1f} rows apart (median of {len(matches)} points)"
        raise FormatError(path, "pair", found, "on the same row: a rectified pair")
    if to_left_px < -1:
        found = f"what is seen in both {-to_left_px:.1f} px farther right (median of {len(matches)} points)"
        raise FormatError(path, "pair", found, "farther left than in the left image: are the two interchanged?")
