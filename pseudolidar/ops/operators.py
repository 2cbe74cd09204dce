"""Checks of arguments, and torch operators made of a reference in plain PyTorch and kernels for CPU and GPU."""

from collections.abc import Callable, Iterator, Sequence
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
        shapes: empty tensors in the shapes of the results, for torch.compile.
        cpu: the processor's kernel; kernels get contiguous tensors.
        cuda: the module of the GPU's kernel, which has the reference's name; imported at the first use on a GPU, since
            numba-cuda looks for a driver. Where numba can't compile it (no numba-cuda, an AMD card) the reference runs.
        backward: functions that keep the gradient's inputs and compute it (`register_autograd`); None: no gradient.
    """
    name = reference.__name__
    defined = torch.library.custom_op(f"pseudolidar::{name}", reference, mutates_args=())
    defined.register_fake(shapes)
    if cpu is not None:
        defined.register_kernel("cpu", lambda *arguments: cpu(*_contiguous(arguments)))
    if cuda is not None:

        def on_gpu(*arguments: Any) -> Any:
            from pseudolidar.kernels.cuda import cuda_kernels_run

            kernel: Callable[..., Any] = getattr(import_module(cuda), name) if cuda_kernels_run() else reference
            return kernel(*_contiguous(arguments))

        defined.register_kernel("cuda", on_gpu)
    if backward is not None:
        defined.register_autograd(backward[1], setup_context=backward[0])
    return cast(Callable[Arguments, Result], defined)


def _contiguous(arguments: tuple[Any, ...]) -> Iterator[Any]:
    return (argument.contiguous() if isinstance(argument, Tensor) else argument for argument in arguments)


def check(
    name: str, tensor: Tensor, shape: str, types: Sequence[torch.dtype] = (), beside: Tensor | None = None
) -> None:
    """Raise ValueError unless a tensor has a shape, one of these types (by default any floating one) and a device.

    `shape` is written as in messages, e.g. "(B, N, 3)", or "(B, N, ...)" for two axes and more; numbers must agree. The
    device, and with a B in `shape` the number of scenes, must be those of `beside`.
    """
    axes = [axis.strip() for axis in shape.strip("(),").split(",")]
    wrong = tensor.ndim < len(axes) - 1 if axes[-1] == "..." else tensor.ndim != len(axes)
    if wrong or any(axis.isdecimal() and int(axis) != tensor.shape[k] for k, axis in enumerate(axes)):
        raise ValueError(f"{name}: found shape {tuple(tensor.shape)}, expected {shape}")
    if tensor.dtype not in types if types else not tensor.is_floating_point():
        expected = " or ".join(map(str, types)) or "a floating type"
        raise ValueError(f"{name}: found {tensor.dtype}, expected {expected}")
    if beside is not None and axes[0] == "B" and len(tensor) != len(beside):
        raise ValueError(f"{name}: found {len(tensor)} scenes, expected {len(beside)}")
    if beside is not None and tensor.device != beside.device:
        raise ValueError(f"{name}: found a tensor on {tensor.device}, expected one on {beside.device}")


def check_count(count: int) -> None:
    """Raise ValueError unless the count is positive."""
    if count < 1:
        raise ValueError(f"count: found {count}, expected at least 1")
