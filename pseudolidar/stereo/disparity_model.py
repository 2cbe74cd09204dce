"""The interface of all disparity models: a rectified stereo pair in, a disparity map out."""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import InputError


class DisparityModel(Protocol):
    """A disparity model, trained or not: upstream of the clouds."""

    def predict(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The left image's disparity, float32 (H, W) px, of a rectified pair, uint8 (H, W, 3) RGB."""
        ...


@runtime_checkable
class UncertainDisparityModel(DisparityModel, Protocol):
    """A disparity model that says how far it is to be trusted, pixel by pixel."""

    def predict_with_variance(
        self, left: NDArray[np.uint8], right: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What `predict` returns, and the predictive variance, float32 (H, W) px^2."""
        ...


def require_pair(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> None:
    """Raise a ValueError unless two images can be a rectified pair: uint8 (H, W, 3), of one size."""
    for side, image in (("left", left), ("right", right)):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(f"{side} image: found {image.dtype} {image.shape}, expected uint8 (H, W, 3) RGB")
    if left.shape != right.shape:
        raise InputError(f"right image: found shape {right.shape}, expected the left's, {left.shape}")
