"""Disparity maps of a data set, one file a frame; a trained PSMNet as a disparity model."""

from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from pseudolidar.files import InputError, track
from pseudolidar.kitti import ObjectDataset, require_disparity_output, write_disparity
from pseudolidar.stereo.checkpoints import PSMNetWeights
from pseudolidar.stereo.data import normalised
from pseudolidar.stereo.disparity_model import DisparityModel, UncertainDisparityModel, require_pair
from pseudolidar.stereo.frozen import FrozenPSMNet
from pseudolidar.stereo.pairs import StereoPairs
from pseudolidar.stereo.psmnet import PSMNet, require_bfloat16
from pseudolidar.training import Precision, arithmetic_of, arithmetic_threads, require_device

InferencePrecision = Precision | Literal["float16"]

VARIANCE_FOLDER = "variance"
"""Beside disparity maps, the folder of their predictive variances."""


class TrainedPSMNet:
    """A trained PSMNet as a `DisparityModel`. The file is read when the first pair comes.

    Args:
        checkpoint: any file that `load_psmnet` reads.
        align_corners: see `load_psmnet`; None for files that record it.
        max_disparity: of the search, px; None: the recorded one, or 192.
        precision: of weights and activations: `float32`, `bfloat16`, `auto` (bfloat16 where it is fast), on a GPU
            `float16`; None: the one that the network was trained in.
        device: `cpu` or `cuda`.
        threads: processor threads; None: as many as PyTorch takes.
        compile: by `torch.compile`, which takes its time for the first pair of each size.
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
        """The left image's disparity, float32 (H, W) px, of a rectified pair, uint8 (H, W, 3) RGB of any size.

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
        with arithmetic_threads(self._threads):
            pair = [torch.from_numpy(normalised(image))[None].to(self._device) for image in (left, right)]
            return torch.cat([network(*pair) for network in networks]).cpu().numpy()

    @cached_property
    def _networks(self) -> list[FrozenPSMNet]:
        return [
            _frozen_network(
                weights.network(self._align_corners, self._max_disparity),
                self._precision or weights.precision,
                self._device,
                self._compile,
            )
            for weights in self._read(self._checkpoint)
        ]

    def _read(self, checkpoint: Path) -> list[PSMNetWeights]:
        """The weights of each network that is run: here one."""
        return [PSMNetWeights.from_file(checkpoint)]


def _frozen_network(model: PSMNet, precision: InferencePrecision, device_name: str, compile: bool) -> FrozenPSMNet:
    """A trained network made fast, on the device and in the precision asked for: see `TrainedPSMNet`."""
    device = require_device(device_name)
    dtype = _dtype(precision, device)
    if dtype == torch.bfloat16 and device.type == "cpu":
        require_bfloat16(model.width, model.max_disparity)
    return FrozenPSMNet(model.to(device), dtype, compile)


def _dtype(precision: InferencePrecision, device: torch.device) -> torch.dtype:
    if precision != "float16":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[arithmetic_of(precision, device)]
    if device.type == "cpu":
        raise InputError("precision: found 'float16' on a processor, expected 'float32', 'bfloat16' or 'auto'")
    return torch.float16


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
        left, right = _images(data, index)
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
    require_disparity_output(path)
    if isinstance(model, UncertainDisparityModel):
        disparity, variance = model.predict_with_variance(left, right)
        folder = path.parent / VARIANCE_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        write_disparity(folder / f"{path.stem}.npy", variance)
    else:
        disparity = model.predict(left, right)
    write_disparity(path, disparity)


def _images(data: ObjectDataset | StereoPairs, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    if isinstance(data, ObjectDataset):
        # A frame to predict on need not have a known disparity.
        return data[index].stereo_pair()
    pair = data.read(index)
    return pair.left, pair.right
