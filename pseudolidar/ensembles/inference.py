"""A trained ensemble of PSMNets as a disparity model that knows its variance."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pseudolidar.ensembles.psmnet_ensemble import is_ensemble, load_ensemble_weights
from pseudolidar.stereo import PSMNetWeights, TrainedPSMNet
from pseudolidar.stereo.inference import InferencePrecision


class TrainedEnsemble(TrainedPSMNet):
    """A trained ensemble, used like `TrainedPSMNet`: an `UncertainDisparityModel` whose disparity is the members' mean.

    Args:
        checkpoint: of `train_ensemble`; the rest as for one network.
    """

    def predict(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The members' mean disparity, float32 (H, W) px; errors as `TrainedPSMNet.predict`."""
        return self.predict_with_variance(left, right)[0]

    def predict_with_variance(
        self, left: NDArray[np.uint8], right: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The members' mean disparity, float32 (H, W) px, and their variance (1/M), px^2: the ensemble's diversity."""
        members = self.predict_members(left, right)
        return members.mean(axis=0, dtype=np.float32), members.var(axis=0, dtype=np.float64).astype(np.float32)

    def predict_members(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The disparity of each member, float32 (M, H, W) px."""
        return self._maps(left, right)

    def _read(self, checkpoint: Path) -> list[PSMNetWeights]:
        return load_ensemble_weights(checkpoint)


def trained_disparity(
    checkpoint: Path,
    align_corners: bool | None = None,
    max_disparity: int | None = None,
    precision: InferencePrecision | None = None,
    device: str = "cpu",
    threads: int | None = None,
    compile: bool = False,
) -> TrainedPSMNet:
    """The disparity model of a file of weights, one network's or an ensemble's; arguments as `TrainedPSMNet`.

    Which of the two it is, the file is asked at once.

    Raises:
        FormatError: no such file, or no weights in it.
    """
    kind = TrainedEnsemble if is_ensemble(checkpoint) else TrainedPSMNet
    return kind(checkpoint, align_corners, max_disparity, precision, device, threads, compile)
