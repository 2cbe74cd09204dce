"""Disparity models, a trained PSMNet among them, and the maps that they predict of a data set, one file a frame."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from pseudolidar.files import InputError, require_output_file, track
from pseudolidar.kitti import DISPARITY_SUFFIXES, ObjectDataset, write_disparity
from pseudolidar.stereo.checkpoints import PSMNetWeights
from pseudolidar.stereo.data import normalised
from pseudolidar.stereo.frozen import FrozenPSMNet
from pseudolidar.stereo.pairs import StereoPairs
from pseudolidar.stereo.psmnet import require_bfloat16
from pseudolidar.training import Precision, arithmetic_of, arithmetic_threads, require_device

InferencePrecision = Precision | Literal["float16"]


class DisparityModel(Protocol):
    """A disparity model, trained or not: upstream of the clouds."""

    def predict(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The left image's disparity, float32 (H, W) px, of a rectified pair, uint8 (H, W, 3) RGB of any size.

        Raises:
            ValueError: images of two sizes or of another type.
        """


@runtime_checkable
class UncertainDisparityModel(DisparityModel, Protocol):
    """A disparity model that says how far it is to be trusted, pixel by pixel."""

    def predict_with_variance(
        self, left: NDArray[np.uint8], right: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The disparity, as `predict`, and its predictive variance, float32 (H, W) px^2."""


def require_pair(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> None:
    """Raise a ValueError unless two images can be a rectified pair: uint8 (H, W, 3), of one size."""
    for side, image in (("left", left), ("right", right)):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ValueError(f"{side} image: found {image.dtype} {image.shape}, expected uint8 (H, W, 3) RGB")
    if left.shape != right.shape:
        raise InputError(f"right image: found shape {right.shape}, expected the left's, {left.shape}")


@dataclass(eq=False)
class TrainedPSMNet:
    """A trained PSMNet as a `DisparityModel`. The file is read when the first pair comes.

    Attributes:
        checkpoint: any file that `load_psmnet` reads.
        align_corners: see `load_psmnet`; None for files that record it.
        max_disparity: of the search, px; None: the recorded one, or 192.
        precision: of weights and activations: `float32`, `bfloat16`, `auto` (bfloat16 where it is fast), on a GPU
            `float16`; None: the one that the network was trained in.
        device: `cpu` or `cuda`.
        threads: processor threads; None: as many as PyTorch takes.
        compile: by `torch.compile`, which takes its time for the first pair of each size.
    """

    checkpoint: Path
    align_corners: bool | None = None
    max_disparity: int | None = None
    precision: InferencePrecision | None = None
    device: str = "cpu"
    threads: int | None = None
    compile: bool = False

    def predict(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The left image's disparity, see `DisparityModel`.

        Raises:
            FormatError: a file that `load_psmnet` refuses.
            ValueError: images of two sizes or of another type; a device that isn't there; a precision that this
                network can't be computed in.
        """
        return self._maps(left, right)[0]

    @torch.inference_mode()
    def _maps(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The disparity of each network, float32 (M, H, W) px."""
        require_pair(left, right)
        networks = self._networks
        with arithmetic_threads(self.threads):
            pair = [torch.from_numpy(normalised(image))[None].to(self.device) for image in (left, right)]
            return torch.cat([network(*pair) for network in networks]).cpu().numpy()

    @cached_property
    def _networks(self) -> list[FrozenPSMNet]:
        return [self._frozen(weights) for weights in self._weights()]

    def _weights(self) -> list[PSMNetWeights]:
        """The weights of each network that is run: here one."""
        return [PSMNetWeights.from_file(self.checkpoint)]

    def _frozen(self, weights: PSMNetWeights) -> FrozenPSMNet:
        model = weights.network(self.align_corners, self.max_disparity)
        device = require_device(self.device)
        precision = self.precision or weights.precision
        if precision == "float16" and device.type == "cpu":
            raise InputError("precision: found 'float16' on a processor, expected 'float32', 'bfloat16' or 'auto'")
        dtype: torch.dtype = getattr(torch, precision if precision == "float16" else arithmetic_of(precision, device))
        if dtype == torch.bfloat16 and device.type == "cpu":
            require_bfloat16(model.width, model.max_disparity)
        return FrozenPSMNet(model.to(device), dtype, self.compile)


def predict_disparities(
    model: DisparityModel, data: ObjectDataset | StereoPairs, output_dir: Path, description: str
) -> None:
    """Write `output_dir`/NAME.npy, float32 (H, W) px, for every frame of a data set; files that are there are kept.

    A model that knows its variance gets it written beside each map: see `write_prediction`.

    Args:
        model: asked for the frames whose file is missing, for nothing else.
        data: in KITTI's object layout, with right images; or pairs of another data set.
        output_dir: made if missing.
        description: on the progress bar.

    Raises:
        FormatError: an unreadable image, or a pair of two sizes.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    names = data.frame_ids if isinstance(data, ObjectDataset) else data.names
    missing = [index for index, name in enumerate(names) if not (output_dir / f"{name}.npy").is_file()]
    if not missing:
        return
    for index in track(missing, description):
        if isinstance(data, ObjectDataset):
            # A frame to predict on need not have a known disparity.
            left, right = data[index].stereo_pair()
        else:
            pair = data.read(index)
            left, right = pair.left, pair.right
        write_prediction(model, left, right, output_dir / f"{names[index]}.npy")


def write_prediction(
    model: DisparityModel, left: NDArray[np.uint8], right: NDArray[np.uint8], path: str | Path
) -> None:
    """Write what a model predicts of one pair: the disparity to `path`, a predictive variance beside it.

    Args:
        model: if it is an `UncertainDisparityModel`, its variance goes to `variance`/STEM.npy in the folder of `path`,
            float32 (H, W) px^2, before the disparity does: where that is there, all is.
        left, right: a rectified pair, uint8 (H, W, 3) RGB.
        path: its suffix says the format, see `write_disparity`.

    Raises:
        FormatError: another suffix; nothing is predicted then.
    """
    path = Path(path)
    require_output_file(path, DISPARITY_SUFFIXES, "a disparity map")
    if isinstance(model, UncertainDisparityModel):
        disparity, variance = model.predict_with_variance(left, right)
        folder = path.parent / "variance"
        folder.mkdir(parents=True, exist_ok=True)
        write_disparity(folder / f"{path.stem}.npy", variance)
    else:
        disparity = model.predict(left, right)
    write_disparity(path, disparity)
