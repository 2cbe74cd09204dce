"""How kernels run on an NVIDIA GPU: numba-cuda, on a tensor's own memory and PyTorch's current stream."""

import operator
from collections.abc import Sequence
from typing import Any

import numba
import torch
from numba import cuda
from numba.cuda import libdevice
from torch import Tensor

# Threads of a block; a multiple of the warp's 32 that suits every card.
_THREADS = 128

# A GPU's compiler fuses a product and a sum into one rounding and so gets other numbers than a processor: never here.
# numba's simulator (NUMBA_ENABLE_CUDASIM=1) runs kernels as Python and has no such functions.
rounded_sum: Any = operator.add if numba.config.ENABLE_CUDASIM else libdevice.dadd_rn
rounded_product: Any = operator.mul if numba.config.ENABLE_CUDASIM else libdevice.dmul_rn
rounded_sum_float32: Any = operator.add if numba.config.ENABLE_CUDASIM else libdevice.fadd_rn
rounded_product_float32: Any = operator.mul if numba.config.ENABLE_CUDASIM else libdevice.fmul_rn


def cuda_kernels_run() -> bool:
    """Whether numba can compile for a GPU of this machine: a driver, a card, and the compiler's library (NVVM)."""
    return bool(cuda.is_available())


def launch(kernel: Any, items: int, *arguments: Tensor | tuple[float, ...] | float) -> None:
    """Start a kernel of one thread an item on PyTorch's current stream; returns without waiting for it.

    Args:
        kernel: made by `numba.cuda.jit`; its last argument is the number of items, which some threads lie beyond.
        items: how many.
        arguments: contiguous tensors of one device, handed over as they lie in memory, and numbers; in the simulator
            the tensors are the processor's.
    """
    _start(kernel, -(-items // _THREADS), _THREADS, (*arguments, items))


def launch_blocks(kernel: Any, blocks: int, threads: int, *arguments: Tensor | tuple[float, ...] | float) -> None:
    """Start a kernel of one block an item, whose threads share memory, like `launch`.

    Args:
        kernel: made by `numba.cuda.jit`.
        blocks: how many.
        threads: of each block; a multiple of 32, at most 1024.
        arguments: as for `launch`; nothing is added to them.
    """
    _start(kernel, blocks, threads, arguments)


def _start(kernel: Any, blocks: int, threads: int, arguments: Sequence[Tensor | tuple[float, ...] | float]) -> None:
    if blocks == 0:
        return
    if numba.config.ENABLE_CUDASIM:
        kernel[blocks, threads](*(value.numpy() if isinstance(value, Tensor) else value for value in arguments))
        return
    device = next(argument.device for argument in arguments if isinstance(argument, Tensor))
    with cuda.gpus[device.index]:
        stream = cuda.external_stream(torch.cuda.current_stream(device).cuda_stream)
        arrays = [
            cuda.as_cuda_array(argument, sync=False) if isinstance(argument, Tensor) else argument
            for argument in arguments
        ]
        kernel[blocks, threads, stream](*arrays)
