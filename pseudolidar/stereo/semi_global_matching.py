"""Semi-global matching (Hirschmüller, PAMI 2008): a disparity model that needs no training."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import InputError
from pseudolidar.stereo.inference import require_pair

# One setting for all sizes of images, chosen on frames of the town's training split and on a real KITTI pair.
# Grey values match as well as colours do.
_BLOCK_SIZE_PX = 3
# Penalties for a disparity that changes by one pixel, and by more, between neighbours, for each pixel of a block.
_SMALL_STEP, _LARGE_STEP = 10, 80
# Horizontal gradients are cut at this size before they are compared, so that bright edges don't outvote the rest.
_LARGEST_GRADIENT = 31
# The second best match must cost this much more than the best (per cent); left and right must agree to 1 px.
_UNIQUENESS_PERCENT, _LEFT_RIGHT_PX = 15, 1
# Patches up to this area whose disparity is cut off from that around them, by more than 1 px, are no matches.
_SPECKLE_AREA_PX, _SPECKLE_STEP_PX = 300, 1
# OpenCV counts disparities in sixteenths of a pixel.
_SUBPIXELS = 16


class SemiGlobalMatching:
    """OpenCV's semi-global matching as a `DisparityModel`: eight paths, left-right check, holes filled.

    Disparities from 0 to `max_disparity` - 1 px are searched; InputError if that is no positive multiple of 16.
    """

    def __init__(self, max_disparity: int = 192) -> None:
        if max_disparity <= 0 or max_disparity % 16:
            raise InputError(f"max_disparity: found {max_disparity}, expected a positive multiple of 16")
        self.max_disparity = max_disparity
        self._matcher = cv2.StereoSGBM.create(
            minDisparity=0,
            numDisparities=max_disparity,
            blockSize=_BLOCK_SIZE_PX,
            P1=_SMALL_STEP * _BLOCK_SIZE_PX**2,
            P2=_LARGE_STEP * _BLOCK_SIZE_PX**2,
            disp12MaxDiff=_LEFT_RIGHT_PX,
            preFilterCap=_LARGEST_GRADIENT,
            uniquenessRatio=_UNIQUENESS_PERCENT,
            speckleWindowSize=_SPECKLE_AREA_PX,
            speckleRange=_SPECKLE_STEP_PX,
            mode=cv2.STEREO_SGBM_MODE_HH,
        )

    def predict(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The left image's disparity without holes, see `DisparityModel`."""
        disparity = self.matches(left, right)
        return fill_from_background(disparity, disparity >= 0)

    def matches(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The disparity, as `predict`, but negative where no match was found, or one that did not pass the checks."""
        require_pair(left, right)
        # OpenCV leaves out the first `max_disparity` columns, for whose pixels not every disparity lies in the right
        # image. With columns before them they are matched as far as they can be.
        pair = [
            cv2.copyMakeBorder(
                cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 0, 0, self.max_disparity, 0, cv2.BORDER_REPLICATE
            )
            for image in (left, right)
        ]
        sixteenths = self._matcher.compute(*pair)[:, self.max_disparity :]
        return sixteenths.astype(np.float32) / np.float32(_SUBPIXELS)


def fill_from_background(disparity: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A dense map, float32 (H, W) px, from one with holes, filled as the KITTI stereo benchmark fills them for ranking.

    A hole in a row takes the smaller of the disparities beside it, since a surface that one camera does not see lies
    behind; at the ends of a row there is one neighbour alone. Rows without any disparity are filled from above and
    below in the same way; zeros if nothing is `valid`.
    """
    filled = _filled_rows(np.where(valid, disparity, np.inf).astype(np.float32))
    filled = _filled_rows(filled.T).T
    return np.where(np.isfinite(filled), filled, np.float32(0))


def _filled_rows(disparity: NDArray[np.float32]) -> NDArray[np.float32]:
    """The map with every infinite value replaced by the smaller of the nearest finite ones in its row."""
    known = np.isfinite(disparity)
    width = disparity.shape[1]
    before = np.maximum.accumulate(np.where(known, np.arange(width), -1), axis=1)
    after = np.minimum.accumulate(np.where(known, np.arange(width), width)[:, ::-1], axis=1)[:, ::-1]
    # Columns of infinity on both sides stand for "no neighbour".
    padded = np.pad(disparity, ((0, 0), (1, 1)), constant_values=np.inf)
    return np.minimum(np.take_along_axis(padded, before + 1, axis=1), np.take_along_axis(padded, after + 1, axis=1))
