"""Disparity maps of a data set, one file a frame; a trained PSMNet as a disparity model."""

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from pseudolidar.kitti import ObjectDataset, track, write_disparity
from pseudolidar.stereo.checkpoints import PSMNetWeights, load_psmnet
from pseudolidar.stereo.data import normalised
from pseudolidar.stereo.disparity_model import DisparityModel, require_pair
from pseudolidar.stereo.pairs import StereoPairs
from pseudolidar.stereo.psmnet import PSMNet, require_bfloat16
from pseudolidar.training import Arithmetic, Precision, arithmetic_of, arithmetic_threads


class TrainedPSMNet:
    """A trained PSMNet as a `DisparityModel`. The checkpoint is read when the first pair comes.

    Args:
        checkpoint: any file that `load_psmnet` reads.
        align_corners: see `load_psmnet`; None for files that record it.
        max_disparity: of the search, px; None: the recorded one, or 192.
        precision: of the network's convolutions; None: the one it was trained in.
        device: `cpu` or `cuda`.
        threads: processor threads; None: as many as PyTorch takes.
    """

    def __init__(
        self,
        checkpoint: Path,
        align_corners: bool | None = None,
        max_disparity: int | None = None,
        precision: Precision | None = None,
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        self._checkpoint = checkpoint
        self._align_corners = align_corners
        self._max_disparity = max_disparity
        self._precision = precision
        self._device = device
        self._threads = threads

    def predict(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The left image's disparity, float32 (H, W) px, of a rectified pair, uint8 (H, W, 3) RGB.

        Raises:
            FormatError: a checkpoint that `load_psmnet` refuses.
            ValueError: images of two sizes or of another type; a device that isn't there; a precision that this
                network can't be computed in.
        """
        network, arithmetic = self._loaded
        with arithmetic_threads(self._threads):
            return predict(network, left, right, arithmetic)

    @cached_property
    def _loaded(self) -> tuple[PSMNet, Arithmetic]:
        try:
            torch.empty(0, device=self._device)
        except (RuntimeError, AssertionError) as error:
            expected = "'cpu', or 'cuda' where PyTorch finds a GPU"
            raise ValueError(f"device: found {self._device!r}, expected {expected}") from error
        weights = PSMNetWeights.from_file(self._checkpoint)
        arithmetic = arithmetic_of(self._precision or weights.precision, self._device)
        return weights.network(self._align_corners, self._max_disparity).to(self._device), arithmetic


def predict_disparities(
    model: DisparityModel, data: ObjectDataset | StereoPairs, output_dir: Path, description: str
) -> None:
    """Write `output_dir`/NAME.npy, float32 (H, W) px, for every frame of a data set; files that are there are kept.

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
        write_disparity(output_dir / f"{names[index]}.npy", model.predict(left, right))


def _images(data: ObjectDataset | StereoPairs, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    if isinstance(data, ObjectDataset):
        # A frame to predict on need not have a known disparity.
        return data[index].stereo_pair()
    pair = data.read(index)
    return pair.left, pair.right


def load_network(checkpoint: Path) -> PSMNet:
    """The network of a checkpoint written by `train_stereo`, in evaluation mode on the CPU.

    Raises:
        FormatError: not such a checkpoint.
    """
    return load_psmnet(checkpoint)


@torch.inference_mode()
def predict(
    model: PSMNet, left: NDArray[np.uint8], right: NDArray[np.uint8], precision: Arithmetic = "float32"
) -> NDArray[np.float32]:
    """The left image's disparity, float32 (H, W) px, of a rectified pair, uint8 (H, W, 3) RGB.

    The images are padded at the top and on the right to a size that the network takes, as published code does on KITTI;
    the padding is cut off again.

    Raises:
        ValueError: images of two sizes or of another type.
    """
    require_pair(left, right)
    height, width = left.shape[:2]
    multiple, smallest = model.size_multiple, model.min_size
    top = max(smallest, -(-height // multiple) * multiple) - height
    side = max(smallest, -(-width // multiple) * multiple) - width
    device = next(model.parameters()).device
    pair = [F.pad(torch.from_numpy(normalised(image))[None].to(device), (0, side, top, 0)) for image in (left, right)]
    if precision == "bfloat16":
        require_bfloat16(model.width, model.max_disparity)
    if device.type == "cpu" and precision == "float32":
        # PyTorch hands 3D convolutions of one small volume to a fallback that is ten times slower than oneDNN's, which
        # takes two of them.
        pair = [image.expand(2, -1, -1, -1) for image in pair]
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        disparity = model(*pair)[0]
    return disparity[top:, :width].float().cpu().numpy()
