"""Disparity models, a trained PSMNet among them, and files of the maps that they predict for a data set."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudolidar.files import InputError, overlapped, require_output_file
from pseudolidar.kitti import DISPARITY_SUFFIXES, ObjectDataset, write_disparity
from pseudolidar.stereo.checkpoints import PSMNetWeights
from pseudolidar.stereo.frozen import FrozenPSMNet
from pseudolidar.stereo.pairs import StereoPairs
from pseudolidar.stereo.psmnet import require_bfloat16
from pseudolidar.training import Precision, arithmetic_of, arithmetic_threads, require_device

InferencePrecision = Precision | Literal["float16"]


class DisparityModel(Protocol):
    """A disparity model, trained or not."""

    def predict(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The left image's disparity, float32 (H, W) px, of a rectified pair, uint8 (H, W, 3) RGB of any size.

        ValueError for images of two sizes or of another type.
        """


@runtime_checkable
class UncertainDisparityModel(DisparityModel, Protocol):
    """A disparity model that knows the variance of each pixel's disparity."""

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


def disparity_tensor(model: DisparityModel, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Tensor:
    """What `predict` gives, float32 (H, W) px, on the device that it was computed on."""
    if isinstance(model, TrainedPSMNet):
        return model.disparity(left, right)
    return torch.from_numpy(model.predict(left, right))


@dataclass(eq=False)
class TrainedPSMNet:
    """A trained PSMNet as a `DisparityModel`; its file is read when the first pair comes.

    Attributes:
        checkpoint, align_corners, max_disparity: as in `load_psmnet`.
        precision: of weights and activations: `float32`, `bfloat16`, `auto` (bfloat16 where it is fast), on a GPU
            `float16`; None: the one that the network was trained in.
        device: `cpu` or `cuda`.
        threads: on the processor; None: as many as PyTorch takes.
        compile: by `torch.compile`, anew for the first pair of each size.
    """

    checkpoint: Path
    align_corners: bool | None = None
    max_disparity: int | None = None
    precision: InferencePrecision | None = None
    device: str = "cpu"
    threads: int | None = None
    compile: bool = False

    def predict(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The left image's disparity, see `DisparityModel`; FormatError for a file that `load_psmnet` refuses.

        ValueError as there, or where there is no such device, or the network can't be computed in this precision.
        """
        return self.disparity(left, right).cpu().numpy()

    def disparity(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Tensor:
        """What `predict` gives, still on the device."""
        return self._maps(left, right)[0]

    @torch.inference_mode()
    def _maps(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Tensor:
        """The disparity of each network, float32 (M, H, W) px."""
        require_pair(left, right)
        networks = self._networks
        with arithmetic_threads(self.threads):
            images = torch.from_numpy(np.stack([left, right]))
            if torch.device(self.device).type == "cuda":
                # The processor goes on while the card fetches them.
                images = images.pin_memory().to(self.device, non_blocking=True)
            pair = images.permute(0, 3, 1, 2).split(1)
            return torch.cat([network(*pair) for network in networks])

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
        return FrozenPSMNet(model.to(device), dtype, self.compile, record=not self.compile)


def predict_disparities(
    model: DisparityModel, data: ObjectDataset | StereoPairs, output_dir: Path, description: str
) -> None:
    """Write `output_dir`/NAME.npy, float32 (H, W) px, for every frame of a data set that has no such file yet.

    The variance of an `UncertainDisparityModel` is written beside each map, see `write_prediction`. FormatError for an
    unreadable image, or a pair of two sizes.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    names = data.frame_ids if isinstance(data, ObjectDataset) else data.names
    missing = [index for index, name in enumerate(names) if not (output_dir / f"{name}.npy").is_file()]
    if not missing:
        return

    def read(index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        if isinstance(data, ObjectDataset):
            # A frame to predict on need not have a known disparity.
            return data[index].stereo_pair()
        pair = data.read(index)
        return pair.left, pair.right

    overlapped(
        missing,
        description,
        read,
        lambda index, pair: _predicted(model, *pair),
        lambda index, maps: _write(output_dir / f"{names[index]}.npy", *maps),
        torch.get_num_threads(),
    )


def write_prediction(
    model: DisparityModel, left: NDArray[np.uint8], right: NDArray[np.uint8], path: str | Path
) -> None:
    """Write the disparity that a model predicts for a pair, uint8 (H, W, 3) RGB, in the format of the path's suffix.

    The variance of an `UncertainDisparityModel` goes to `variance`/STEM.npy in the same folder, float32 (H, W) px^2,
    before the disparity does: where the disparity is there, all is. FormatError, before anything is predicted, for a
    suffix that `write_disparity` doesn't know.
    """
    require_output_file(path, DISPARITY_SUFFIXES, "a disparity map")
    _write(Path(path), *_predicted(model, left, right))


def _predicted(
    model: DisparityModel, left: NDArray[np.uint8], right: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """The disparity, and its variance if the model knows it."""
    if isinstance(model, UncertainDisparityModel):
        return model.predict_with_variance(left, right)
    return model.predict(left, right), None


def _write(path: Path, disparity: NDArray[np.float32], variance: NDArray[np.float32] | None) -> None:
    if variance is not None:
        folder = path.parent / "variance"
        folder.mkdir(parents=True, exist_ok=True)
        write_disparity(folder / f"{path.stem}.npy", variance)
    write_disparity(path, disparity)
