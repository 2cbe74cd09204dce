"""What the operations on point sets share: checks of their arguments, and the backend of a GPU."""

from types import ModuleType

import torch
from torch import Tensor

from pseudolidar.ops import point_sets_reference


def check_points(name: str, points: Tensor, beside: Tensor | None = None) -> None:
    """Raise ValueError unless `points` is float32 (B, N, 3), with B and the device of `beside`."""
    if points.ndim != 3 or points.shape[2] != 3:
        raise ValueError(f"{name}: found shape {tuple(points.shape)}, expected (B, N, 3)")
    if points.dtype != torch.float32:
        raise ValueError(f"{name}: found {points.dtype}, expected torch.float32")
    if beside is not None:
        check_beside(name, points, beside)


def check_beside(name: str, tensor: Tensor, beside: Tensor) -> None:
    """Raise ValueError unless two tensors have as many scenes and lie on one device."""
    if len(tensor) != len(beside):
        raise ValueError(f"{name}: found {len(tensor)} scenes, expected {len(beside)}")
    check_device(name, tensor, beside)


def check_device(name: str, tensor: Tensor, beside: Tensor) -> None:
    """Raise ValueError unless two tensors lie on one device."""
    if tensor.device != beside.device:
        raise ValueError(f"{name}: found a tensor on {tensor.device}, expected one on {beside.device}")


def check_features(name: str, features: Tensor, shape: str) -> None:
    """Raise ValueError unless `features` is a floating tensor of as many axes as `shape` names, e.g. "(B, N, C)"."""
    if features.ndim != shape.count(",") + 1:
        raise ValueError(f"{name}: found shape {tuple(features.shape)}, expected {shape}")
    if not features.is_floating_point():
        raise ValueError(f"{name}: found {features.dtype}, expected a floating type")


def check_index(name: str, index: Tensor) -> None:
    """Raise ValueError unless `index` is int64."""
    if index.dtype != torch.int64:
        raise ValueError(f"{name}: found {index.dtype}, expected torch.int64")


def check_count(count: int) -> None:
    """Raise ValueError unless one or more are asked for."""
    if count < 1:
        raise ValueError(f"count: found {count}, expected at least 1")


def gpu_backend() -> ModuleType:
    """The CUDA kernels, or plain PyTorch where numba can't compile them (no numba-cuda, an AMD card)."""
    # Imported when there is something to do on a GPU: numba's part for it looks for a driver.
    from pseudolidar.kernels.cuda import cuda_kernels_run

    if not cuda_kernels_run():
        return point_sets_reference
    from pseudolidar.ops import point_sets_cuda

    return point_sets_cuda
