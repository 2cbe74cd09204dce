"""What all operations here need: checks of arguments, and a torch operator of the backends, one a kind of device."""

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def operator(
    reference: Callable[Arguments, Result],
    shapes: Callable[Arguments, Result],
    cpu: Callable[..., Result] | None = None,
    cuda: str | None = None,
    backward: tuple[Callable[..., None], Callable[..., Any]] | None = None,
) -> Callable[Arguments, Result]:
    """Register `torch.ops.pseudolidar.NAME`, NAME that of the reference; autograd and torch.compile go through it.

    Args:
        reference: plain PyTorch, for every device that has no kernel.
        shapes: empty tensors as the results will be, for torch.compile.
        cpu: the processor's kernel; like the GPU's, it is given contiguous tensors.
        cuda: the module of the GPU's kernel, which has the reference's name; imported when there is something to do on
            a GPU, since numba's part for it looks for a driver. Where numba can't compile it (no numba-cuda, an AMD
            card) the reference takes its place.
        backward: what `register_autograd` takes: keeps what the gradient needs; computes it. Without: no gradient.
    """
    name = reference.__name__
    defined = torch.library.custom_op(f"pseudolidar::{name}", reference, mutates_args=())
    defined.register_fake(shapes)
    if cpu is not None:
        defined.register_kernel("cpu", lambda *arguments: cpu(*_contiguous(arguments)))
    if cuda is not None:

        @defined.register_kernel("cuda")
        def on_gpu(*arguments: Any) -> Any:
            from pseudolidar.kernels.cuda import cuda_kernels_run

            kernel = getattr(import_module(cuda), name) if cuda_kernels_run() else reference
            return kernel(*_contiguous(arguments))

    if backward is not None:
        defined.register_autograd(backward[1], setup_context=backward[0])
    return cast(Callable[Arguments, Result], defined)


def _contiguous(arguments: tuple[Any, ...]) -> Iterator[Any]:
    return (argument.contiguous() if isinstance(argument, Tensor) else argument for argument in arguments)


def check_boxes(name: str, boxes: Tensor) -> None:
    """Raise ValueError unless `boxes` are (N, 7), float32 or float64."""
    if boxes.ndim != 2 or boxes.shape[1] != 7:
        raise ValueError(f"{name}: found shape {tuple(boxes.shape)}, expected (N, 7)")
    if boxes.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{name}: found {boxes.dtype}, expected torch.float32 or torch.float64")


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
