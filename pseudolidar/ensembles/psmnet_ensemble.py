"""Checkpoints of several PSMNets, and these networks as a disparity model with a variance."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from pseudolidar.files import FormatError
from pseudolidar.stereo import PSMNetWeights, TrainedPSMNet
from pseudolidar.stereo.inference import InferencePrecision
from pseudolidar.training import load_checkpoint

MEMBERS = "members"
"""How many networks there are, beside a network's constructor arguments: what tells an ensemble's checkpoint."""


def is_ensemble(path: str | Path) -> bool:
    """Whether a file of weights is an ensemble's checkpoint."""
    weights = PSMNetWeights.from_file(path)
    return weights.arguments is not None and MEMBERS in weights.arguments


def load_ensemble_weights(path: str | Path) -> list[PSMNetWeights]:
    """The weights of each member; FormatError for a missing or truncated file, or one that is not an ensemble's."""
    path = Path(path)
    content = load_checkpoint(path)
    arguments = content["arguments"]
    if MEMBERS not in arguments:
        raise FormatError(path, "arguments", ", ".join(arguments) or "nothing", f"{MEMBERS}: how many there are")
    own = {name: value for name, value in arguments.items() if name != MEMBERS}
    weights = []
    for member in range(arguments[MEMBERS]):
        prefix = f"{MEMBERS}.{member}."
        state = {
            name.removeprefix(prefix): tensor
            for name, tensor in content["state_dict"].items()
            if name.startswith(prefix)
        }
        if not state:
            raise FormatError(path, f"member {member}", "no weights", f"those of {arguments[MEMBERS]} members")
        weights.append(PSMNetWeights(path, state, own, content.get("precision", "float32")))
    return weights


class TrainedEnsemble(TrainedPSMNet):
    """A trained ensemble, used like `TrainedPSMNet`: an `UncertainDisparityModel` whose disparity is the members' mean.

    `checkpoint` is from `train_disparity`; the other arguments as for one network.
    """

    @override
    def predict(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self.predict_with_variance(left, right)[0]

    @override
    def disparity(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(self.predict(left, right))

    def predict_with_variance(
        self, left: NDArray[np.uint8], right: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The members' mean disparity, (H, W) px, and their variance (1/M), px^2: the ensemble's diversity."""
        members = self.predict_members(left, right)
        return members.mean(axis=0, dtype=np.float32), members.var(axis=0, dtype=np.float64).astype(np.float32)

    def predict_members(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The disparity of each member, (M, H, W) px."""
        return self._maps(left, right).cpu().numpy()

    @override
    def _weights(self) -> list[PSMNetWeights]:
        return load_ensemble_weights(self.checkpoint)


def trained_disparity(
    checkpoint: Path,
    align_corners: bool | None = None,
    max_disparity: int | None = None,
    precision: InferencePrecision | None = None,
    device: str = "cpu",
    threads: int | None = None,
    compile: bool = False,
) -> TrainedPSMNet:
    """The disparity model of a checkpoint, one network's or an ensemble's; other arguments as for `TrainedPSMNet`.

    FormatError where there is no such file, or no weights in it.
    """
    kind = TrainedEnsemble if is_ensemble(checkpoint) else TrainedPSMNet
    return kind(checkpoint, align_corners, max_disparity, precision, device, threads, compile)
