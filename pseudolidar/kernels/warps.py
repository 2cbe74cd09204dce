"""What the lanes of a GPU's warp know of each other; in numba's simulator, which has no warps, a warp is one thread."""

from typing import Any

import numba
import torch
from numba import cuda
from numba.cuda import libdevice

_IS_SIMULATED = numba.config.ENABLE_CUDASIM
_ALL_LANES = 0xFFFFFFFF


def _ballot(is_so: Any) -> Any:
    return numba.uint32(cuda.ballot_sync(_ALL_LANES, is_so))


def _lowest_bit(bits: Any) -> Any:
    return libdevice.ffs(numba.int32(bits)) - 1


def _wait() -> None:
    cuda.syncwarp(_ALL_LANES)


def _max_by_shuffles(value: Any) -> Any:
    for step in (16, 8, 4, 2, 1):
        value = max(value, cuda.shfl_xor_sync(_ALL_LANES, value, step))
    return value


def _max_by_redux() -> Any:
    """PTX's `redux.sync.max.s32`, which numba does not offer: one instruction from compute capability 8.0 on."""
    from llvmlite import ir
    from numba.cuda.extending import intrinsic

    int32 = ir.IntType(32)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = ir.FunctionType(int32, (int32, int32))
        operands = (arguments[0], ir.Constant(int32, -1))
        call = builder.asm(function, "redux.sync.max.s32 $0, $1, $2;", "=r,r,r", operands, side_effect=True)
        # Not to be moved into a branch that some lanes don't take.
        call.attributes.add("convergent")
        return call

    return intrinsic(lambda typing_context, value: (numba.types.int32(numba.types.int32), generate))


def _warp_max() -> Any:
    if torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 0):
        return cuda.jit(device=True)(_max_by_shuffles)
    return _max_by_redux()


LANES = 1 if _IS_SIMULATED else 32
"""Threads of a warp, which all call these functions together."""

warp_max: Any = (lambda value: value) if _IS_SIMULATED else _warp_max()
"""The greatest of the lanes' int32."""

warp_ballot: Any = int if _IS_SIMULATED else cuda.jit(device=True)(_ballot)
"""A uint32 with a bit for each lane: whether something is so there."""

lowest_bit: Any = (
    (lambda bits: (bits & -bits).bit_length() - 1) if _IS_SIMULATED else cuda.jit(device=True)(_lowest_bit)
)
"""The place of the lowest bit that is set; there is one."""

wait_for_warp: Any = (lambda: None) if _IS_SIMULATED else cuda.jit(device=True)(_wait)
"""From here on each lane sees what the others have written."""
