"""What the operations on rotated boxes share: checks of their arguments, and the backend of a GPU."""

from types import ModuleType

import torch
from torch import Tensor

from pseudolidar.ops import boxes_reference


def check_boxes(name: str, boxes: Tensor) -> None:
    """Raise ValueError unless `boxes` are (N, 7), float32 or float64."""
    if boxes.ndim != 2 or boxes.shape[1] != 7:
        raise ValueError(f"{name}: found shape {tuple(boxes.shape)}, expected (N, 7)")
    if boxes.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{name}: found {boxes.dtype}, expected torch.float32 or torch.float64")


def finite_boxes(boxes: Tensor) -> Tensor:
    """Boxes (N, 7) without gradient; one with a number that is not finite becomes zeros: it overlaps with nothing."""
    boxes = boxes.detach()
    return torch.where(torch.isfinite(boxes).all(dim=1, keepdim=True), boxes, 0)


def gpu_backend() -> ModuleType:
    """The CUDA kernels, or plain PyTorch where numba can't compile them (no numba-cuda, an AMD card)."""
    # Imported when there is something to do on a GPU: numba's part for it looks for a driver.
    from pseudolidar.kernels.cuda import cuda_kernels_run

    if not cuda_kernels_run():
        return boxes_reference
    from pseudolidar.ops import boxes_cuda

    return boxes_cuda
