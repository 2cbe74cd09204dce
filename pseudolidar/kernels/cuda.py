"""How kernels run on an NVIDIA GPU: numba-cuda, on a tensor's own memory and PyTorch's current stream."""

import ctypes
import functools
import importlib
import operator
import re
import struct
import threading
import warnings
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, TypeAlias

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
    bool: numba.types.boolean,
    int: numba.types.int64,
    float: numba.types.float64,
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

    Warns once where PyTorch has a GPU and numba cannot use it: no compiler, an AMD card, or a broken numba-cuda (0.30
    is, with NumPy 2.5).
    """
    reason = "no driver or no compiler of NVIDIA's (the extra `cuda` brings one: pip install pseudolidar[cuda])"
    try:
        if cuda.is_available():
            # What every kernel needs, and numba does not import before the first is compiled.
            importlib.import_module("numba.cuda.cudaimpl")
            return True
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        reason = f"numba-cuda is broken: {error}"
    if torch.cuda.is_available():
        warnings.warn(f"CUDA kernels can't be compiled, plain PyTorch takes their place: {reason}", stacklevel=2)
    return False


def launch(kernel: Any, items: int, *arguments: Argument) -> None:
    """Start a kernel of one thread per item on PyTorch's current stream; returns without waiting for it.

    The last argument of `kernel`, made by `numba.cuda.jit`, is the number of items, since some threads lie beyond it.
    `arguments` are numbers, and contiguous tensors of one device, handed over as they lie in memory; in numba's
    simulator the tensors are on the processor.
    """
    launch_blocks(kernel, -(-items // _THREADS), _THREADS, *arguments, items)


def launch_blocks(kernel: Any, blocks: int, threads: int, *arguments: Argument) -> None:
    """Start a kernel with one block per item, whose threads share memory, as `launch` does; no argument is added.

    `threads` of each block: a multiple of 32, at most 1024.
    """
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
            launch_blocks(kernel, blocks, threads, *arguments)
        return
    if not hasattr(_threads_with_context, str(device.index)):
        # A thread has no context of the driver's until PyTorch does something there.
        torch.zeros(1, device=device)
        setattr(_threads_with_context, str(device.index), True)
    if _arguments_are_laid_out_as_known():
        _launch_by_driver(kernel, blocks, threads, arguments)
    else:
        _launch_by_numba(kernel, blocks, threads, arguments)


def _launch_by_numba(kernel: Any, blocks: int, threads: int, arguments: Sequence[Argument]) -> None:
    """By numba-cuda's public interface, which makes an object of the stream and of each array: 0.3 ms for five."""
    stream = torch.cuda.current_stream().cuda_stream
    kernel[blocks, threads, stream and cuda.external_stream(stream)](
        *(cuda.as_cuda_array(value.detach()) if isinstance(value, Tensor) else value for value in arguments)
    )


@functools.cache
def _arguments_are_laid_out_as_known() -> bool:
    """Whether numba-cuda lays arguments out as `_words` does, which is not public: tried once; warns if not."""
    table, marks = torch.arange(6.0, dtype=torch.float64).reshape(3, 2), torch.arange(3, dtype=torch.uint8)
    expected = (table @ torch.tensor([0.5, 0.25], dtype=torch.float64) + 1.5 * marks + 7).float()
    found = torch.zeros(3, device="cuda")
    try:
        _launch_by_driver(_probe, 1, 32, (table.cuda(), marks.cuda(), (0.5, 0.25), 1.5, 7, True, found))
        if torch.equal(found.cpu(), expected):
            return True
        reason = f"a kernel found {found.tolist()}, expected {expected.tolist()}"
    except (ImportError, AttributeError, LookupError, TypeError, ValueError, RuntimeError, struct.error) as error:
        reason = str(error)
    warnings.warn(
        f"numba-cuda takes arguments in another way than pseudolidar knows ({reason}): kernels are launched by its "
        "public interface, which takes up to 0.3 ms each time",
        stacklevel=2,
    )
    return False


def _weigh(table: Any, marks: Any, weights: Any, factor: Any, offset: Any, flag: Any, found: Any) -> None:
    i = cuda.grid(1)
    if flag and i < found.shape[0]:
        found[i] = table[i, 0] * weights[0] + table[i, 1] * weights[1] + marks[i] * factor + offset


_probe: Any = cuda.jit(_weigh)


class _Function(NamedTuple):
    """A kernel compiled for arguments of certain kinds: `layout` of their words is for `struct`.

    `start` is the driver's `cuLaunchKernel`, from NVIDIA's own package, which numba-cuda brings; `owner` keeps the code
    loaded.
    """

    start: Any
    handle: int
    layout: str
    owner: Any


def _launch_by_driver(kernel: Any, blocks: int, threads: int, arguments: Sequence[Argument]) -> None:
    """By CUDA's driver, which takes the arguments' words as they are."""
    key = (kernel, torch.cuda.current_device(), *map(_kind, arguments))
    function = _functions.get(key)
    if function is None:
        function = _functions[key] = _compiled(kernel, arguments)
    words = struct.pack(function.layout, *_words(arguments))
    buffer = ctypes.create_string_buffer(words, len(words))
    first = ctypes.addressof(buffer)
    parameters = (ctypes.c_void_p * (len(words) // 8))(*range(first, first + len(words), 8))
    (result,) = function.start(
        function.handle, blocks, 1, 1, threads, 1, 1, 0, torch.cuda.current_stream().cuda_stream,
        ctypes.addressof(parameters), 0,
    )  # fmt: skip
    if int(result) != 0:
        raise RuntimeError(f"{kernel.py_func.__name__}: CUDA could not start {blocks} blocks of {threads}: {result}")


def _kind(argument: Argument) -> Hashable:
    """A kernel is compiled for each kind: type and axes of an array, type of a number, length of a tuple."""
    if isinstance(argument, Tensor):
        return argument.dtype, argument.ndim
    return len(argument) if isinstance(argument, tuple) else type(argument).__name__


def _compiled(kernel: Any, arguments: Sequence[Argument]) -> _Function:
    signature = tuple(_numba_type(argument) for argument in arguments)
    layout = "".join("d" if isinstance(word, float) else "q" for word in _words(arguments))
    compiled = kernel.compile(signature)
    entry = re.search(r"\.entry[^(]*\(([^)]*)\)", kernel.inspect_asm(signature))
    declared = 0 if entry is None else entry[1].count(".param")
    if declared != len(layout):
        raise RuntimeError(f"{kernel.py_func.__name__}: takes {declared} words, expected {len(layout)}")
    start = importlib.import_module("cuda.bindings.driver").cuLaunchKernel
    return _Function(start, int(compiled._codelibrary.get_cufunc().handle), layout, compiled)


def _numba_type(argument: Argument) -> Any:
    if isinstance(argument, Tensor):
        return numba.types.Array(_NUMBA_TYPES[argument.dtype], argument.ndim, "C")
    if isinstance(argument, tuple):
        return numba.types.UniTuple(numba.types.float64, len(argument))
    return _NUMBA_TYPES[type(argument)]


def _words(arguments: Sequence[Argument]) -> list[float]:
    """The 8-byte words that a kernel of numba's takes: int64 or, for floats, float64.

    Of an array: two pointers for objects of the host, number and size of its elements, place, shape, strides in bytes.
    """
    words: list[float] = []
    for argument in arguments:
        if isinstance(argument, Tensor):
            size = argument.element_size()
            words += (0, 0, argument.numel(), size, argument.data_ptr(), *argument.shape)
            words += [size * stride for stride in argument.stride()]
        elif isinstance(argument, tuple):
            words += map(float, argument)
        else:
            words.append(argument)
    return words
