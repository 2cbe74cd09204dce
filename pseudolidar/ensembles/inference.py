"""A trained ensemble of PSMNets as a disparity model that knows its variance."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pseudolidar.ensembles.psmnet_ensemble import is_ensemble, load_ensemble_weights
from pseudolidar.stereo import FrozenPSMNet, TrainedPSMNet
from pseudolidar.stereo.data import normalised
from pseudolidar.stereo.disparity_model import require_pair
from pseudolidar.stereo.inference import InferencePrecision, frozen_network
from pseudolidar.training import arithmetic_threads


class TrainedEnsemble:
    """A trained ensemble as a `DisparityModel`, its disparity the mean of its members'.

    The file is read when the first pair comes.

    Args:
        checkpoint: of `train_ensemble`.
        align_corners, max_disparity, precision, device, threads, compile: as `TrainedPSMNet`.
    """

    def __init__(
        self,
        checkpoint: Path,
        align_corners: bool | None = None,
        max_disparity: int | None = None,
        precision: InferencePrecision | None = None,
        device: str = "cpu",
        threads: int | None = None,
        compile: bool = False,
    ) -> None:
        self._checkpoint = checkpoint
        self._align_corners = align_corners
        self._max_disparity = max_disparity
        self._precision = precision
        self._device = device
        self._threads = threads
        self._compile = compile

    def predict(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The members' mean disparity, float32 (H, W) px; errors as `TrainedPSMNet.predict`."""
        return self.predict_with_variance(left, right)[0]

    def predict_with_variance(
        self, left: NDArray[np.uint8], right: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The members' mean disparity, float32 (H, W) px, and their variance (1/M), px^2: the ensemble's diversity."""
        members = self.predict_members(left, right)
        return members.mean(axis=0, dtype=np.float32), members.var(axis=0, dtype=np.float64).astype(np.float32)

    @torch.inference_mode()
    def predict_members(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The disparity of each member, float32 (M, H, W) px."""
        require_pair(left, right)
        networks = self._networks
        with arithmetic_threads(self._threads):
            pair = [torch.from_numpy(normalised(image))[None].to(self._device) for image in (left, right)]
            return torch.cat([network(*pair) for network in networks]).cpu().numpy()

    @cached_property
    def _networks(self) -> Sequence[FrozenPSMNet]:
        return [
            frozen_network(
                weights.network(self._align_corners, self._max_disparity),
                self._precision or weights.precision,
                self._device,
                self._compile,
            )
            for weights in load_ensemble_weights(self._checkpoint)
        ]


def trained_disparity(
    checkpoint: Path,
    align_corners: bool | None = None,
    max_disparity: int | None = None,
    precision: InferencePrecision | None = None,
    device: str = "cpu",
    threads: int | None = None,
    compile: bool = False,
) -> TrainedPSMNet | TrainedEnsemble:
    """The disparity model of a file of weights, one network's or an ensemble's; arguments as `TrainedPSMNet`.

    Which of the two it is, the file is asked at once.

    Raises:
        FormatError: no such file, or no weights in it.
    """
    kind = TrainedEnsemble if is_ensemble(checkpoint) else TrainedPSMNet
    return kind(checkpoint, align_corners, max_disparity, precision, device, threads, compile)
