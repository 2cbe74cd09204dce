"""Furthest point sampling on an NVIDIA GPU: a block of threads per scene, each thread with some neighbouring points."""

import math
from typing import Any

import numba
import torch
from numba import cuda
from torch import Tensor

from pseudolidar.kernels.cuda import float32_bits, launch_blocks, rounded_product_float32, rounded_sum_float32

# A block's threads are compared by groups of this many, and then the groups.
_GROUP = 32
_RANKS = _GROUP * _GROUP
# Threads that sample one scene, at most; a power of two, as all smaller numbers of threads are.
_THREADS = _RANKS
_LOW_BITS = 0xFFFFFFFF
# A block's threads share 65,536 registers.
_OPTIONS = {} if numba.config.ENABLE_CUDASIM else {"max_registers": 65_536 // _THREADS}
_COORDINATE_BITS = 10


def furthest_point_sample(points: Tensor, count: int) -> Tensor:
    """Indices int64 (B, count); points float32 (B, N, 3), contiguous.

    A thread goes through its points only where the newest sample can be nearer to one of them than all before it were:
    their bounding box tells.
    """
    scenes, number, _ = points.shape
    index = torch.zeros((scenes, count), dtype=torch.int64, device=points.device)
    threads = _GROUP
    while threads < min(number, _THREADS):
        threads *= 2
    rounds = -(-number // threads)
    finite = points.isfinite().all(dim=-1)
    # Neighbours in space have one thread, where it has several points.
    order = (
        _along_a_curve(points, finite) if rounds > 1 else torch.arange(number, device=points.device).expand(scenes, -1)
    )
    ordered = points.gather(1, order[..., None].expand(-1, -1, 3))
    # A point that is not finite, or fills up, is as good as taken.
    nearest = torch.where(finite.gather(1, order), torch.inf, 0.0)
    spare = threads * rounds - number
    # Neighbouring threads read neighbouring numbers: (B, rounds, threads), in one row.
    parts = [
        torch.nn.functional.pad(part, (0, spare)).view(scenes, threads, rounds).transpose(1, 2).flatten()
        for part in (*ordered.unbind(dim=2), nearest, (number - 1 - order).to(torch.int32))
    ]
    launch_blocks(_sample, scenes, threads, points, *parts, rounds, index)
    return index


def _along_a_curve(points: Tensor, finite: Tensor) -> Tensor:
    """Order int64 (B, N) of the points along Morton's curve through each scene; those that are not finite anywhere."""
    still = torch.where(finite[..., None], points, 0).double()
    low, high = still.aminmax(dim=1, keepdim=True)
    cell = ((still - low) / (high - low).clamp(min=1e-30) * (2**_COORDINATE_BITS - 1)).to(torch.int64)
    # Two zeros between any two bits.
    for shift, mask in ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, 0x09249249)):
        cell = (cell | (cell << shift)) & mask
    code: Tensor = cell[..., 0] | (cell[..., 1] << 1) | (cell[..., 2] << 2)
    return code.argsort(dim=1)


@cuda.jit(device=True)
def _squared(dx: Any, dy: Any, dz: Any) -> Any:
    """Squared distance as every backend rounds it: (dx * dx + dy * dy) + dz * dz in float32."""
    level = rounded_sum_float32(rounded_product_float32(dx, dx), rounded_product_float32(dy, dy))
    return rounded_sum_float32(level, rounded_product_float32(dz, dz))


@cuda.jit(device=True)
def _beyond(low: Any, high: Any, value: Any) -> Any:
    """How far a value is from an interval, rounded as a difference from one of its points is."""
    return max(max(low - value, value - high), numba.float32(0))


@cuda.jit(device=True)
def _greatest(ranks: Any, first: Any, step: Any) -> Any:
    """The greatest of `_GROUP` ranks; four side by side, since each comparison waits for the one before."""
    a, b, c, d = ranks[first], ranks[first + step], ranks[first + 2 * step], ranks[first + 3 * step]
    for k in range(4, _GROUP, 4):
        i = first + k * step
        a, b = max(a, ranks[i]), max(b, ranks[i + step])
        c, d = max(c, ranks[i + 2 * step]), max(d, ranks[i + 3 * step])
    return max(max(a, b), max(c, d))


@cuda.jit(**_OPTIONS)
def _sample(points: Any, xs: Any, ys: Any, zs: Any, nearest: Any, after: Any, rounds: Any, index: Any) -> None:
    """A point's rank: the bits of its squared distance to the nearest sample, and below them how many come after it.

    The greatest rank is the furthest point's, of equal ones the first's. `xs` to `after` hold a scene's rounds one
    after the other, in each a number for every thread.
    """
    scene, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    own = scene * rounds * threads + thread
    ranks = cuda.shared.array(_RANKS, numba.int64)
    of_groups = cuda.shared.array(_GROUP, numba.int64)
    # Of the threads that there are not, too.
    for t in range(thread, _RANKS, threads):
        ranks[t] = 0

    low_x = low_y = low_z = numba.float32(math.inf)
    high_x = high_y = high_z = numba.float32(-math.inf)
    reach = numba.float32(0)
    for r in range(rounds):
        # Unsigned: a signed index may count from an array's end.
        i = numba.uint64(own + r * threads)
        if nearest[i] > 0:
            low_x, low_y, low_z = min(low_x, xs[i]), min(low_y, ys[i]), min(low_z, zs[i])
            high_x, high_y, high_z = max(high_x, xs[i]), max(high_y, ys[i]), max(high_z, zs[i])
            reach = numba.float32(math.inf)

    chosen = numba.int64(0)
    for s in range(1, index.shape[1]):
        x, y, z = points[scene, chosen, 0], points[scene, chosen, 1], points[scene, chosen, 2]
        # Rounding keeps order: to the last bit no point of the box is nearer.
        least = _squared(_beyond(low_x, high_x, x), _beyond(low_y, high_y, y), _beyond(low_z, high_z, z))
        if s == 1 or least < reach:
            greatest, reach = numba.int64(0), numba.float32(0)
            for r in range(rounds):
                i = numba.uint64(own + r * threads)
                before, distance = nearest[i], _squared(xs[i] - x, ys[i] - y, zs[i] - z)
                # In this order a distance that is NaN changes nothing.
                before = distance if distance < before else before
                nearest[i] = before
                reach = max(reach, before)
                greatest = max(greatest, (numba.int64(float32_bits(before)) << 32) + numba.int64(after[i]))
            ranks[thread] = greatest
        cuda.syncthreads()
        if thread < _GROUP:
            of_groups[thread] = _greatest(ranks, thread, _GROUP)
        cuda.syncthreads()
        greatest = _greatest(of_groups, 0, 1)
        # Once all are taken, the rest is index 0.
        chosen = points.shape[1] - 1 - (greatest & _LOW_BITS) if greatest >> 32 > 0 else 0
        if thread == 0:
            index[scene, s] = chosen
