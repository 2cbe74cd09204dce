"""A finished checkpoint in half the bytes.

pseudolidar pack_weights checkpoint=FILE output=FILE
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pseudolidar.files import FormatError, file_digest
from pseudolidar.training import load_checkpoint, require_checkpoint_path, save_checkpoint


def main(*, checkpoint: Path, output: Path, overwrite: bool) -> None:
    """Write the packed file; print its size and SHA-256, as `pseudolidar.weights` records them."""
    require_checkpoint_path(output)
    content = load_checkpoint(checkpoint)
    if "optimizer" in content:
        raise FormatError(checkpoint, "content", "the state of a training that has not finished", "a checkpoint")
    if output.exists() and not overwrite:
        raise FormatError(output, "file", "one that is there already", "none; overwrite=true replaces it")
    save_checkpoint(output, packed(content))
    print(f"{output}: {output.stat().st_size} bytes, SHA-256 {file_digest(output)}")


def packed(content: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's content without its losses, and with kernels and matrices in half precision.

    What has one dimension stays in float32: biases, and statistics of norms, whose squares half precision may not hold.
    So does a matrix with a number beyond half precision's 65,504.
    """
    state = {name: _halved(tensor) for name, tensor in content["state_dict"].items()}
    kept = {name: value for name, value in content.items() if name not in ("losses", "validations")}
    return {**kept, "state_dict": state, "losses": []}


def _halved(tensor: Tensor) -> Tensor:
    if tensor.dtype != torch.float32 or tensor.dim() < 2:
        return tensor
    half = tensor.half().contiguous()
    return half if half.isfinite().all() else tensor
