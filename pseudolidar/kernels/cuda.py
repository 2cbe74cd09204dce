"""How kernels run on an NVIDIA GPU: numba-cuda, on a tensor's own memory and PyTorch's current stream."""

import ctypes
import functools
import importlib
import operator
import struct
import threading
import warnings
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import numba
import numpy as np
import torch
from numba import cuda
from numba.cuda import libdevice
from torch import Tensor

Argument: TypeAlias = Tensor | tuple[float, ...] | float

_NUMBA_TYPES = {
    torch.uint8: numba.types.uint8,
    torch.int32: numba.types.int32,
    torch.int64: numba.types.int64,
    torch.float32: numba.types.float32,
    torch.float64: numba.types.float64,
}
_functions: dict[Hashable, "_Function"] = {}
_threads_with_context = threading.local()

# Threads of a block; a multiple of the warp's 32 that suits every card.
_THREADS = 128

# A GPU's compiler fuses a product and a sum into one rounding and so gets other numbers than a processor: never here.
# numba's simulator (NUMBA_ENABLE_CUDASIM=1) runs kernels as Python and has no such functions.
rounded_sum: Any = operator.add if numba.config.ENABLE_CUDASIM else libdevice.dadd_rn
rounded_product: Any = operator.mul if numba.config.ENABLE_CUDASIM else libdevice.dmul_rn
rounded_sum_float32: Any = operator.add if numba.config.ENABLE_CUDASIM else libdevice.fadd_rn
rounded_product_float32: Any = operator.mul if numba.config.ENABLE_CUDASIM else libdevice.fmul_rn
# Of a float32 the bits, as an int32: of numbers from 0 on they order as the numbers do.
float32_bits: Any = (
    (lambda value: np.float32(value).view(np.int32)) if numba.config.ENABLE_CUDASIM else (libdevice.float_as_int)
)


@functools.cache
def cuda_kernels_run() -> bool:
    """Whether numba can compile for a GPU of this machine: a driver, a card, the compiler's library (NVVM).

    Warns, once, where there is all that and numba-cuda is broken all the same (0.30 is with NumPy 2.5).
    """
    if not cuda.is_available():
        return False
    try:
        # What every kernel needs, and numba does not import before the first is compiled.
        importlib.import_module("numba.cuda.cudaimpl")
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        warnings.warn(f"numba-cuda cannot compile, plain PyTorch takes the kernels' place: {error}", stacklevel=2)
        return False
    return True


def launch(kernel: Any, items: int, *arguments: Argument) -> None:
    """Start a kernel of one thread per item on PyTorch's current stream; returns without waiting for it.

    Args:
        kernel: made by `numba.cuda.jit`; its last argument is the number of items, which some threads lie beyond.
        items: how many.
        arguments: contiguous tensors of one device, handed over as they lie in memory, and numbers; in the simulator
            the tensors are the processor's.
    """
    _start(kernel, -(-items // _THREADS), _THREADS, (*arguments, items))


def launch_blocks(kernel: Any, blocks: int, threads: int, *arguments: Argument) -> None:
    """Start a kernel of one block an item, whose threads share memory, like `launch`.

    Args:
        kernel: made by `numba.cuda.jit`.
        blocks: how many.
        threads: of each block; a multiple of 32, at most 1024.
        arguments: as for `launch`; nothing is added to them.
    """
    _start(kernel, blocks, threads, arguments)


def _start(kernel: Any, blocks: int, threads: int, arguments: Sequence[Argument]) -> None:
    if blocks == 0:
        return
    if numba.config.ENABLE_CUDASIM:
        kernel[blocks, threads](
            *(value.detach().numpy() if isinstance(value, Tensor) else value for value in arguments)
        )
        return
    device = next(argument.device for argument in arguments if isinstance(argument, Tensor))
    if device.index != torch.cuda.current_device():
        with torch.cuda.device(device):
            _start(kernel, blocks, threads, arguments)
        return
    if not hasattr(_threads_with_context, str(device.index)):
        # A thread has no context of the driver's until PyTorch does something there.
        torch.zeros(1, device=device)
        setattr(_threads_with_context, str(device.index), True)
    kinds = tuple(_kind(argument) for argument in arguments)
    function = _functions.get((kernel, device.index, kinds))
    if function is None:
        function = _functions[kernel, device.index, kinds] = _compiled(kernel, device, kinds)
    # Numba's own launch takes 0.3 ms for five arrays: it makes an object of each, and of the stream.
    words = struct.pack(function.layout, *(word for argument in arguments for word in _words(argument)))
    buffer = ctypes.create_string_buffer(words, len(words))
    first = ctypes.addressof(buffer)
    parameters = (ctypes.c_void_p * (len(words) // 8))(*range(first, first + len(words), 8))
    (result,) = _driver().cuLaunchKernel(
        function.handle, blocks, 1, 1, threads, 1, 1, 0, torch.cuda.current_stream(device).cuda_stream,
        ctypes.addressof(parameters), 0,
    )  # fmt: skip
    if int(result) != 0:
        raise RuntimeError(f"{kernel.py_func.__name__}: CUDA could not start {blocks} blocks of {threads}: {result}")


class _Function(NamedTuple):
    """A kernel compiled for arguments of certain kinds: the driver's handle, and the arguments as `struct` packs them.

    `owner` keeps the code loaded.
    """

    handle: int
    layout: str
    owner: Any


def _compiled(kernel: Any, device: torch.device, kinds: tuple[object, ...]) -> _Function:
    signature, layout = [], ""
    for kind in kinds:
        if isinstance(kind, int):
            signature.append(numba.types.UniTuple(numba.types.float64, kind))
            layout += kind * "d"
        elif isinstance(kind, type):
            signature.append({bool: numba.types.boolean, int: numba.types.int64, float: numba.types.float64}[kind])
            layout += "d" if kind is float else "q"
        else:
            dtype, ndim = cast(tuple[torch.dtype, int], kind)
            signature.append(numba.types.Array(_NUMBA_TYPES[dtype], ndim, "C"))
            layout += (5 + 2 * ndim) * "q"
    with cuda.gpus[device.index]:
        compiled = kernel.compile(tuple(signature))
        return _Function(int(compiled._codelibrary.get_cufunc().handle), layout, compiled)


def _kind(argument: Argument) -> object:
    """What a kernel is compiled for: the type and axes of an array, the type of a number, the length of a tuple."""
    if isinstance(argument, Tensor):
        return argument.dtype, argument.ndim
    return len(argument) if isinstance(argument, tuple) else type(argument)


def _words(argument: Argument) -> Sequence[float]:
    """The 8-byte words that a kernel of numba's takes for an argument.

    Of an array: two pointers for objects of the host, sizes and place, shape and strides (bytes).
    """
    if isinstance(argument, tuple):
        return argument
    if not isinstance(argument, Tensor):
        return (argument,)
    size = argument.element_size()
    strides = (size * stride for stride in argument.stride())
    return (0, 0, argument.numel(), size, argument.data_ptr(), *argument.shape, *strides)


@functools.cache
def _driver() -> Any:
    """CUDA's driver as NVIDIA's own package, which numba-cuda brings, hands it over."""
    return importlib.import_module("cuda.bindings.driver")
